"""Signatures on their way to machine code: each is lowered once for every level of the machine.

Tensors that no signature writes are constants: what a program makes of them alone (packed weights, tables of
offsets) is made when the library is built, and is no code of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fanal.backends.native.executable import outline_of
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.outline import Outline, Placing
from fanal.backends.native.program import CONTROL, Access
from fanal.backends.native.target import Target
from fanal.core.errors import Limit, message
from fanal.core.symbols import Symbols
from fanal.export.program import Program, Signature
from fanal.graph.ir import Graph
from fanal.graph.sizes import sized
from fanal.ops.passes import improved
from fanal.ops.primitive import contiguous_strides


class Argument(NamedTuple):
    """What a buffer that a program is given is: "input" or "output" (by number), "state" or "constant" (by
    name), or "kept": the block that is made when the library is built."""

    kind: str
    number: int = 0
    name: str = ""


class Allowed(NamedTuple):
    """Rewrites whose rounding is another one than eager mode's."""

    fold_batch_norm: bool = False
    winograd: bool = False


class Level(NamedTuple):
    """An instruction-set level by its number."""

    number: int
    target: Target


@dataclass(slots=True)
class Function:
    """A signature for one level. Where sizes are open, it is lowered at some sizes, for all that fulfil the
    conditions in `symbols`; `relations` have to be zero for any."""

    signature: Signature
    level: Level
    arguments: list[Argument]
    outline: Outline
    rewrites: Mapping[str, tuple[str, ...]]
    symbols: Symbols | None = None
    sizes: tuple[int, ...] = ()
    relations: tuple[Any, ...] = ()

    @property
    def read_constants(self) -> set[str]:
        """Names of constants that are read when it runs, as they are."""
        used = {b for phase in self.outline.phases for b in phase.buffers}
        return {a.name for b, a in enumerate(self.arguments) if a.kind == "constant" and b in used}


# Who lays out what is kept, for a function of such arguments and target.
Keeper = Callable[[list[Argument], Target], Placing]


def function_of(
    program: Program, constants: Collection[str], signature: Signature, level: Level, allowed: Allowed,
    keeper: Keeper, sizes: Sequence[int] | None = None,
) -> Function:  # fmt: skip
    """Lower a signature for one level; at these sizes of the program's dimensions, if some are open.
    `constants` are names of state that is always the same."""
    graph, symbols, relations = signature.graph, None, ()
    if sizes is not None:
        symbols = Symbols()
        symbols.once = True
        open_sizes: list[Any] = [symbols.symbol(n, r.min, r.max) for n, r in zip(sizes, program.dims, strict=True)]
        value = program.symbols.at(open_sizes)
        graph = sized(graph, value)
        relations = tuple(value(r.zero) for r in signature.relations)
    steady_inputs = [i for i, p in enumerate(signature.takes) if p.kind == "state" and p.name in constants]
    graph, fired = improved(graph, steady_inputs if allowed.fold_batch_norm else (), allowed.winograd)
    arguments, loads, outputs = _frame(signature, graph, constants)
    steady = [b for b, a in enumerate(arguments) if a.kind == "constant"]
    arguments.append(Argument("kept"))
    outline = outline_of(graph, loads, outputs, steady, level.target, keeper(arguments, level.target))
    _check_own(outline, signature)
    rewrites = {p.name: fired.places(p) for p in fired if p.grade != "A"}
    return Function(
        signature, level, arguments, outline, rewrites, symbols, tuple(sizes or ()), relations
    )


def _frame(
    signature: Signature, graph: Graph, constants: Collection[str]
) -> tuple[list[Argument], list[Load], list[Access]]:
    """What a program is given, in order, and where inputs and outputs lie."""
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
    return arguments, loads, outputs


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
