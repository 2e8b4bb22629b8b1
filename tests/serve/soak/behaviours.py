"""All behaviours, by the promise that each shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.serve.soak import ending, flow, growth, health, inputs, swaps
from tests.serve.soak.scale import Scale

Behaviour = Callable[[Path, Scale], dict[str, Any]]

BEHAVIOURS: dict[str, Behaviour] = {
    "bounded queue": flow.overload,
    "deadlines before compute": flow.deadlines,
    "cancellation frees the slot": flow.cancellation,
    "cancellation of a stream": flow.cancelled_streams,
    "swap without loss": swaps.swaps,
    "reload isolation": swaps.isolation,
    "graceful drain": ending.drain,
    "graceful drain under load": ending.drain_under_load,
    "second signal": ending.second_signal,
    "truthful health": health.truthful,
    "health of a broken model": health.broken_model,
    "crash containment": health.crashes,
    "total input validation": inputs.validation,
    "slow clients": inputs.slow_clients,
    "no growth by requests": growth.requests,
    "no growth by loading": growth.cycles,
    "no growth by reloading": growth.reloads,
    "batch invariance": flow.invariance,
}
