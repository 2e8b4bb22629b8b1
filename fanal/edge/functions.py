"""Signatures on their way to machine code: each is lowered once for every level of the machine.

Tensors that no signature writes are constants: what a program makes of them alone (packed weights, tables of
offsets) is made when the library is built, and is no code of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fanal.backends.native.executable import outline_of
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.outline import Outline
from fanal.backends.native.program import CONTROL, Access
from fanal.backends.native.target import Target
from fanal.core.errors import Limit, message
from fanal.export.program import Program, Signature
from fanal.graph.ir import Graph
from fanal.ops.passes import improved
from fanal.ops.primitive import contiguous_strides


class Argument(NamedTuple):
    """What a buffer that a program is given is: "input" or "output" (by number), "state" or "constant" (by
    name), or "kept": the block that is made when the library is built."""

    kind: str
    number: int = 0
    name: str = ""


@dataclass(slots=True)
class Function:
    """A signature for one level."""

    signature: Signature
    level: int
    target: Target
    arguments: list[Argument]
    outline: Outline
    rewrites: Mapping[str, tuple[str, ...]]

    @property
    def read_constants(self) -> set[str]:
        """Names of constants that are read when it runs, as they are."""
        used = {b for phase in self.outline.phases for b in phase.buffers}
        return {a.name for b, a in enumerate(self.arguments) if a.kind == "constant" and b in used}


def improved_graph(
    program: Program, signature: Signature, fold: bool, winograd: bool
) -> tuple[Graph, Mapping[str, tuple[str, ...]]]:
    """The graph after all passes that are allowed; and those that keep no bits, with the lines touched."""
    constants = program.constants
    steady = [i for i, p in enumerate(signature.takes) if p.kind == "state" and p.name in constants]
    graph, fired = improved(signature.graph, steady if fold else (), winograd)
    return graph, {p.name: fired.places(p) for p in fired if p.grade != "A"}


def function_of(
    program: Program, signature: Signature, level: int, target: Target, graph: Graph,
    rewrites: Mapping[str, tuple[str, ...]],
) -> Function:  # fmt: skip
    """Lower a signature's graph (as it is after all passes) for one level."""
    constants = program.constants
    arguments: list[Argument] = []
    loads: list[Load] = []
    held: dict[str, Access] = {}  # state that is read: it is written in its place
    for value, place in zip(graph.inputs, signature.takes, strict=True):
        access = _dense(len(arguments), value)
        loads.append(Load(value.dtype, value.shape, access))
        if place.kind == "input":
            number = sum(a.kind == "input" for a in arguments)
            arguments.append(Argument("input", number, place.name))
        else:
            kind = "constant" if place.name in constants else "state"
            arguments.append(Argument(kind, 0, place.name))
            held[place.name] = access
    outputs: list[Access] = []
    count = 0
    for value, place in zip(graph.outputs, signature.gives, strict=True):
        if place.kind == "output":
            outputs.append(_dense(len(arguments), value))
            arguments.append(Argument("output", count, place.name))
            count += 1
        elif place.name in held:
            outputs.append(held[place.name])
        else:
            outputs.append(_dense(len(arguments), value))
            arguments.append(Argument("state", 0, place.name))
    steady = [b for b, a in enumerate(arguments) if a.kind == "constant"]
    outline = outline_of(graph, loads, outputs, steady, target)
    arguments.append(Argument("kept"))
    _check_own(outline, signature)
    return Function(signature, level, target, arguments, outline, rewrites)


def _dense(buffer: int, value: Any) -> Access:
    shape = tuple(value.shape)
    return Access(buffer, value.dtype, shape, contiguous_strides(shape))


def _check_own(outline: Outline, signature: Signature) -> None:
    """Refuse a program that calls code from outside of itself."""
    for phase in (*outline.early, *outline.phases):
        if phase.kernel.entry and phase.kernel is not CONTROL:
            nodes: Sequence[Any] = () if phase.unit is None else phase.unit.nodes
            names = ", ".join(dict.fromkeys(n.primitive.name for n in nodes)) or phase.kernel.key
            places = ", ".join(dict.fromkeys(n.origin.place for n in nodes if n.origin is not None))
            raise Limit(
                message(
                    "build", f"signature {signature.name!r} calls code of this machine",
                    names + (f" at {places}" if places else ""), "operations that have machine code of their own",
                    "leaving it out of what is exported, or computing its result before",
                )
            )  # fmt: skip
