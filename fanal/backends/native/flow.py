"""Loops and branches of a program: entries of its table that the launching thread interprets.

Such an entry holds operations on the table of buffers (point a slot somewhere, move it, turn three of
them, count) and jumps. So a loop's body is ordinary phases over *slots*: a step of a sequence is a
window that moves through it, and a carry that was written is read by turning slots. Nothing is copied.

What phases in a loop always read the same way and write apart (packed weights, tables of offsets) is
done in front of it, and memory that is used in and outside of a loop lives as long as the loop does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fanal.backends.native.program import CONTROL, Access, Phase, ProgramBuilder
from fanal.backends.native.runtime.layout import (
    CONTROL_ADVANCE,
    CONTROL_COUNT,
    CONTROL_JUMP,
    CONTROL_POINT,
    CONTROL_REPEAT,
    CONTROL_ROTATE,
    CONTROL_TASKS,
    CONTROL_UNLESS,
    PHASE_WORDS,
)

_ENTRY_BYTES = 8 * PHASE_WORDS


@dataclass(slots=True, eq=False)
class Mark:
    """A place in the table that jumps lead to; an entry that does nothing stands there."""

    phase: Phase | None = None


Operation = tuple[int, int, int, "int | Mark"]


def point(slot: int, to: Access, offset: int = 0) -> Operation:
    """Let a slot be where an access begins, and so many bytes on."""
    return CONTROL_POINT, slot, to.buffer, to.offset + offset


def advance(slot: int, by: int) -> Operation:
    """Move a slot by so many bytes."""
    return CONTROL_ADVANCE, slot, 0, by


def turn(read: int, write: int, spare: int) -> Operation:
    """What was written is read next; what is written next is the spare memory."""
    return CONTROL_ROTATE, read, write, spare


def count(slot: int, number: int) -> Operation:
    """Let a slot hold a number."""
    return CONTROL_COUNT, slot, 0, number


def repeat(slot: int, top: Mark) -> Operation:
    """Count down; go back unless none is left."""
    return CONTROL_REPEAT, slot, 0, top


def unless(flag: Access, to: Mark) -> Operation:
    """Jump if a boolean in memory is false."""
    return CONTROL_UNLESS, flag.buffer, flag.offset, to


def jump(to: Mark) -> Operation:
    return CONTROL_JUMP, 0, 0, to


@dataclass(slots=True, eq=False)
class Loop:
    """A loop that is being written: buffers that are the same at every step, and how many of these
    there will be (a guess, where it is not known)."""

    constants: set[int]
    steps: int
    start: int  # of its entries in the table, the one before the first step included
    last: Phase | None = None
    first: Phase | None = None


class Flow:
    """The loops, branches and jumps of one program. `of(p)` finds or begins a program's."""

    def __init__(self, p: ProgramBuilder):
        self.p = p
        self.jumps: list[tuple[Phase, int, Mark]] = []
        self.open: list[Loop] = []
        self.loops: list[Loop] = []  # finished, inner ones first

    @staticmethod
    def of(p: ProgramBuilder) -> Flow:
        if p.flow is None:
            p.flow = Flow(p)
        return p.flow

    # -- entries --------------------------------------------------------------------------------------

    def control(self, operations: Sequence[Operation], touched: Sequence[Access] = ()) -> Phase:
        """Append an entry; `touched` is memory that must be there when it is reached."""
        words = [len(operations)]
        jumps = []
        for code, a, b, c in operations:
            if isinstance(c, Mark):
                jumps.append((len(words) + 3, c))
                c = 0
            words += (code, a, b, c)
        buffers = tuple(access.buffer for access in touched)
        phase = Phase(CONTROL, words, CONTROL_TASKS, buffers)
        self.jumps += [(phase, place, mark) for place, mark in jumps]
        self.p.phases.append(phase)
        return phase

    def mark(self, mark: Mark) -> None:
        """Let jumps to a mark lead here."""
        mark.phase = self.control(())

    def slot(self) -> int:
        """An entry of the table of buffers that is no memory of its own."""
        return self.p.temp(0)

    # -- loops ----------------------------------------------------------------------------------------

    def begin(self, constants: set[int], steps: int) -> Loop:
        """What is appended from now on belongs to a loop."""
        loop = Loop(constants, steps, len(self.p.phases))
        self.open.append(loop)
        return loop

    def end(self) -> None:
        """The last entry of the innermost loop has been appended; what may is done before it."""
        loop = self.open.pop()
        entries = self.p.phases[loop.start :]
        early = [e for e in entries if self._is_constant(e, loop)]
        rest = [e for e in entries if not self._is_constant(e, loop)]
        self.p.phases[loop.start :] = early + rest
        loop.first, loop.last = rest[0], rest[-1]
        self.loops.append(loop)

    def note(self, phase: Phase) -> None:
        """What a phase writes from what is always the same is always the same, too."""
        for loop in reversed(self.open):
            if not self._is_constant(phase, loop):
                return
            assert phase.writes is not None
            loop.constants |= phase.writes

    def _is_constant(self, phase: Phase, loop: Loop) -> bool:
        return phase.writes is not None and phase.alone and phase.reads <= loop.constants

    def uses(self, buffer: int) -> int:
        """How often a phase that is appended now runs with the same contents of a buffer."""
        total = 1
        for loop in reversed(self.open):
            if buffer not in loop.constants:
                break
            total *= loop.steps
        return total

    # -- the finished table ---------------------------------------------------------------------------

    def resolve(self) -> None:
        """Write the distances of jumps, and how long temporaries live."""
        at = {phase: i for i, phase in enumerate(self.p.phases)}
        for phase, word, mark in self.jumps:
            assert mark.phase is not None
            phase.descriptor[word] = (at[mark.phase] - at[phase] - 1) * _ENTRY_BYTES
        used: dict[int, list[int]] = {}
        for i, phase in enumerate(self.p.phases):
            for buffer in phase.buffers:
                used.setdefault(buffer, []).append(i)
        spans = [(at[loop.first], at[loop.last]) for loop in self.loops if loop.first and loop.last]
        for number, temp in enumerate(self.p.temps):
            places = used.get(self.p.arguments + number)
            if not places:
                temp.first = temp.last = -1
                continue
            first, last = places[0], places[-1]
            for low, high in spans:
                inside = first <= high and last >= low
                if inside and not (low < first and last < high):
                    first, last = min(first, low), max(last, high)
            temp.first, temp.last = first, last


__all__ = [
    "Flow", "Loop", "Mark", "advance", "count", "jump", "point", "repeat", "turn", "unless",
]  # fmt: skip
