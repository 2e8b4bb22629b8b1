"""The network of `examples/digits.py`: two convolutions with batch norm, a pooling, two linear layers."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.cases.case import Case, labels, normal


def build(lib: Any) -> Any:
    """The module."""
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 4 * 4, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def forward(o: Any, x: Any) -> Any:
    """The same over functions; images are channels-last."""
    x = o.relu(o.batch_norm(o.conv(x, "0", padding=1), "1"))
    x = o.max_pool(o.relu(o.batch_norm(o.conv(x, "3", padding=1), "4")), 2)
    x = o.reshape(o.transpose(x, (0, 3, 1, 2)), (x.shape[0], 64 * 4 * 4))  # in PyTorch's order
    return o.linear(o.relu(o.linear(x, "8")), "10")


CASE = Case(
    name="digits",
    title="Digits",
    about="the demo's network: 32 and 64 channels 3×3, 128 hidden units, 1×8×8, batch 64",
    build=build,
    forward=forward,
    inputs=normal(1, 8, 8),
    targets=labels(10),
    batch=64,
    images=True,
    channels_last=True,
)
