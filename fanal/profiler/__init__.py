"""Where the time goes: names as in `torch.profiler`.

Eager operations are events; a compiled program is one, with its kernels as children. Nothing is paid while
no profile is taken.

>>> with fanal.profiler.profile() as p:
...     step(x, y)
>>> print(p.table())
>>> p.export_chrome_trace("trace.json")     # for chrome://tracing or ui.perfetto.dev
"""

from fanal.profiler.events import DeviceType, EventList, FunctionEvent, FunctionEventAvg
from fanal.profiler.profile import (
    ProfilerActivity,
    profile,
    supported_activities,
    tensorboard_trace_handler,
)
from fanal.profiler.ranges import record_function
from fanal.profiler.schedule import ProfilerAction, schedule

__all__ = [
    "DeviceType", "EventList", "FunctionEvent", "FunctionEventAvg", "ProfilerAction", "ProfilerActivity",
    "profile", "record_function", "schedule", "supported_activities", "tensorboard_trace_handler",
]  # fmt: skip
