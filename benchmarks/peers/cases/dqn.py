"""A tiny network for reinforcement learning, one observation at a time: what a call costs."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.cases.case import Arrays, Case, normal


def build(lib: Any) -> Any:
    """The module: 4 numbers in, the worth of 2 actions out."""
    nn = lib.nn
    return nn.Sequential(
        nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
    )


def forward(o: Any, x: Any) -> Any:
    """The same over functions."""
    x = o.relu(o.linear(x, "0"))
    x = o.relu(o.linear(x, "2"))
    return o.linear(x, "4")


def targets(rng: np.random.Generator, batch: int) -> Arrays:
    """The action taken and the return that followed."""
    return rng.integers(0, 2, (batch, 1)), rng.standard_normal((batch, 1), np.float32)


CASE = Case(
    name="dqn",
    title="DQN",
    about="4-64-64-2, ReLU, Huber loss on the chosen action, batch 1 (shows overhead)",
    build=build,
    forward=forward,
    inputs=normal(4),
    targets=targets,
    batch=1,
    loss="huber",
)
