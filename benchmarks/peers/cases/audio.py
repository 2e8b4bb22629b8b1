"""M5, a 1-d convolutional network on the raw samples of a second of sound (Dai et al., 2016)."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.cases.case import Case, labels, normal

SAMPLES, CLASSES = 8000, 35
# Channels, kernel, stride of each layer; each is followed by batch norm, ReLU and a pooling by 4.
LAYERS = ((128, 80, 4), (128, 3, 1), (256, 3, 1), (512, 3, 1))


def build(lib: Any) -> Any:
    """The module."""
    nn = lib.nn
    layers, inside = [], 1
    for width, kernel, stride in LAYERS:
        layers += [
            nn.Conv1d(inside, width, kernel, stride, padding=kernel // 2 if stride == 1 else 0)
        ]
        layers += [nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(4)]
        inside = width

    class M5(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*layers)
            self.head = nn.Linear(inside, CLASSES)

        def forward(self, x: Any) -> Any:
            return self.head(self.layers(x).mean(-1))

    return M5()


def forward(o: Any, x: Any) -> Any:
    """The same over functions; sound is (batch, time, channels)."""
    for i, (_, kernel, stride) in enumerate(LAYERS):
        x = o.conv(x, f"layers.{4 * i}", stride=stride, padding=kernel // 2 if stride == 1 else 0)
        x = o.max_pool(o.relu(o.batch_norm(x, f"layers.{4 * i + 1}")), 4)
    return o.linear(o.mean(x, (1,)), "head")


CASE = Case(
    name="audio",
    title="Audio (M5)",
    about="four 1-d convolutions 128 to 512 wide on 8000 samples, 35 classes, batch 32",
    build=build,
    forward=forward,
    inputs=normal(1, SAMPLES),
    targets=labels(CLASSES),
    batch=32,
    images=True,
)
