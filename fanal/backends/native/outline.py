"""A lowered program on its way to memory: what is kept from call to call split off, small phases merged.

Sizes in it may follow from symbols (`core/symbols.py`). Then it is the outline of the programs of many
sizes: `listings` gives the numbers of one of them, its arena included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fanal.backends.native.arena import Arena, plan_arena
from fanal.backends.native.description import Description
from fanal.backends.native.early import split
from fanal.backends.native.listing import Listing, Listings, listing_of
from fanal.backends.native.merging import merge
from fanal.backends.native.program import Kernel, Phase, ProgramBuilder, Temp
from fanal.backends.native.runtime import FLAG_CHECK_SIGNALS, FLAG_RELEASE_GIL
from fanal.core.symbols import has_symbols

# Work (elements touched) above which releasing the GIL is worth its 50 ns.
RELEASE_ABOVE = 20_000


@dataclass(frozen=True, slots=True)
class Written:
    """What a lowering has written: listings, what they consist of, and the kernels that they name."""

    listings: Listings
    kernels: list[Kernel]
    main: Description
    early: Description


@dataclass(frozen=True, slots=True)
class Outline:
    """A lowered program before its arena is planned; sizes in it may follow from symbols."""

    arguments: int
    work: int  # elements that it touches
    phases: list[Phase]
    temps: list[Temp]
    early: list[Phase]
    early_temps: list[Temp]
    kept_bytes: int
    flows: bool  # whether it has loops or branches

    @property
    def kernels(self) -> list[Kernel]:
        """All that its phases run."""
        return [p.kernel for p in (*self.phases, *self.early)]

    @property
    def keeps_alike(self) -> bool:
        """Whether what it keeps between calls is the same for all sizes."""
        words = (w for p in self.early for w in (*p.descriptor, p.tasks, p.nbytes))
        return not has_symbols(words) and not has_symbols([self.kept_bytes])

    def listings(
        self, value: Callable[[Any], Any] | None = None, plan: Callable[[Sequence[Temp]], Arena] = plan_arena
    ) -> Listings:
        """The program as numbers; `value` says what sizes are that follow from symbols; `plan` makes arenas."""
        work = self.work if value is None else value(self.work)
        long = work > RELEASE_ABOVE or self.flows  # loops may run for any time
        flags = FLAG_RELEASE_GIL | FLAG_CHECK_SIGNALS if long else 0
        main = self._listed(self.phases, self.temps, flags, value, plan)
        early = self._listed(self.early, self.early_temps, flags, value, plan_arena) if self.early else None
        return Listings(main, early, self.kept_bytes if value is None else value(self.kept_bytes))

    def _listed(
        self, phases: Sequence[Phase], temps: Sequence[Temp], flags: int,
        value: Callable[[Any], Any] | None, plan: Callable[[Sequence[Temp]], Arena],
    ) -> Listing:  # fmt: skip
        if value is not None:
            temps = [Temp(value(t.nbytes), t.first, t.last) for t in temps]
            phases = [
                replace(p, descriptor=list(map(value, p.descriptor)), tasks=value(p.tasks))
                for p in phases
            ]
        return listing_of(self.arguments, phases, temps, plan(temps), flags)

    def written(self) -> Written:
        """All that there is to say of a program without symbols."""
        found = self.listings()
        first = found.early or listing_of(self.arguments, (), self.early_temps, Arena([0] * len(self.early_temps), 0), 0)
        return Written(
            found, self.kernels,
            Description.of(self.phases, self.temps, found.main.offsets, found.main.arena_bytes),
            Description.of(self.early, self.early_temps, first.offsets, first.arena_bytes),
        )  # fmt: skip


def outline(builder: ProgramBuilder, work: int, kept: int | None = None) -> Outline:
    """Finish a program that touches `work` elements. `kept`: the argument that is what it keeps between
    calls."""
    parts = None if kept is None else split(builder, kept)
    builder.phases = merge(builder, builder.phases if parts is None else parts.late)
    builder.finish()
    temps = builder.temps if builder.flow else _lifetimes(builder, builder.phases)
    early = [] if parts is None or not parts.kept_bytes else parts.early
    return Outline(
        builder.arguments, work, builder.phases, temps, early, _lifetimes(builder, early),
        0 if parts is None else parts.kept_bytes, builder.flow is not None,
    )  # fmt: skip


def _lifetimes(builder: ProgramBuilder, phases: Sequence[Phase]) -> list[Temp]:
    """The temporaries that some phases without loops use, and from where to where."""
    found = [Temp(t.nbytes) for t in builder.temps]
    for number, phase in enumerate(phases):
        for buffer in phase.buffers:
            if buffer >= builder.arguments:
                temp = found[buffer - builder.arguments]
                temp.first = number if temp.first < 0 else temp.first
                temp.last = number
    return found
