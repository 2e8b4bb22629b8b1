"""Small phases of one kernel that do not depend on one another become one phase with a table.

An optimiser's step is one kernel a parameter, a hundred times over: each phase costs a barrier, and a
bias is a task too small to share. Merged, they are one phase whose tasks are those of all members; a
task finds its member in a table and runs the kernel's code with that member's descriptor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fanal.backends.native.program import Kernel, Phase, ProgramBuilder, Unit
from fanal.core.symbols import example_of

if TYPE_CHECKING:
    from fanal.backends.native.emit import Builder

# Members from which on a table pays for its code, and kernels that a phase may move before.
FEW, REACH = 3, 64
# Bytes of memory that one thread goes through before another has been woken.
_LIGHT = 64 << 10
_KINDS = ("elementwise", "tiled")


@dataclass(slots=True, eq=False)
class _Group:
    """Phases that run together, where the first of them stood."""

    members: list[Phase]
    buffers: set[int] = field(default_factory=set)
    writes: set[int] = field(default_factory=set)
    movable: bool = True

    def add(self, phase: Phase) -> None:
        self.members.append(phase)
        self.movable &= _may_move(phase)
        self.buffers.update(phase.buffers)
        self.writes.update(phase.buffers if phase.changes is None else phase.changes)

    def is_apart(self, phase: Phase) -> bool:
        """Whether a phase and this group may run in either order."""
        return not (self.writes.intersection(phase.buffers) or self.buffers & (phase.changes or set()))


def merge(p: ProgramBuilder, phases: list[Phase]) -> list[Phase]:
    """The phases (some of `p`'s, in order) with groups in the place of their first member; temporaries
    live long enough for that. Programs with loops or branches stay as they are."""
    if p.flow is not None:
        return phases
    place = {phase: i for i, phase in enumerate(p.phases)}
    staying: set[Phase] = set()
    while True:
        groups = _grouped(phases, staying)
        small = {x for group in groups if 1 < len(group.members) < FEW for x in group.members}
        if not small:
            break
        staying |= small  # and others may not pass them by
    result: list[tuple[int, Phase]] = []
    for group in groups:
        now = place[group.members[0]]
        if len(group.members) == 1:
            result.append((now, group.members[0]))
            continue
        result.append((now, _as_one(group.members)))
        for buffer in group.buffers:
            if buffer >= p.arguments:
                temp = p.temps[buffer - p.arguments]
                temp.first, temp.last = min(temp.first, now), max(temp.last, now)
    return [phase for _, phase in sorted(result, key=lambda one: one[0])]


def _grouped(phases: list[Phase], staying: set[Phase]) -> list[_Group]:
    """Phases with those that they may join; `staying` ones join none."""
    groups: list[_Group] = []
    for phase in phases:
        mine = None if phase in staying else _joinable(groups, phase, staying)
        if mine is None:
            mine = _Group([])
            groups.append(mine)
        mine.add(phase)
    return groups


def _may_move(phase: Phase) -> bool:
    """Whether it is known what a phase does, and that it can't fail."""
    return phase.changes is not None and phase.kernel.key.startswith(_KINDS)


def _joinable(groups: list[_Group], phase: Phase, staying: set[Phase]) -> _Group | None:
    """The group that a phase may join: of its kernel, with nothing in between that it depends on."""
    if not _may_move(phase):
        return None
    for group in reversed(groups[-REACH:]):
        if not group.movable or not group.is_apart(phase):
            return None
        first = group.members[0]
        if first.kernel.key == phase.kernel.key and first not in staying:
            return group
    return None


def _as_one(members: list[Phase]) -> Phase:
    """One phase: the number of members, of each its first task and its descriptor's place, and these."""
    kernel = members[0].kernel
    table, tasks = [len(members)], 0
    descriptors: list[int] = []
    start = 1 + 2 * len(members)
    for phase in members:
        table += [tasks, start + len(descriptors)]
        descriptors += phase.descriptor
        tasks += phase.tasks

    def emit(b: Builder) -> None:
        desc, task = b.arg("desc"), b.arg("task")
        scan = b.loop(0, b.load("i64", desc), 1, [b.i64(0)])
        with scan as (i, found):  # the last member whose first task is not later
            first = b.load("i64", b.at(desc, i * 2 + 1, "i64"))
            scan.next(b.select(first.le(task), i, found))
        (member,) = scan.results
        entry = b.at(desc, member * 2 + 1, "i64")
        offset = b.load("i64", b.at(entry, 1, "i64"))
        b.rebind(desc=b.at(desc, offset, "i64"), task=task - b.load("i64", entry))
        kernel.emit(b)

    buffers = tuple(dict.fromkeys(x for phase in members for x in phase.buffers))
    merged = Kernel(f"many {kernel.key}", emit)
    nbytes = sum(phase.nbytes for phase in members)
    nodes = (node for phase in members if phase.unit is not None for node in phase.unit.nodes)
    return Phase(
        merged, table + descriptors, tasks, buffers, unit=Unit(tuple(dict.fromkeys(nodes))),
        nbytes=nbytes, commits=any(phase.commits for phase in members), light=example_of(nbytes) <= _LIGHT,
    )  # fmt: skip
