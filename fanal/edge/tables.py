"""Programs as read-only numbers: what the driver (`driver.py`) walks through.

A program, in 64-bit words: {slots, entries, bytes of arena, where entries begin, where words begin}, then the
slots, one for each buffer: {place | alignment << 3 | offset << 9}. An entry is 8 bytes, {kernel << 1 | light,
where its words begin}, and its words are the number of its tasks and its descriptor. Entries that are no
phases have a kernel of -1.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

from fanal.backends.native.arena_search import plan_closely
from fanal.backends.native.listing import Listing
from fanal.backends.native.runtime.layout import (
    CONTROL_JUMP,
    CONTROL_REPEAT,
    CONTROL_TASKS,
    CONTROL_UNLESS,
    PHASE_WORDS,
)
from fanal.edge.functions import Argument, Function

INPUTS, OUTPUTS, WEIGHTS, STATE, ARENA = range(5)
HEADER_WORDS = 5
_ENTRY_BYTES = 8
_ALIGNED = 6  # blocks of weights, of state and of the arena: to 64 bytes


@dataclass(frozen=True, slots=True)
class Places:
    """Where in the blocks of a library things lie, in bytes."""

    constants: Mapping[str, int]
    state: Mapping[str, int]
    kept: int
    pointer_bytes: int
    dims: int = 0  # dimensions in front of a record of inputs


@dataclass(frozen=True, slots=True)
class Table:
    """A program's words, and what is to be known of it."""

    words: list[int]
    arena_bytes: int
    arena_bound: int  # the least that any arrangement of its temporaries needs
    temps_bytes: int


def table_of(function: Function, places: Places, kernels: Mapping[str, int]) -> Table:
    """The table of a function whose sizes are numbers; `kernels` gives numbers of kernels by their keys."""
    listing = function.outline.listings(plan=plan_closely).main
    count = len(function.arguments) + len(listing.offsets)
    slots_bytes = aligned(8 * count)
    slots = [slot_of(function, b, a, places) for b, a in enumerate(function.arguments)]
    slots += [_slot(ARENA, slots_bytes + offset) for offset in listing.offsets]
    entries, words = _entries(listing, kernels)
    start = 8 * (HEADER_WORDS + count)
    arena = slots_bytes + listing.arena_bytes
    head = [count, len(listing.entries), arena, start, start + 8 * len(entries)]
    return Table(head + slots + entries + words, arena, listing.arena_bound, listing.arena_bytes)


def aligned(n: int) -> int:
    """A number of bytes, up to the next multiple of 64."""
    return -(-n // 64) * 64


def _slot(place: int, offset: int, alignment: int = _ALIGNED) -> int:
    return place | alignment << 3 | offset << 9


def slot_of(function: Function, buffer: int, a: Argument, places: Places) -> int:
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
        case "kept" if places.kept:
            return _slot(WEIGHTS, places.kept)
        case _:  # what is not there is not read
            return _slot(ARENA, 0)


def _entries(listing: Listing, kernels: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """The entries as words, and the words that they point to."""
    bounds = list(pairwise(accumulate(listing.lengths, initial=0)))
    entries: list[int] = []
    words: list[int] = []
    rows = zip(listing.entries, listing.tasks, listing.light, bounds, strict=True)
    for number, tasks, light, (first, last) in rows:
        own = listing.words[first:last]
        if tasks == CONTROL_TASKS:
            entries.append(_pair(-1, len(words)))
            own = control_words(own)
        else:
            entries.append(_pair(kernels[listing.kernels[number]] << 1 | light, len(words)))
        words += [tasks, *own]
    return entries, words


def _pair(low: int, high: int) -> int:
    return int(struct.unpack("<q", struct.pack("<ii", low, high))[0])


def control_words(words: list[int]) -> list[int]:
    """An entry of control, with jumps over entries as long as they are here."""
    found = list(words)
    for at in range(1, len(found), 4):
        if found[at] in (CONTROL_REPEAT, CONTROL_UNLESS, CONTROL_JUMP):
            found[at + 3] = found[at + 3] // (8 * PHASE_WORDS) * _ENTRY_BYTES
    return found
