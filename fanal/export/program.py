"""What leaves the house: graphs with names for all that they take and give, and the tensors that they hold.

A `Program` is plain data. How it comes about (`taking`), is written down (`file`), checked (`checking`), run
here (`running`) or built for another machine (`fanal.edge`) is for others to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from fanal.core.dtypes import DType
from fanal.core.pytree import Structure
from fanal.export.dims import DimSymbols
from fanal.graph.ir import Graph
from fanal.graph.sizes import sized
from fanal.tensor.tensor import Tensor


class Place(NamedTuple):
    """What an input or an output of a graph is: `kind` is "input", "output" or "state"; `name` is that of
    an argument, of a result, or of a tensor that the program holds."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named tensor that goes in or comes out: dims are numbers, or extents of the program's symbols.
    `labels`: what the positions of its last dimension are called, if they have names."""

    name: str
    dtype: DType
    shape: tuple[Any, ...]
    labels: tuple[str, ...] = ()


class Relation(NamedTuple):
    """Something that has to be 0 at each call, and the user's line that wants it so."""

    zero: Any
    place: str


@dataclass(slots=True)
class Signature:
    """One function of a program.

    `graph` takes what `takes` says, in order: arguments ("input") and tensors that the program holds
    ("state"). It gives what `gives` says: results ("output") and new values of state ("state"), which are
    written when all has been computed. `arguments` and `results`, flat lists of `inputs` and `outputs`, are
    held together by `structure_in` (of (args, kwargs)) and `structure_out`; `constants` are leaves of the
    latter that are no tensors, by position. `relations` are what has to hold of sizes besides their ranges.
    `identity` names the text that it was read from, if any: the same text is the same function.
    """

    name: str
    graph: Graph
    takes: tuple[Place, ...]
    gives: tuple[Place, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    structure_in: Structure
    structure_out: Structure
    constants: dict[int, Any] = field(default_factory=dict)
    relations: tuple[Relation, ...] = ()
    identity: str = ""

    @property
    def reads(self) -> list[str]:
        """Names of the state that it reads."""
        return [p.name for p in self.takes if p.kind == "state"]

    @property
    def writes(self) -> list[str]:
        """Names of the state that it changes."""
        return [p.name for p in self.gives if p.kind == "state"]

    def sized(self, value: Callable[[Any], Any]) -> Signature:
        """The same where sizes are what `value` says: numbers, or extents of other symbols."""

        def specs(some: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
            return tuple(replace(t, shape=tuple(map(value, t.shape))) for t in some)

        return replace(
            self, graph=sized(self.graph, value), inputs=specs(self.inputs), outputs=specs(self.outputs),
            relations=tuple(Relation(value(zero), place) for zero, place in self.relations), identity="",
        )  # fmt: skip


class Range(NamedTuple):
    """A symbolic dimension: its name, the least and the largest size (None: no end)."""

    name: str
    min: int
    max: int | None

    def holds(self, size: int) -> bool:
        """Whether a size lies in it."""
        return self.min <= size and (self.max is None or size <= self.max)

    @property
    def span(self) -> str:
        """What it allows, for messages: 1 to 256."""
        return f"{self.min} to {'any size' if self.max is None else self.max}"


@dataclass(slots=True)
class Program:
    """Functions that share state and dimensions.

    `dims` are the symbols, in the order of `symbols.names`. `state` are the tensors by name; those that no signature
    writes are constants. `card` says who made it, under which licence, how well it does.
    """

    name: str
    symbols: DimSymbols
    dims: tuple[Range, ...]
    state: dict[str, Tensor]
    signatures: dict[str, Signature]
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def constants(self) -> set[str]:
        """Names of state that no signature writes."""
        return set(self.state) - {n for s in self.signatures.values() for n in s.writes}
