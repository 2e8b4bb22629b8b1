"""What a program need not compute at every call: phases that always read the same.

Tables of offsets depend on nothing, packed weights on tensors that hardly ever change (`steady`). These
phases are a program of their own, run before the first call and whenever a steady tensor was written
to; what others read of it lies in one block of memory that is kept between calls, the program's last
argument.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fanal.backends.native.program import Phase, ProgramBuilder
from fanal.core.symbols import has_symbols, is_symbolic, largest

_ALIGNMENT = 64
# Large parts begin at pages, so that programs with the same ones can hold them once (`pages.py`).
_PAGE, _LARGE = 4096, 1 << 16


@dataclass(frozen=True, slots=True)
class Split:
    """A program in two parts, and the bytes that the first leaves to the second: `parts` of them, by where
    they begin."""

    early: list[Phase]
    late: list[Phase]
    kept_bytes: int
    parts: list[int]


def split(p: ProgramBuilder, kept: int, fixed: bool = False) -> Split:
    """Divide a finished program; temporaries that both parts name become parts of argument `kept`. `fixed`:
    what is kept has to be the same for all sizes."""
    early = _early(p, fixed)
    first = [phase for phase in p.phases if phase in early]
    late = [phase for phase in p.phases if phase not in early]
    temps = range(p.arguments, p.arguments + len(p.temps))
    written = {b for phase in first for b in phase.writes or () if b in temps}
    shared = sorted(written & {b for phase in late for b in phase.buffers})
    places, size = {}, 0
    for buffer in shared:
        nbytes = largest(p.temps[buffer - p.arguments].nbytes, 1)
        if not fixed and not is_symbolic(size) and not is_symbolic(nbytes) and nbytes >= _LARGE:
            size = -(-size // _PAGE) * _PAGE
        places[buffer] = size
        size += -(-nbytes // _ALIGNMENT) * _ALIGNMENT
    for phase in p.phases:
        _move(phase, places, kept)
    return Split(first, late, size, sorted(places.values()))


def placed_anew(phases: Iterable[Phase], kept: int, parts: Sequence[int], to: Sequence[int]) -> None:
    """Let phases find the parts of argument `kept` elsewhere in it."""
    for phase in phases:
        for i, buffer in enumerate(phase.buffers):
            if buffer == kept:
                number = bisect(parts, phase.descriptor[2 * i + 1]) - 1
                phase.descriptor[2 * i + 1] += to[number] - parts[number]


def _early(p: ProgramBuilder, fixed: bool) -> set[Phase]:
    """The phases whose results are the same at every call: all that they read is steady, or written
    by such phases only."""
    loops = p.flow is not None
    found = {
        phase
        for phase in p.phases
        if phase.writes is not None
        and all(b >= p.arguments for b in phase.writes)
        and (phase.alone or not loops)  # what stands in a branch must not fail out of it
        and not (fixed and _varies(p, phase))
    }
    # Where it is not known what a phase writes to, it may be all that it names.
    writers: dict[int, list[Phase]] = {}
    for phase in p.phases:
        for buffer in set(phase.buffers) if phase.writes is None else phase.writes:
            if buffer >= p.arguments:
                writers.setdefault(buffer, []).append(phase)
    # Results, too, may always be the same: but only once the program itself has written them.
    filled = {b for phase in p.phases for b in phase.writes or phase.buffers[-1:] if b < p.arguments}
    readers: dict[int, list[Phase]] = {}
    for phase in found:
        for buffer in phase.buffers:
            readers.setdefault(buffer, []).append(phase)
    waiting = [
        phase for phase in found
        if any(b < p.arguments and (b not in p.steady or b in filled) for b in phase.reads)
        or any(b >= p.arguments and b not in writers for b in phase.reads)
    ]  # fmt: skip
    waiting += [
        phase
        for phase in found
        if any(w not in found for b in phase.buffers for w in writers.get(b, ()))
    ]
    while waiting:
        phase = waiting.pop()
        if phase not in found:
            continue
        found.discard(phase)
        for buffer in phase.writes or ():
            waiting += [r for r in readers.get(buffer, ()) if r in found]
    return found


def _varies(p: ProgramBuilder, phase: Phase) -> bool:
    """Whether a phase is another one for other sizes."""
    temps = (p.temps[b - p.arguments].nbytes for b in phase.writes or () if b >= p.arguments)
    return has_symbols([*phase.descriptor, phase.tasks, *temps])


def _move(phase: Phase, places: dict[int, int], kept: int) -> None:
    """Let operands that are kept lie in the argument."""
    if not any(b in places for b in phase.buffers):
        return
    for i, buffer in enumerate(phase.buffers):
        if buffer in places:
            phase.descriptor[2 * i] = kept
            phase.descriptor[2 * i + 1] += places[buffer]
    phase.buffers = tuple(kept if b in places else b for b in phase.buffers)
    phase.writes = None
