"""What there is to say of a program, gathered: for text, for JSON, for the page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

from fanal.backends.native.costs import multiply_adds
from fanal.core.errors import message
from fanal.export.program import Program, Signature, TensorSpec
from fanal.export.text import Dims
from fanal.graph.ir import Graph, Node, SubGraph, Value
from fanal.graph.sizes import sized

# What has no memory of its own: it is another's, seen otherwise.
_VIEWS = frozenset(["reshape", "permute", "expand", "slice", "flip", "windows", "after", "detach", "hold", "stop_reverse"])


@dataclass(frozen=True)
class PortFacts:
    """An input or an output. `shape` has numbers and texts of dimensions."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    labels: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class OperationFacts:
    """All operations of one kind in a function: how many, those inside of loops and branches among them,
    and their multiply-adds."""

    name: str
    kind: str
    count: int
    multiply_adds: int


@dataclass(frozen=True)
class StateFacts:
    """A tensor that the program holds. `written`: by which functions."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    written: tuple[str, ...]

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class FunctionFacts:
    """One signature, its numbers at the sizes that `ProgramFacts.sizes` says.

    `temporaries`: the bytes alive at once at most, if each operation's result lay in memory until it is not
    needed any more; compiled programs need less, as they fuse.
    """

    name: str
    inputs: tuple[PortFacts, ...]
    outputs: tuple[PortFacts, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    operations: tuple[OperationFacts, ...]
    nodes: int
    multiply_adds: int
    input_bytes: int
    output_bytes: int
    temporaries: int


@dataclass(frozen=True)
class DimFacts:
    """An open dimension and its range."""

    name: str
    min: int
    max: int | None


@dataclass(frozen=True)
class ProgramFacts:
    """All of it. `file` and `format` are empty for a program that is no file."""

    name: str
    file: str
    file_bytes: int
    format: str
    card: Mapping[str, Any]
    dims: tuple[DimFacts, ...]
    sizes: Mapping[str, int]
    relations: tuple[str, ...]
    state: tuple[StateFacts, ...]
    functions: tuple[FunctionFacts, ...] = field(default_factory=tuple)

    @property
    def elements(self) -> int:
        return sum(s.elements for s in self.state)

    @property
    def state_bytes(self) -> int:
        return sum(s.nbytes for s in self.state)

    def json(self) -> dict[str, Any]:
        """As plain data: numbers, texts, lists and dicts."""
        found = asdict(self)
        found["card"] = dict(self.card)
        found["elements"], found["state_bytes"] = self.elements, self.state_bytes
        return found


def facts(
    program: Program, *, path: str | os.PathLike[str] | None = None, form: str = "",
    at: Mapping[str, int] | None = None,
) -> ProgramFacts:  # fmt: skip
    """What there is to say. `at`: sizes of open dimensions to count for, instead of the least ones."""
    dims = tuple(DimFacts(*d) for d in program.dims)
    sizes = _sizes(dims, at or {})
    text = Dims(program)
    written = {s.name: s.writes for s in program.signatures.values()}
    state = tuple(
        StateFacts(
            name, t.dtype.name, tuple(t.shape), prod(t.shape) * t.dtype.itemsize,
            tuple(s for s, names in written.items() if name in names),
        )
        for name, t in program.state.items()
    )  # fmt: skip
    value = program.symbols.at([sizes[d.name] for d in dims])
    functions = tuple(_function(s, text, value) for s in program.signatures.values())
    return ProgramFacts(
        program.name, "" if path is None else os.fspath(path), 0 if path is None else os.stat(path).st_size,
        form, program.card, dims, sizes, tuple(text.conditions()), state, functions,
    )  # fmt: skip


def _sizes(dims: Sequence[DimFacts], at: Mapping[str, int]) -> dict[str, int]:
    found = {d.name: max(d.min, 1) for d in dims}
    by_name = {d.name: d for d in dims}
    for name, n in at.items():
        if name not in by_name:
            known = ", ".join(by_name) or "none"
            raise ValueError(message("inspect", "the program has no such dimension", repr(name), known))
        d = by_name[name]
        if n < d.min or (d.max is not None and n > d.max):
            wanted = f"{d.min} to {d.max if d.max is not None else 'any size'}"
            raise ValueError(message("inspect", f"{name!r} is out of its range", n, wanted))
        found[name] = n
    return found


def _port(spec: TensorSpec, dims: Dims) -> PortFacts:
    return PortFacts(spec.name, spec.dtype.name, tuple(dims.text(n) for n in spec.shape), spec.labels)


def _function(s: Signature, dims: Dims, value: Any) -> FunctionFacts:
    graph = sized(s.graph, value)
    counts: dict[str, list[Any]] = {}
    for node in every(graph):
        entry = counts.setdefault(node.primitive.name, [node.primitive.kind, 0, 0])
        entry[1] += 1
    for node in graph.nodes:  # loops by themselves: they count what is inside, as often as it is done
        counts[node.primitive.name][2] += multiply_adds([node])
    operations = [OperationFacts(name, *entry) for name, entry in counts.items()]
    operations.sort(key=lambda o: (-o.multiply_adds, -o.count, o.name))
    ports = [(p, v) for p, v in zip(s.takes, graph.inputs, strict=True) if p.kind == "input"]
    return FunctionFacts(
        s.name, tuple(_port(x, dims) for x in s.inputs), tuple(_port(x, dims) for x in s.outputs),
        tuple(s.reads), tuple(s.writes), tuple(operations), sum(o.count for o in operations),
        multiply_adds(graph.nodes), sum(nbytes(v) for _, v in ports),
        sum(nbytes(v) for v in graph.outputs[: len(s.outputs)]), live_bytes(graph),
    )  # fmt: skip


def every(graph: Graph) -> list[Node]:
    """The nodes of a graph and of the graphs inside of them."""
    found = []
    for node in graph.nodes:
        found.append(node)
        for a in node.attributes.values():
            if isinstance(a, SubGraph):
                found += every(a)
    return found


def nbytes(v: Value) -> int:
    """The bytes of a value of known size."""
    return int(prod(v.shape)) * v.dtype.itemsize


def live_bytes(graph: Graph) -> int:
    """The most bytes of results that are alive at once, without those of inputs and outputs."""
    base: dict[Value, Value] = {}
    last: dict[Value, int] = {}

    def root(v: Value) -> Value:
        return base.get(v, v)

    for i, node in enumerate(graph.nodes):
        for v in node.inputs:
            last[root(v)] = i
        if node.primitive.name in _VIEWS:
            base[node.outputs[0]] = root(node.inputs[0])
    apart = {root(v) for v in (*graph.inputs, *graph.outputs)}
    ends: dict[int, list[Value]] = {}
    alive = most = 0
    for i, node in enumerate(graph.nodes):
        for v in node.outputs:
            if v in base or v in apart or node.primitive.kind == "create":
                continue
            alive += nbytes(v)
            ends.setdefault(last.get(v, i), []).append(v)
        most = max(most, alive)
        alive -= sum(nbytes(v) for v in ends.pop(i, ()))
    return most
