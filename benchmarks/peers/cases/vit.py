"""ViT-Tiny on CIFAR-size images: patches of 4×4, so 64 of them and a class token."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.cases.blocks import block, block_class
from benchmarks.peers.cases.case import Case, labels, normal

LAYERS, WIDTH, HEADS, PATCH, SIDE = 12, 192, 3, 4, 32
PATCHES = (SIDE // PATCH) ** 2


def build(lib: Any) -> Any:
    """The module."""
    nn = lib.nn
    block_ = block_class(lib)

    class ViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
            self.cls = nn.Parameter(lib.zeros(1, 1, WIDTH))
            self.pos = nn.Parameter(lib.zeros(1, PATCHES + 1, WIDTH))
            self.blocks = nn.ModuleList([block_(WIDTH, HEADS, False) for _ in range(LAYERS)])
            self.norm = nn.LayerNorm(WIDTH)
            self.head = nn.Linear(WIDTH, 10)

        def forward(self, x: Any) -> Any:
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = lib.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
            for layer in self.blocks:
                x = layer(x)
            return self.head(self.norm(x[:, 0]))

    return ViT()


def forward(o: Any, x: Any) -> Any:
    """The same over functions; images are channels-last."""
    x = o.conv(x, "patch", stride=PATCH)
    batch = x.shape[0]
    x = o.reshape(x, (batch, PATCHES, WIDTH))
    x = o.concat([o.broadcast(o["cls"], (batch, 1, WIDTH)), x], 1) + o["pos"]
    for i in range(LAYERS):
        x = block(o, x, f"blocks.{i}", HEADS, False)
    return o.linear(o.layer_norm(x[:, 0], "norm"), "head")


CASE = Case(
    name="vit",
    title="ViT-Tiny",
    about="12 layers, 192 wide, 3 heads, patches of 4 on 3×32×32, batch 32",
    build=build,
    forward=forward,
    inputs=normal(3, SIDE, SIDE),
    targets=labels(10),
    batch=32,
    images=True,
)
