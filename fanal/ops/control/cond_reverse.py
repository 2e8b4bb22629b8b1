"""The reverse derivative of a cond: branches that keep, and one of two backward branches.

Both branches give the same types, so what one of them keeps the other gives as zeros; kept values of
one type share a place.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from fanal.core.dispatch import bind
from fanal.core.errors import Limit, message
from fanal.graph.ir import Graph, Node, SubGraph, Type, Value
from fanal.ops.control.bodies import Values
from fanal.ops.control.cond import Branch, choose, cond_p
from fanal.ops.derive.reverse import Derivative, derivative
from fanal.ops.layout import zeros_like_type
from fanal.ops.promotion import constant


@functools.lru_cache(maxsize=1024)
def derived(
    branch: SubGraph, wrt: tuple[bool, ...], given: tuple[bool, ...], again: bool
) -> Derivative:
    """The derivative of a branch with respect to its operands."""
    return derivative(branch, wrt, given, again)


def augment(
    inputs: Values, active: Sequence[bool], given: Sequence[bool], *, true: SubGraph, false: SubGraph
) -> Values:
    """The cond that also gives what the backward branches need."""
    pred, *operands = inputs
    visible = len(true.outputs)
    graphs = [derived(b, tuple(active[1:]), tuple(given), False).forward for b in (true, false)]
    kept = [[v.type for v in g.outputs[visible:]] for g in graphs]
    places = _places(kept)

    def run(number: int) -> Branch:
        def function() -> Values:
            out = graphs[number].apply(operands, bind)
            for t, where in places:
                i = where[number]
                out.append(constant(0, t.dtype, t.shape) if i is None else out[visible + i])
            return [*out[:visible], *out[len(graphs[number].outputs) :]]

        return function

    return choose(pred, run(0), run(1))


def _places(kept: list[list[Type]]) -> list[tuple[Type, list[int | None]]]:
    """Results for what either branch keeps: the type, and which of its kept values each one gives."""
    places: list[tuple[Type, list[int | None]]] = []
    left = list(enumerate(kept[1]))
    for i, t in enumerate(kept[0]):
        match = next((pair for pair in left if pair[1] == t), None)
        if match is not None:
            left.remove(match)
        places.append((t, [i, None if match is None else match[0]]))
    return places + [(t, [None, i]) for i, t in left]


@dataclass(frozen=True)
class _Side:
    """A branch's backward graph, and the values around it that it is given."""

    derived: Derivative
    saved: Values


def pull(
    node: Node, cts: Sequence[Value | None], linear: Sequence[bool]
) -> Sequence[Value | None]:
    """The cotangents of a cond's inputs: the backward graph of the branch that was taken."""
    sides = _sides(node, cts, linear)
    if sides is None:
        outputs = augment(
            list(node.inputs), linear, [ct is not None for ct in cts], **node.attributes
        )
        again = next(v.node for v in outputs if v.node is not None and v.node.primitive is cond_p)
        cts = [*cts, *[None] * (len(again.outputs) - len(cts))]
        sides = _sides(again, cts, linear)
        if sides is None or again.inputs != node.inputs:
            raise Limit(message("cond", "has no derivative here", hint="fanal.where"))
        node = again
    pred, *operands = node.inputs
    arriving = [ct for ct in cts if ct is not None]
    wanted = [
        i for i, flag in enumerate(linear[1:])
        if flag and any(s.derived.gradients[i] is not None for s in sides)
    ]  # fmt: skip

    def run(side: _Side) -> Branch:
        def function() -> Values:
            graph = side.derived.backward
            found = graph.apply([*side.saved, *arriving], bind)
            numbers = [side.derived.gradients[i] for i in wanted]
            return [
                zeros_like_type(operands[i]) if n is None else found[n]
                for i, n in zip(wanted, numbers, strict=True)
            ]

        return function

    found = dict(zip(wanted, choose(pred, run(sides[0]), run(sides[1])), strict=True))
    return [None, *(found.get(i) for i in range(len(operands)))]


def _sides(
    node: Node, cts: Sequence[Value | None], linear: Sequence[bool]
) -> list[_Side] | None:
    """Both branches' backward graphs; None where something that they need was not kept."""
    given = tuple(ct is not None for ct in cts)
    sides = []
    for name in ("true", "false"):
        branch: Graph = node.attributes[name]
        d = derived(branch, tuple(linear[1:]), given, True)
        tables = {"input": node.inputs[1:], "output": node.outputs}
        if any(kind == "extra" for kind, _ in d.sources):
            return None
        sides.append(_Side(d, [tables[kind][i] for kind, i in d.sources]))
    return sides


cond_p.augment = augment
cond_p.pull = pull
