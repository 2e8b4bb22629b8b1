"""What a signature must fulfil before anything of it is run: one graph, well typed, about known tensors.

The graph's form was read by `codec`: each value is defined before it is used, so there are no cycles. Here
each operation's own rule says which types come out of it, for all sizes that the dimensions allow, and each
attribute is looked at as the backends rely on it (`attributes`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from fanal.core.errors import DataError
from fanal.core.symbols import symbols_in
from fanal.export.attributes import check_attributes
from fanal.export.codec import at_line
from fanal.export.errors import damaged
from fanal.export.program import Place, Signature
from fanal.graph.ir import Graph, Node, SubGraph, Type
from fanal.ops.primitive import Primitive
from fanal.tensor.tensor import Tensor

LARGEST = 2**48  # elements of a value, of which nothing has more anywhere
_RANK = 64


def check_signature(s: Signature, state: Mapping[str, Tensor]) -> None:
    """DataError unless it can be run."""
    check_graph(s.graph)
    types = {Place("input", t.name): Type(t.dtype, t.shape) for t in s.inputs}
    types |= {Place("state", n): Type(t.dtype, tuple(t.shape)) for n, t in state.items()}
    outputs = {Place("output", t.name): Type(t.dtype, t.shape) for t in s.outputs}
    for what, places, values in (("takes", s.takes, s.graph.inputs), ("gives", s.gives, s.graph.outputs)):
        if len(places) != len(values) or len(set(places)) != len(places):
            raise damaged(f"what {s.name} {what}")
        for place, value in zip(places, values, strict=True):
            wanted = (outputs if place.kind == "output" else types).get(place)
            if wanted is None or wanted != value.type:
                raise damaged(f"{s.name} {what} {place.name!r}", value.type, repr(wanted) if wanted else "a tensor that is there")
    given = [p.name for p in s.takes if p.kind == "input"]
    if given != [t.name for t in s.inputs] or [p.name for p in s.gives if p.kind == "output"] != [t.name for t in s.outputs]:
        raise damaged(f"the inputs or outputs of {s.name}")
    for t in s.outputs:
        if t.labels and (not t.shape or t.shape[-1] != len(t.labels)):
            raise damaged(f"the labels of {t.name}")
    leaves = s.structure_out.leaf_count
    if any(i >= leaves for i in s.constants) or leaves - len(s.constants) != len(s.outputs):
        raise damaged(f"the structure of what {s.name} returns")
    if s.structure_in.leaf_count < len(s.inputs):
        raise damaged(f"the structure of the arguments of {s.name}")


def check_graph(graph: Graph) -> None:
    """DataError unless each operation's rule gives the types that stand there."""
    for v in graph.inputs:
        check_type(v.type, "an input")
    for node in graph.nodes:
        name = node.primitive.name
        for inner in node.attributes.values():
            if isinstance(inner, SubGraph):
                check_graph(inner)
        where = f"{name}{at_line(node)}"
        try:
            _check_names(node)
            check_attributes(node)
            inferred = [Type(*t) for t in node.primitive.infer(*node.inputs, **node.attributes)]
        except DataError:
            raise
        except (RecursionError, MemoryError):
            raise damaged(f"{where} is too large") from None
        except Exception as error:
            raise damaged(f"{where}: {error}") from None
        found = [v.type for v in node.outputs]
        if inferred != found:
            raise damaged(f"{where} has other types than its rule says", found, repr(inferred))
        for t in found:
            check_type(t, where)


def check_type(t: Type, where: str) -> None:
    """DataError for a type that no value can have."""
    total: Any = 1
    for n in t.shape:
        if n < 0:
            raise damaged(f"{where} has a negative size", t)
        total = total * n
    if len(t.shape) > _RANK:
        raise damaged(f"{where} has too many dimensions", len(t.shape))
    symbols = symbols_in(t.shape)
    high = total if symbols is None else symbols.bounds(total.terms)[1] if symbols_in(total) is not None else total
    if high is not None and high >= LARGEST:
        raise damaged(f"{where} is too large", t)


def _check_names(node: Node) -> None:
    """The attributes must be those that the rule has."""
    needed, named = _attributes(node.primitive)
    if not needed <= node.attributes.keys() <= named:
        raise damaged(f"attributes of {node.primitive.name}", ", ".join(node.attributes), ", ".join(sorted(named)))


@functools.cache
def _attributes(primitive: Primitive) -> tuple[set[str], set[str]]:
    """Attributes that an operation must have, and that it may have."""
    parameters = [p for p in inspect.signature(primitive.infer).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return {p.name for p in parameters if p.default is p.empty}, {p.name for p in parameters}
