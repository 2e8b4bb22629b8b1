"""Convolutions and their transposes."""

from __future__ import annotations

from tests.nn.cases.case import Cases, X, x

CASES = Cases()
c = CASES
spatial = {1: (7,), 2: (6, 5), 3: (4, 5, 4)}
for d, size in spatial.items():
    name = f"Conv{d}d"
    c.layer(name, 2, 3, 3, on=X((2, 2, *size)))
    c.layer(name, 2, 4, 2, stride=2, padding=1, groups=2, on=X((2, 2, *size)))
    c.layer(name, 2, 3, 2, dilation=2, bias=False, on=X((2, 2, *size)))
    c.layer(name, 2, 3, 2, padding="same", on=X((2, *size)))
    c.layer(name, 2, 3, 3, padding="valid", on=X((1, 2, *size)))
    for mode in ("reflect", "replicate", "circular"):
        c.layer(name, 2, 3, 3, padding=1, padding_mode=mode, on=X((1, 2, *size)))
    c.layer(f"Lazy{name}", 3, 2, on=X((1, 2, *size)))
    name = f"ConvTranspose{d}d"
    small = tuple(n - 2 for n in size)
    c.layer(name, 2, 3, 3, on=X((2, 2, *small)))
    c.layer(name, 2, 4, 2, stride=2, padding=1, output_padding=1, groups=2, on=X((2, 2, *small)))
    c.layer(name, 2, 3, 2, dilation=2, bias=False, on=X((2, *small)))
    c.layer(name, 2, 3, 2, stride=3, on=X((1, 2, *small)),
            call={"output_size": [(n - 1) * 3 + 3 for n in small]})  # fmt: skip
    c.layer(f"Lazy{name}", 3, 2, on=X((1, 2, *small)))
c.layer("Conv2d", 3, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), on=x(2, 3, 6, 7))
c.layer("Conv2d", 4, 4, 3, groups=4, padding=1, on=x(2, 4, 4, 4), tag="depthwise")
c.layer("Conv2d", 3, 5, 1, on=x(2, 3, 4, 4), tag="pointwise")
c.layer("Conv2d", 2, 3, (4, 3), padding="same", dilation=2, padding_mode="reflect", on=x(1, 2, 9, 9))
c.function("conv1d", x(2, 3, 6), x(4, 3, 2), x(4), stride=2)
c.function("conv2d", x(2, 3, 5, 5), x(4, 3, 2, 2), padding="same")
c.function("conv3d", x(1, 2, 3, 3, 3), x(2, 1, 2, 2, 2), groups=2)
c.function("conv_transpose1d", x(2, 3, 4), x(3, 2, 3), stride=2)
c.function("conv_transpose2d", x(1, 3, 3, 3), x(3, 2, 2, 2), x(2), padding=1)
c.function("conv_transpose3d", x(1, 2, 2, 2, 2), x(2, 1, 2, 2, 2))
c.function("conv_tbc", x(6, 2, 3), x(3, 3, 4), x(4), pad=1)
