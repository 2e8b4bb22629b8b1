"""Programs as read-only numbers: what the driver (`driver.py`) walks through.

A program, in 64-bit words: a header (see `FIELDS`), the entries, and a region of slots and words. An entry is
8 bytes, {kernel << 1 | light, where in the words its own begin}; its words are the number of its tasks and its
descriptor. Entries that are no phases have a kernel of -1. A slot says of a buffer {place | alignment << 3 |
offset << 9}.

Where sizes are open, code (`expressions.py`) says whether the program is right for them, what its arena takes,
and the values of those slots and words that follow from sizes: a copy of the region in the arena is patched.
The code's values, the copy and the table of buffers lie in front of the temporaries there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fanal.backends.native.arena import lower_bound
from fanal.backends.native.arena_search import plan_closely
from fanal.backends.native.program import CONTROL, Temp, signed
from fanal.backends.native.runtime.layout import (
    CONTROL_JUMP,
    CONTROL_REPEAT,
    CONTROL_UNLESS,
    PHASE_WORDS,
)
from fanal.core.symbols import is_symbolic, largest
from fanal.edge.expressions import ADD, MOST, MULTIPLY, Values, evaluated
from fanal.edge.forms import conditions
from fanal.edge.functions import Argument, Function
from fanal.edge.heights import supports

INPUTS, OUTPUTS, WEIGHTS, STATE, ARENA = range(5)
FIELDS = (
    "SLOTS", "ENTRIES",  # how many
    "FIXED",  # bytes of the arena in front of temporaries; all of them, where sizes are numbers
    "FIRST_ENTRY", "REGION",  # where they begin, in bytes
    "REGION_WORDS",
    "CODE",  # where it begins, in bytes; 0: sizes are numbers
    "MORE_CODE",  # the same of the part behind the total of the arena
    "MORE_VALUES",  # how many values there are before it
    "TOTAL",  # the value that is the bytes of the arena
    "PATCHES",  # where they begin, in bytes: {word of the region, value << 32}
    "PATCH_COUNT",
    "NEXT",  # the byte of all tables where the next form begins; -1: none
    "COPY", "BUFFERS",  # where in the arena the copy of the region and the table of buffers lie
)  # fmt: skip
CONSTANTS = {f"PROGRAM_{name}": 8 * i for i, name in enumerate(FIELDS)}
_ENTRY_BYTES = 8
_ALIGNED = 6  # blocks of weights, of state and of the arena: to 64 bytes
_BLOCK = 64


@dataclass(frozen=True, slots=True)
class Places:
    """Where in the blocks of a library things lie, in bytes."""

    constants: Mapping[str, int]
    state: Mapping[str, int]
    has_weights: bool
    pointer_bytes: int
    dims: int = 0  # dimensions in front of a record of inputs


@dataclass(slots=True)
class Table:
    """A program's words, and what is to be known of it."""

    words: list[int]
    sizes: tuple[int, ...]
    code: list[int]
    total: int
    values_before: int  # values of the code up to the total, sizes included
    fixed: int
    temps: Sequence[Temp]
    value: Any  # gives numbers at the sizes that it was lowered at

    def arena_bytes(self, sizes: Sequence[int]) -> int | None:
        """Bytes of the arena at sizes; None where it is not right for them."""
        if not self.code:
            return self.fixed
        values = list(sizes)
        return values[self.total] if evaluated(self.code, values) else None

    def least_bytes(self, sizes: Sequence[int]) -> int:
        """The least that any arrangement of the temporaries takes at sizes."""
        value = self.value(sizes)
        return lower_bound([Temp(value(t.nbytes), t.first, t.last) for t in self.temps])

    def before(self, place: int) -> None:
        """Say where the next form begins."""
        self.words[FIELDS.index("NEXT")] = place


def table_of(function: Function, places: Places, kernels: Mapping[str, int]) -> Table:
    """The table of a function; `kernels` gives numbers of kernels by their keys."""
    phases, temps = function.outline.phases, function.outline.temps
    entries, words = _entries(function, kernels)
    slots: list[Any] = [slot_of(function, a, places) for a in function.arguments]
    count = len(slots) + len(temps)
    head = dict.fromkeys(FIELDS, 0) | {"SLOTS": count, "ENTRIES": len(phases), "NEXT": -1}
    if function.symbols is None:
        plan = plan_closely(temps)
        before = aligned(8 * count)
        slots += [_slot(ARENA, before + offset) for offset in plan.offsets]
        head["FIXED"] = before + plan.nbytes
        made = _joined(head, entries, [*slots, *words], [], [], [])
        return Table(made, (), [], 0, 0, head["FIXED"], temps, lambda sizes: _as_it_is)
    code = conditions(function)
    heights, top = _heights(temps, code)
    # The space in front of temporaries depends on how many values there are, which is not known yet: the
    # number that stands for it is put in last.
    fixed_value = code.later()
    fixed_at = len(code.words) - 1
    total = code.of(ADD, top, fixed_value)
    code.end()
    first, before_count = list(code.words), code.count
    patches: dict[int, int] = {}
    for i, offset in heights.items():
        encoded = code.of(ADD, code.of(MULTIPLY, code.of(ADD, offset, fixed_value), code.constant(1 << 9)),
                          code.constant(_slot(ARENA, 0)))  # fmt: skip
        patches[len(function.arguments) + i] = encoded
    region = [*slots, *[_slot(ARENA, 0)] * len(temps), *words]
    for i, word in enumerate(region):
        if is_symbolic(word):
            patches[i] = code.number(word)
            region[i] = 0
    code.end()
    head["COPY"] = aligned(8 * code.count)
    head["BUFFERS"] = head["COPY"] + aligned(8 * len(region))
    head["FIXED"] = head["BUFFERS"] + aligned(8 * count)
    for text in (first, code.words):
        text[fixed_at] = head["FIXED"]
    head["MORE_VALUES"], head["TOTAL"] = before_count, total
    made = _joined(head, entries, region, first, code.words[len(first) :], sorted(patches.items()))
    symbols = function.symbols
    return Table(made, function.sizes, first, total, before_count, head["FIXED"], temps, symbols.at)


def _as_it_is(n: Any) -> Any:
    return n


def _joined(
    head: dict[str, int], entries: list[int], region: list[int], first: list[int], more: list[int],
    patches: list[tuple[int, int]],
) -> list[int]:  # fmt: skip
    """All parts of a program, one behind the other."""
    head["FIRST_ENTRY"] = 8 * len(FIELDS)
    head["REGION"] = head["FIRST_ENTRY"] + 8 * len(entries)
    head["REGION_WORDS"] = len(region)
    if first:
        head["CODE"] = head["REGION"] + 8 * len(region)
        head["MORE_CODE"] = head["CODE"] + 8 * len(first)
        head["PATCHES"] = head["MORE_CODE"] + 8 * len(more)
        head["PATCH_COUNT"] = len(patches)
    pairs = [_pair(word, value) for word, value in patches]
    return [*(head[name] for name in FIELDS), *entries, *map(signed, region), *first, *more, *pairs]


def aligned(n: int) -> int:
    """A number of bytes, up to the next multiple of 64."""
    return -(-n // _BLOCK) * _BLOCK


def _heights(temps: Sequence[Temp], code: Values) -> tuple[dict[int, int], int]:
    """Values of the temporaries' offsets behind the fixed space, and of the bytes of them all."""
    offsets: dict[int, int] = {}
    ends: dict[int, int] = {}
    nothing = code.constant(0)
    at_largest = [Temp(_example(t.nbytes), t.first, t.last) for t in temps]
    for i, below in supports(at_largest).items():
        at = _most((ends[j] for j in below), code, nothing)
        offsets[i] = at
        size = -(-largest(temps[i].nbytes, 1) // _BLOCK) * _BLOCK
        ends[i] = code.of(ADD, at, code.number(size))
    return offsets, _most(ends.values(), code, nothing)


def _most(values: Iterable[int], code: Values, nothing: int) -> int:
    found: int | None = None
    for v in dict.fromkeys(values):
        found = v if found is None else code.of(MOST, found, v)
    return nothing if found is None else found


def _example(n: Any) -> int:
    return int(n.example) if is_symbolic(n) else int(n)


def _slot(place: int, offset: int, alignment: int = _ALIGNED) -> int:
    return place | alignment << 3 | offset << 9


def slot_of(function: Function, a: Argument, places: Places) -> int:
    """The entry of the table of buffers for one argument."""
    match a.kind:
        case "input" | "output":
            values = function.signature.inputs if a.kind == "input" else function.signature.outputs
            size = values[a.number].dtype.itemsize
            before = 8 * places.dims if a.kind == "input" else 0
            at = before + a.number * places.pointer_bytes
            return _slot(INPUTS if a.kind == "input" else OUTPUTS, at, size.bit_length() - 1)
        case "state":
            return _slot(STATE, places.state[a.name])
        case "constant" if a.name in places.constants:
            return _slot(WEIGHTS, places.constants[a.name])
        case "kept" if places.has_weights:  # its parts are where they are in the file
            return _slot(WEIGHTS, 0)
        case _:  # what is not there is not read
            return _slot(ARENA, 0)


def _entries(function: Function, kernels: Mapping[str, int]) -> tuple[list[int], list[Any]]:
    """The entries as words, and the words that they point to."""
    entries: list[int] = []
    words: list[Any] = []
    for phase in function.outline.phases:
        own = list(phase.descriptor)
        if phase.kernel is CONTROL:
            entries.append(_pair(-1, len(words)))
            own = control_words(own)
        else:
            entries.append(_pair(kernels[phase.kernel.key] << 1 | phase.light, len(words)))
        words += [phase.tasks, *own]
    return entries, words


def _pair(low: int, high: int) -> int:
    return int(struct.unpack("<q", struct.pack("<ii", low, high))[0])


def control_words(words: list[Any]) -> list[Any]:
    """An entry of control, with jumps over entries as long as they are here."""
    found = list(words)
    for at in range(1, len(found), 4):
        if found[at] in (CONTROL_REPEAT, CONTROL_UNLESS, CONTROL_JUMP):
            found[at + 3] = found[at + 3] // (8 * PHASE_WORDS) * _ENTRY_BYTES
    return found
