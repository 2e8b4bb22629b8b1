"""Events of a profile, with PyTorch's attributes. Times are in µs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from fanal.profiler.table import build_table, time_text


class DeviceType(Enum):
    """Where an event happened."""

    CPU = 0


class Interval(NamedTuple):
    """A time in µs from the beginning of the profile."""

    start: float
    end: float

    def elapsed_us(self) -> float:
        return self.end - self.start


Shapes = tuple[tuple[int, ...], ...]


@dataclass(eq=False)
class FunctionEvent:
    """One call: of an operation, of a compiled program or one of its kernels, or a named range.

    kind: "op", "kernel" or "range". stack: where, innermost first. flops: by the operations' definitions.
    cpu_memory_usage: bytes of the results that it wrote.
    """

    id: int
    name: str
    kind: str
    thread: int
    time_range: Interval
    input_shapes: Shapes = ()
    stack: tuple[str, ...] = ()
    flops: int = 0
    self_cpu_memory_usage: int = 0
    cpu_parent: FunctionEvent | None = None
    cpu_children: list[FunctionEvent] = field(default_factory=list)
    device_type: DeviceType = DeviceType.CPU
    count: int = 1
    is_async: bool = False

    @property
    def key(self) -> str:
        return self.name

    @property
    def cpu_time_total(self) -> float:
        return self.time_range.elapsed_us()

    cpu_time = cpu_time_total

    @property
    def self_cpu_time_total(self) -> float:
        """Without the events inside."""
        return self.cpu_time_total - sum(c.cpu_time_total for c in self.cpu_children)

    @property
    def cpu_memory_usage(self) -> int:
        return self.self_cpu_memory_usage + sum(c.cpu_memory_usage for c in self.cpu_children)

    @property
    def cpu_time_str(self) -> str:
        return time_text(self.cpu_time)

    cpu_time_total_str = cpu_time_str

    @property
    def self_cpu_time_total_str(self) -> str:
        return time_text(self.self_cpu_time_total)

    def __repr__(self) -> str:
        return (
            f"<FunctionEvent id={self.id} name={self.name} thread={self.thread} "
            f"cpu_time={self.cpu_time_str} start_us={self.time_range.start:.1f}>"
        )


@dataclass(eq=False)
class FunctionEventAvg:
    """Events with one key, added up."""

    key: str
    kind: str = ""
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    cpu_memory_usage: int = 0
    self_cpu_memory_usage: int = 0
    flops: int = 0
    input_shapes: Shapes = ()
    stack: tuple[str, ...] = ()
    device_type: DeviceType = DeviceType.CPU

    def add(self, e: FunctionEvent | FunctionEventAvg) -> FunctionEventAvg:
        """Count one more event, or several."""
        if not self.count:
            self.kind, self.input_shapes, self.stack = e.kind, e.input_shapes, e.stack
        self.count += e.count
        self.cpu_time_total += e.cpu_time_total
        self.self_cpu_time_total += e.self_cpu_time_total
        self.cpu_memory_usage += e.cpu_memory_usage
        self.self_cpu_memory_usage += e.self_cpu_memory_usage
        self.flops += e.flops
        return self

    @property
    def name(self) -> str:
        return self.key

    @property
    def cpu_time(self) -> float:
        """The mean of a call."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def cpu_time_str(self) -> str:
        return time_text(self.cpu_time)

    @property
    def cpu_time_total_str(self) -> str:
        return time_text(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self) -> str:
        return time_text(self.self_cpu_time_total)

    def __repr__(self) -> str:
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={self.self_cpu_time_total_str} "
            f"cpu_time={self.cpu_time_str} calls={self.count}>"
        )


class EventList(list[Any]):
    """Events or averages. `total`: µs that the profile took; columns are shown for what was recorded."""

    def __init__(
        self, events: Iterable[Any] = (), *, total: float = 0.0, shapes: bool = False,
        memory: bool = False, stacks: bool = False, flops: bool = False,
    ):  # fmt: skip
        super().__init__(events)
        self.total = total
        self.columns = {"shapes": shapes, "memory": memory, "stacks": stacks, "flops": flops}

    def like(self, events: Iterable[Any]) -> EventList:
        """Other events of the same profile."""
        return EventList(events, total=self.total, **self.columns)

    @property
    def self_cpu_time_total(self) -> float:
        """µs in all events."""
        return sum(e.self_cpu_time_total for e in self)

    def key_averages(
        self, group_by_input_shapes: bool = False, group_by_stack_n: int = 0
    ) -> EventList:
        """Events of one name (and of one shape, and of one place) added up."""
        found: dict[Any, FunctionEventAvg] = {}
        for e in self:
            shapes = e.input_shapes if group_by_input_shapes else ()
            key = (e.key, shapes, e.stack[:group_by_stack_n])
            found.setdefault(key, FunctionEventAvg(e.key)).add(e)
        for (_, _, stack), average in found.items():
            average.stack = stack
            if not group_by_input_shapes:
                average.input_shapes = ()
        made = self.like(found.values())
        made.columns |= {"shapes": group_by_input_shapes, "stacks": group_by_stack_n > 0}
        return made

    def total_average(self) -> FunctionEventAvg:
        """All events added up."""
        total = FunctionEventAvg("Total")
        for e in self:
            total.add(e)
        return total

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
    ) -> str:
        """The events as a table. `sort_by`: the name of a column's attribute, as "self_cpu_time_total"."""
        return build_table(
            self, sort_by, row_limit, max_src_column_width, max_name_column_width,
            max_shapes_column_width, header, top_level_events_only,
        )  # fmt: skip

    def __str__(self) -> str:
        return self.table()


def nested(events: list[FunctionEvent], wanted: Callable[[FunctionEvent], bool]) -> list[FunctionEvent]:
    """Events with their parents: what a thread did inside of another event. Those that are not `wanted`
    are left out."""
    kept = sorted(filter(wanted, events), key=lambda e: (e.time_range.start, -e.time_range.end))
    open_: dict[int, list[FunctionEvent]] = {}
    for e in kept:
        stack = open_.setdefault(e.thread, [])
        while stack and stack[-1].time_range.end < e.time_range.end:
            stack.pop()
        if stack:
            e.cpu_parent = stack[-1]
            stack[-1].cpu_children.append(e)
        stack.append(e)
    return kept
