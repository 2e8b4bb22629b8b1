"""A network of inverted residuals after MobileNetV2, for CIFAR-size images."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.cases.case import Case, labels, normal

# Expansion, width, stride, of each block in turn; the stem gives 32 channels at 32×32.
BLOCKS = (
    (1, 16, 1), (6, 24, 1), (6, 24, 1), (6, 32, 2), (6, 32, 1), (6, 64, 2), (6, 64, 1),
    (6, 96, 1), (6, 160, 2),
)  # fmt: skip
STEM, LAST = 32, 320


def build(lib: Any) -> Any:
    """The module."""
    nn = lib.nn

    class Inverted(nn.Module):
        """Widen by 1×1, filter each channel by 3×3, narrow by 1×1."""

        def __init__(self, inside: int, expansion: int, width: int, stride: int) -> None:
            super().__init__()
            wide = inside * expansion
            self.around = stride == 1 and inside == width
            self.widen = None
            if expansion != 1:
                self.widen, self.bn1 = nn.Conv2d(inside, wide, 1, bias=False), nn.BatchNorm2d(wide)
            self.deep = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
            self.bn2 = nn.BatchNorm2d(wide)
            self.narrow, self.bn3 = nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width)
            self.act = nn.ReLU6()

        def forward(self, x: Any) -> Any:
            y = x if self.widen is None else self.act(self.bn1(self.widen(x)))
            y = self.act(self.bn2(self.deep(y)))
            y = self.bn3(self.narrow(y))
            return x + y if self.around else y

    layers = [nn.Conv2d(3, STEM, 3, 1, 1, bias=False), nn.BatchNorm2d(STEM), nn.ReLU6()]
    inside = STEM
    for expansion, width, stride in BLOCKS:
        layers.append(Inverted(inside, expansion, width, stride))
        inside = width
    layers += [nn.Conv2d(inside, LAST, 1, bias=False), nn.BatchNorm2d(LAST), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(LAST, 10))


def forward(o: Any, x: Any) -> Any:
    """The same over functions; images are channels-last."""
    x = o.relu6(o.batch_norm(o.conv(x, "0", padding=1), "1"))
    inside = STEM
    for i, (expansion, width, stride) in enumerate(BLOCKS):
        name, y = f"{3 + i}", x
        if expansion != 1:
            y = o.relu6(o.batch_norm(o.conv(y, f"{name}.widen"), f"{name}.bn1"))
        y = o.depthwise(y, f"{name}.deep", stride=stride, padding=1)
        y = o.relu6(o.batch_norm(y, f"{name}.bn2"))
        y = o.batch_norm(o.conv(y, f"{name}.narrow"), f"{name}.bn3")
        x = x + y if stride == 1 and inside == width else y
        inside = width
    last = 3 + len(BLOCKS)
    x = o.relu6(o.batch_norm(o.conv(x, f"{last}"), f"{last + 1}"))
    return o.linear(o.mean(x, (1, 2)), f"{last + 5}")


CASE = Case(
    name="mobilenet",
    title="MobileNet-like",
    about="9 inverted residuals (depthwise 3×3), 16 to 160 wide, ReLU6, 3×32×32, batch 32",
    build=build,
    forward=forward,
    inputs=normal(3, 32, 32),
    targets=labels(10),
    batch=32,
    images=True,
    channels_last=True,
)
