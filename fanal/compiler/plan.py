"""The native part of a replay: a table of what it checks and does, which the runtime carries out.

Python writes the table once; see `runtime/layout.py` for its fields and sections, `runtime/guards.py` and
`runtime/replay.py` for what is done with it. Only what a call reads from outside is ever written anew.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import pack, unpack
from typing import Any

from fanal.backends.native.executable import runtime
from fanal.backends.native.runtime.layout import PLAN_FIELDS, PLAN_SECTIONS
from fanal.compiler.observer.places import known_place
from fanal.tensor.tensor import Tensor

_SLOTS = {
    "storage": "_storage", "layout": "_layout", "pointer": "_ptr", "node": "_node", "index": "_index",
    "grad": "_grad", "rare": "_rare",
}  # fmt: skip
_SECTIONS = {name: len(PLAN_FIELDS) + 2 * i for i, name in enumerate(PLAN_SECTIONS)}
_ZERO = 0
HOLDS, NOT_KEPT = 0, 2  # answers of `Plan.holds`


def bits(x: int | float) -> int:
    """A number as the word that a kernel reads."""
    return int(unpack("q", pack("d", x))[0]) if isinstance(x, float) else int(x)


class Plan:
    """A table in memory, at `address`."""

    __slots__ = ("_alive", "_before", "_sections", "_table", "address")

    def __init__(self, fields: Mapping[str, int], sections: Mapping[str, Iterable[int]], alive: Any):
        self._alive = alive  # objects that the table names
        self._table = array("q", [0] * (len(PLAN_FIELDS) + 2 * len(PLAN_SECTIONS)))
        self._sections: dict[str, array[int]] = {}
        self._before: dict[str, array[int]] = {}
        self.address: int = self._table.buffer_info()[0]
        for name, value in {**_common(), **fields}.items():
            self._table[PLAN_FIELDS.index(name)] = value
        for name in PLAN_SECTIONS:
            self.write(name, sections.get(name, ()))

    def write(self, name: str, words: Iterable[int]) -> None:
        """Let a section consist of these words; the words that were there are kept until the next time,
        as other threads may be reading them."""
        fresh = array("q", words)
        if name in self._sections:
            self._before[name] = self._sections[name]
        self._sections[name] = fresh
        at, count = _SECTIONS[name], len(fresh) // PLAN_SECTIONS[name]
        self._table[at : at + 2] = array("q", [fresh.buffer_info()[0], count])  # at once

    def put(self, name: str, number: int, word: int) -> None:
        """Change one word of a section."""
        self._sections[name][number] = word

    @property
    def runs(self) -> int:
        """How often it was carried out."""
        return self._table[PLAN_FIELDS.index("runs")]

    def holds(self, tensors: list[Tensor]) -> int:
        """HOLDS; NOT_KEPT if all does but what the program keeps; else another number."""
        return runtime.holds(self.address, tensors)

    def perform(self, tensors: list[Tensor], inputs: Sequence[Any], records: int) -> Any:
        """Carry it out: the tensor, or results and memories, or the code of a program that failed."""
        return runtime.perform(self.address, tensors, tuple(inputs), records)


def _common() -> dict[str, int]:
    """What all plans say of tensors."""
    found = {"kind": id(Tensor), "weakrefs": Tensor.__weakrefoffset__, "zero": id(_ZERO)}
    for name, slot in _SLOTS.items():
        found[name] = known_place(Tensor, slot)
    return found


_address = known_place(Plan, "address")
_carry_out: Callable[..., Any] = runtime.replay


def carried_out(plans: tuple[Plan, ...], args: tuple[Any, ...]) -> Any:
    """A call by the first of some plans that fits and holds: the tensor; or the plan's owner and what it
    has to finish; or None."""
    return _carry_out(plans, args, _address)
