"""Functions of control flow taken down as graphs: branches, conditions and steps.

The function's Python runs at every call (it may look at anything), on tensors without elements. What it
computes is a path of steps; the same path gives the same graph, which is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fanal.compiler.steps import Step, built
from fanal.compiler.trace import TraceRecorder
from fanal.core import pytree
from fanal.core.dispatch import tracing
from fanal.core.errors import message
from fanal.core.pytree import Structure
from fanal.graph.ir import Graph, SubGraph, Type
from fanal.ops.control.bodies import rebuilt
from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Tensor

_GRAPHS = 1000  # kept before all are forgotten


class _Paths:
    """The beginning of all paths, and how many graphs hang on them."""

    root = Step(None, 0, None)
    graphs = 0


@dataclass(slots=True)
class Taken:
    """A function taken down. The graph's inputs are the given tensors, then `captured` ones (and
    Python numbers) from outside; its outputs are the tensors that it returned.

    `leaves`: all that it returned, in order; None in the place of tensors, which `places` marks.
    `keys`: the captured inputs that are keys of random draws, as (number, generator); `moved`: how far
    each generator went on.
    """

    graph: SubGraph
    captured: list[Any]
    structure: Structure
    leaves: list[Any]
    places: list[bool]
    keys: list[tuple[int, Any]]
    moved: dict[Any, int]

    @property
    def types(self) -> list[Type]:
        """The types of the tensors that it returned."""
        return [v.type for v in self.graph.outputs]


class _Taking(TraceRecorder):
    """Also notes the keys of random draws, and where generators were before."""

    def __init__(self, name: str):
        super().__init__(name, _Paths.root)
        self.keys: list[tuple[Tensor, Any]] = []
        self.began: dict[Any, int] = {}

    def drawn(self, generator: Any, key: Tensor) -> None:
        self.keys.append((key, generator))
        self.began.setdefault(generator, generator._stream - 1)
        super().drawn(generator, key)


def take(
    function: Callable[..., Any], arguments: Callable[[list[Any]], Any], layouts: Sequence[Layout],
    name: str,
) -> Taken:  # fmt: skip
    """Take `function(*arguments(tensors))` down for tensors of these layouts; `name` stands in errors."""
    recorder: Any = _Taking(name)
    with tracing(recorder):
        given = [recorder.given(l, None, l.dtype.kind == "f") for l in layouts]
        leaves, structure = pytree.flatten(function(*arguments(given)))
        places = [isinstance(leaf, Tensor) for leaf in leaves]
        numbers = tuple([recorder.number(leaf) for leaf in leaves if isinstance(leaf, Tensor)])
    recorder.ended = True
    graph = recorder.at.runs.get(numbers)
    if graph is None:
        builder, values = built(recorder.path)
        graph = rebuilt(Graph(builder.inputs, builder.nodes, [values[n] for n in numbers]))
        recorder.at.runs[numbers] = graph
        _Paths.graphs += 1
        if _Paths.graphs > _GRAPHS:
            _Paths.root, _Paths.graphs = Step(None, 0, None), 0
    captured = recorder.inputs[len(layouts) :]
    keys = [(i, g) for key, g in recorder.keys for i, x in enumerate(captured) if x is key]
    moved = {g: g._stream - before for g, before in recorder.began.items()}
    rest = [None if place else leaf for leaf, place in zip(leaves, places, strict=True)]
    return Taken(graph, captured, structure, rest, places, keys, moved)


def described(structure: Structure, leaves: Sequence[Any]) -> str:
    """A structure of tensors as messages show it: (float32[2,3], int64[])."""
    return str(structure.unflatten(list(leaves)))


def returned(taken: Taken) -> list[Any]:
    """What a function returned, types in the place of tensors."""
    types = iter(taken.types)
    return [next(types) if p else x for x, p in zip(taken.leaves, taken.places, strict=True)]


def check_tensors(name: str, what: str, leaves: Sequence[Any], nothing: bool = False) -> None:
    """TypeError unless all that a function returned is tensors (or None, with `nothing`)."""
    for leaf in leaves:
        if not isinstance(leaf, Type) and not (nothing and leaf is None):
            got = f"{type(leaf).__name__} ({leaf!r})"
            raise TypeError(
                message(name, f"{what} returns something that is no tensor", got, "tensors", "fanal.tensor(…)")
            )


def check_same(
    name: str, what: str, structure: Structure, leaves: Sequence[Any], wanted: Structure,
    wanted_leaves: Sequence[Any], hint: str,
) -> None:  # fmt: skip
    """ValueError where one structure of tensors is not like another."""
    if structure != wanted or list(leaves) != list(wanted_leaves):
        raise ValueError(
            message(name, what, described(structure, leaves), described(wanted, wanted_leaves), hint)
        )


def check_flag(name: str, what: str, kind: Any) -> None:
    """TypeError or ValueError unless a type is that of one boolean."""
    if not isinstance(kind, Type) or kind.dtype.kind != "b":
        got = repr(kind) if isinstance(kind, Type) else type(kind).__name__
        raise TypeError(message(name, f"{what} is no boolean tensor", got, "bool[]", "a comparison"))
    if any(n != 1 for n in kind.shape):
        raise ValueError(
            message(name, f"{what} has not one element", repr(kind), "bool[]", ".all() or .any(), or fanal.where")
        )
