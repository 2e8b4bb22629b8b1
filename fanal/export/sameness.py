"""Whether two graphs compute the same: by their text, and where that differs by what they give."""

from __future__ import annotations

from fanal.autograd.mode import no_grad
from fanal.core.dispatch import bind, tracing
from fanal.graph.ir import Graph, Value
from fanal.ops.passes import improved
from fanal.random.generator import Generator
from fanal.random.sampling import rand, randint
from fanal.tensor.tensor import Tensor


def same_meaning(a: Graph, b: Graph) -> bool:
    """Whether they do, as far as can be told: equal after all exact rewrites, or of the same bits for numbers
    by chance."""
    for x, y in ((a.inputs, b.inputs), (a.outputs, b.outputs)):
        if [v.type for v in x] != [v.type for v in y]:
            return False
    if str(improved(a)[0]) == str(improved(b)[0]):
        return True
    chance = Generator().manual_seed(0)
    with tracing(None), no_grad():
        given = tuple([_numbers(chance, v) for v in a.inputs])
        # Operation by operation: their kernels are few, and most are there already.
        results = [g.apply(given, bind) for g in (a, b)]
        return all(bool(((x == y) | ((x != x) & (y != y))).all()) for x, y in zip(*results, strict=True))


def _numbers(chance: Generator, v: Value) -> Tensor:
    if v.dtype.kind == "f":
        found: Tensor = rand(*v.shape, generator=chance).to(v.dtype)
        return found
    found = randint(0, 2, v.shape, generator=chance).to(v.dtype)
    return found
