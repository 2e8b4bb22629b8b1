"""Which steps are recorded."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from fanal.core.errors import message


class ProfilerAction(Enum):
    """What is done in a step."""

    NONE = 0
    WARMUP = 1  # recorded, and forgotten
    RECORD = 2
    RECORD_AND_SAVE = 3  # the last step of a recording


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable[[int], ProfilerAction]:
    """Skip `skip_first` steps; then, `repeat` times (0: for ever), `wait` steps of nothing, `warmup`
    steps that are forgotten, and `active` steps that are recorded together.

    skip_first_wait: other than 0, the first cycle begins without waiting.
    """
    numbers = {
        "wait": wait, "warmup": warmup, "repeat": repeat, "skip_first": skip_first, "active": active,
        "skip_first_wait": skip_first_wait,
    }  # fmt: skip
    for name, n in numbers.items():
        least = 1 if name == "active" else 0
        if n < least:
            raise ValueError(message("schedule", f"{name} is too small", n, f"at least {least}"))

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise ValueError(message("schedule", "not the number of a step", step, "0 or more"))
        step -= skip_first
        if skip_first_wait:
            step += wait
        if step < (wait if skip_first_wait else 0):
            return ProfilerAction.NONE
        cycle = wait + warmup + active
        if repeat > 0 and step // cycle >= repeat:
            return ProfilerAction.NONE
        at = step % cycle
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < cycle - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


def always(step: int) -> ProfilerAction:
    """All steps are one recording."""
    return ProfilerAction.RECORD
