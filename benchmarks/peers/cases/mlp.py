"""A perceptron for digits: 784-256-128-10 with ReLU."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.cases.case import Case, labels, normal


def build(lib: Any) -> Any:
    """The module."""
    nn = lib.nn
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def forward(o: Any, x: Any) -> Any:
    """The same over functions."""
    x = o.relu(o.linear(x, "0"))
    x = o.relu(o.linear(x, "2"))
    return o.linear(x, "4")


CASE = Case(
    name="mlp",
    title="MLP",
    about="784-256-128-10, ReLU, cross entropy, batch 64",
    build=build,
    forward=forward,
    inputs=normal(784),
    targets=labels(10),
    batch=64,
)
