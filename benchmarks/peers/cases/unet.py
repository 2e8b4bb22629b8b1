"""A small U-Net: three levels down, transposed convolutions up, joined by concatenation."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.cases.case import Arrays, Case, normal

WIDTHS, BOTTOM, SIDE = (32, 64, 128), 256, 64


def build(lib: Any) -> Any:
    """The module."""
    nn = lib.nn

    def double(inside: int, width: int) -> Any:
        return nn.Sequential(
            nn.Conv2d(inside, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        )  # fmt: skip

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inside = (3, *WIDTHS)
            outside = (*WIDTHS[1:], BOTTOM)
            self.down = nn.ModuleList([double(i, w) for i, w in zip(inside, WIDTHS)])
            self.pool = nn.MaxPool2d(2)
            self.bottom = double(WIDTHS[-1], BOTTOM)
            self.up = nn.ModuleList(
                [nn.ConvTranspose2d(o, w, 2, stride=2) for o, w in zip(outside, WIDTHS)]
            )
            self.join = nn.ModuleList([double(2 * w, w) for w in WIDTHS])
            self.head = nn.Conv2d(WIDTHS[0], 1, 1)

        def forward(self, x: Any) -> Any:
            kept = []
            for layer in self.down:
                kept.append(layer(x))
                x = self.pool(kept[-1])
            x = self.bottom(x)
            for i in reversed(range(len(WIDTHS))):
                x = self.join[i](lib.cat([kept[i], self.up[i](x)], 1))
            return self.head(x)

    return UNet()


def forward(o: Any, x: Any) -> Any:
    """The same over functions; images are channels-last."""

    def double(x: Any, name: str) -> Any:
        for conv, norm in (("0", "1"), ("3", "4")):
            x = o.conv(x, f"{name}.{conv}", padding=1)
            x = o.relu(o.batch_norm(x, f"{name}.{norm}"))
        return x

    kept = []
    for i in range(len(WIDTHS)):
        kept.append(double(x, f"down.{i}"))
        x = o.max_pool(kept[-1], 2)
    x = double(x, "bottom")
    for i in reversed(range(len(WIDTHS))):
        x = double(o.concat([kept[i], o.conv_transpose(x, f"up.{i}", 2)], -1), f"join.{i}")
    return o.conv(x, "head")


def targets(rng: np.random.Generator, batch: int) -> Arrays:
    """A mask of zeros and ones."""
    return (rng.integers(0, 2, (batch, 1, SIDE, SIDE)).astype(np.float32),)


CASE = Case(
    name="unet",
    title="U-Net",
    about="32, 64, 128 wide, 256 at the bottom, batch norm, 3×64×64, binary cross entropy, batch 8",
    build=build,
    forward=forward,
    inputs=normal(3, SIDE, SIDE),
    targets=targets,
    batch=8,
    loss="bce",
    images=True,
    channels_last=True,
)
