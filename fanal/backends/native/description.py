"""What a program consists of, for messages, reports and profiles: its phases and its temporary memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fanal.backends.native.program import Kernel, Phase, Temp, Unit
from fanal.graph.ir import Node


@dataclass(frozen=True, slots=True)
class PhaseFacts:
    """One entry of the table. `kernel` is None for loops, branches and jumps."""

    kernel: Kernel | None
    tasks: int
    nbytes: int  # of the memory that it names
    unit: Unit

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self.unit.nodes


@dataclass(frozen=True, slots=True)
class TempFacts:
    """Temporary memory: its place in the arena, and the first and last phase that need it."""

    nbytes: int
    offset: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Description:
    """The phases of a program in order, its temporaries, and how large its arena is."""

    phases: tuple[PhaseFacts, ...]
    temps: tuple[TempFacts, ...]
    arena_bytes: int

    @classmethod
    def of(
        cls, phases: Sequence[Phase], temps: Sequence[Temp], offsets: Sequence[int], arena_bytes: int
    ) -> Description:
        """The description of a finished program."""
        nothing = Unit(())
        facts = tuple(
            PhaseFacts(p.kernel if p.tasks >= 0 else None, p.tasks, p.nbytes, p.unit or nothing)
            for p in phases
        )
        places = tuple(
            TempFacts(t.nbytes, offset, t.first, t.last)
            for t, offset in zip(temps, offsets, strict=True)
            if t.first >= 0 and t.nbytes
        )
        return cls(facts, places, arena_bytes)

    def units(self) -> list[tuple[Unit, list[int]]]:
        """What is computed together, in order, and the numbers of its phases."""
        found: list[tuple[Unit, list[int]]] = []
        for number, phase in enumerate(self.phases):
            if phase.kernel is None:
                continue
            if found and found[-1][0] is phase.unit:
                found[-1][1].append(number)
            else:
                found.append((phase.unit, [number]))
        return found

    def live_bytes(self) -> list[int]:
        """How many bytes of temporaries each phase needs at the least: the lower bound of the arena."""
        change = [0] * (len(self.phases) + 1)
        for t in self.temps:
            size = -(-t.nbytes // 64) * 64
            change[t.first] += size
            change[t.last + 1] -= size
        found, total = [], 0
        for step in change[:-1]:
            total += step
            found.append(total)
        return found
