"""ResNet-18 for CIFAR-size images: a 3×3 stem without pooling, then the usual four stages."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.cases.case import Case, labels, normal

# Width and stride of the first block; each stage has two blocks.
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


def block_class(lib: Any) -> Any:
    """Two 3×3 convolutions and a way around them."""
    nn = lib.nn

    class Block(nn.Module):
        def __init__(self, inside: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
            self.relu = nn.ReLU()
            self.down = None
            if stride != 1 or inside != width:
                self.down = nn.Sequential(
                    nn.Conv2d(inside, width, 1, stride, bias=False), nn.BatchNorm2d(width)
                )

        def forward(self, x: Any) -> Any:
            y = self.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            return self.relu(y + (x if self.down is None else self.down(x)))

    return Block


def build(lib: Any) -> Any:
    """The module."""
    nn = lib.nn
    block = block_class(lib)
    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    inside = 64
    for width, stride in STAGES:
        layers += [block(inside, width, stride), block(width, width, 1)]
        inside = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def forward(o: Any, x: Any) -> Any:
    """The same over functions; images are channels-last."""
    x = o.relu(o.batch_norm(o.conv(x, "0", padding=1), "1"))
    number, inside = 3, 64
    for width, first in STAGES:
        for stride in (first, 1):
            name = f"{number}"
            y = o.conv(x, f"{name}.conv1", stride=stride, padding=1)
            y = o.relu(o.batch_norm(y, f"{name}.bn1"))
            y = o.batch_norm(o.conv(y, f"{name}.conv2", padding=1), f"{name}.bn2")
            if stride != 1 or inside != width:
                x = o.batch_norm(o.conv(x, f"{name}.down.0", stride=stride), f"{name}.down.1")
            x = o.relu(y + x)
            number, inside = number + 1, width
    return o.linear(o.mean(x, (1, 2)), f"{number + 2}")


CASE = Case(
    name="resnet18",
    title="ResNet-18",
    about="3×3 stem, no pooling, widths 64 to 512, 3×32×32, batch 32",
    build=build,
    forward=forward,
    inputs=normal(3, 32, 32),
    targets=labels(10),
    batch=32,
    images=True,
    channels_last=True,
)
