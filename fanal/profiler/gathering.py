"""From records of launches to events: names, shapes, lines, and what stands inside of what."""

from __future__ import annotations

from typing import Any

from fanal.backends.native.costs import operations
from fanal.backends.native.description import PhaseFacts
from fanal.backends.native.executable import Table, programs
from fanal.backends.native.records import Record
from fanal.profiler.events import FunctionEvent, Interval
from fanal.profiler.session import Session

_NAMES = 3  # operations of a kernel that its name shows


class Facts:
    """What is known of programs, looked up once each."""

    def __init__(self) -> None:
        self.programs: dict[int, Table | None] = {}
        self.kernels: dict[tuple[int, int], tuple[str, tuple[str, ...], int]] = {}
        self.flops: dict[int, int] = {}

    def program(self, address: int) -> Table | None:
        """The program at an address, if it is still there."""
        if address not in self.programs:
            self.programs[address] = programs.get(address)
        return self.programs[address]

    def program_flops(self, program: Table) -> int:
        """Operations of all of a program, its loops run once."""
        found = self.flops.get(program.address)
        if found is None:
            units = program.description.units()
            found = self.flops[program.address] = sum(operations(unit.nodes) for unit, _ in units)
        return found

    def kernel(self, program: Table, phase: int) -> tuple[str, tuple[str, ...], int]:
        """Name, lines and operations of a phase; operations stand at the last phase of a unit."""
        key = (program.address, phase)
        found = self.kernels.get(key)
        if found is None:
            phases = program.description.phases
            fact = phases[phase]
            following = phases[phase + 1].unit if phase + 1 < len(phases) else None
            flops = 0 if following is fact.unit else operations(fact.nodes)
            found = self.kernels[key] = (f"kernel::{_kernel_name(fact)}", _lines(fact), flops)
        return found


def _kernel_name(fact: PhaseFacts) -> str:
    called = list(dict.fromkeys(n.origin.called for n in fact.nodes if n.origin is not None))
    called = called or list(dict.fromkeys(n.primitive.name for n in fact.nodes))
    rest = f" + {len(called) - _NAMES} more" if len(called) > _NAMES else ""
    if not called:
        return fact.kernel.key.split(" ", 1)[0] if fact.kernel else "control"
    return " + ".join(called[:_NAMES]) + rest


def _lines(fact: PhaseFacts) -> tuple[str, ...]:
    origins = dict.fromkeys(n.origin for n in fact.nodes if n.origin is not None)
    return tuple(dict.fromkeys(f"{o.file}({o.line}): {o.function}" for o in origins))


def events_of(session: Session) -> list[FunctionEvent]:
    """All events of a recording. Phases of a program that nobody captured are events of kind "phase"."""
    facts = Facts()
    found: list[FunctionEvent] = []
    for r in session.ranges:
        if r.start >= session.start:
            found.append(_event(len(found), r.name, "range", session, r.start, r.end, r.thread))
    for record in session.records:
        found.append(_of_record(len(found), record, session, facts))
    return found


def _event(
    number: int, name: str, kind: str, session: Session, start: int, end: int, thread: int, **more: Any
) -> FunctionEvent:
    interval = Interval((start - session.start) / 1e3, (end - session.start) / 1e3)
    return FunctionEvent(number, name, kind, thread, interval, **more)


def _of_record(number: int, r: Record, session: Session, facts: Facts) -> FunctionEvent:
    program = facts.program(r.program)
    times = (r.start, r.end, r.thread)
    if program is None:
        kind = "op" if r.phase < 0 else "phase"
        return _event(number, "a program that is gone", kind, session, *times)
    captured = program.captured
    if r.phase >= 0:
        name, lines, flops = facts.kernel(program, r.phase)
        kind = "kernel" if captured else "phase"
        return _event(number, name, kind, session, *times, stack=lines, flops=flops)
    flops = 0 if captured else facts.program_flops(program)
    return _event(
        number, program.name.lstrip("_") or "program", "op", session, *times, input_shapes=program.shapes,
        stack=session.stack_of(r), flops=flops, self_cpu_memory_usage=program.results_bytes,
    )  # fmt: skip
