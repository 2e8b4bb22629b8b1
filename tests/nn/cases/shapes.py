"""Padding, resampling, folding, shuffling."""

from __future__ import annotations

from tests.nn.cases.case import Cases, X, u, x

CASES = Cases()
c = CASES
spatial = {1: (5,), 2: (4, 5), 3: (3, 4, 3)}
for d, size in spatial.items():
    width = tuple(range(1, 2 * d + 1)) if d < 2 else ((1, 2, 0, 1), (1, 0, 2, 1, 0, 1))[d - 2]
    for kind in ("Reflection", "Replication", "Circular"):
        c.layer(f"{kind}Pad{d}d", width, on=X((2, 1, *size)))
        c.layer(f"{kind}Pad{d}d", 1, on=X((2, *size)))
    c.layer(f"ZeroPad{d}d", width, on=X((2, 1, *size)))
    c.layer(f"ConstantPad{d}d", width, 3.5, on=X((2, 1, *size)))
    c.layer(f"ConstantPad{d}d", tuple(-w if i % 2 else w for i, w in enumerate(width)), 1.0,
            on=X((1, *size)))  # fmt: skip
c.function("pad", x(2, 3), (1, -1, 0, 2), mode="constant", value=2.0)
c.function("pad", x(1, 2, 6), (3, -2), mode="reflect")
c.function("pad", x(1, 2, 4), (-1, 2), mode="replicate")
c.function("pad", x(1, 2, 4), (4, 2), mode="circular")

modes = {1: ("nearest", "linear", "nearest-exact", "area"),
         2: ("nearest", "bilinear", "bicubic", "nearest-exact", "area"),
         3: ("nearest", "trilinear", "nearest-exact", "area")}  # fmt: skip
for d, names in modes.items():
    size = spatial[d]
    for mode in names:
        c.function("interpolate", X((2, 2, *size)), size=tuple(n + 3 for n in size), mode=mode,
                   tag=f"{d}-{mode}-up")  # fmt: skip
        c.function("interpolate", X((1, 2, *size)), size=tuple(n - 1 for n in size), mode=mode,
                   tag=f"{d}-{mode}-down")  # fmt: skip
        # PyTorch's gradient of "nearest" in three dimensions is wrong for such a factor (gradcheck).
        c.function("interpolate", X((1, 2, *size), grad=(d, mode) != (3, "nearest")), scale_factor=2.3,
                   mode=mode, tag=f"{d}-{mode}-scale")  # fmt: skip
        c.function("interpolate", X((1, 1, *size)), scale_factor=2, mode=mode, tag=f"{d}-{mode}-twice")
        if "near" not in mode and mode != "area":
            c.function("interpolate", X((1, 2, *size)), size=tuple(n + 3 for n in size), mode=mode,
                       align_corners=True, tag=f"{d}-{mode}-align")  # fmt: skip
            c.function("interpolate", X((1, 2, *size)), scale_factor=1.7, mode=mode,
                       recompute_scale_factor=True, tag=f"{d}-{mode}-again")  # fmt: skip
for mode in ("bilinear", "bicubic", "lanczos"):
    c.function("interpolate", x(1, 2, 8, 9), size=(5, 4), mode=mode, antialias=True, tag=f"aa-{mode}-down")
    c.function("interpolate", x(1, 1, 5, 4), size=(8, 9), mode=mode, antialias=True, tag=f"aa-{mode}-up")
    c.function("interpolate", x(1, 1, 8, 9), scale_factor=0.6, mode=mode, antialias=True,
               tag=f"aa-{mode}-scale")  # fmt: skip
c.function("interpolate", x(1, 1, 8, 9), size=(5, 4), mode="bilinear", antialias=True, align_corners=True)
c.layer("Upsample", size=(3, 5), on=x(1, 2, 2, 3))
c.layer("Upsample", scale_factor=(2, 3), mode="bilinear", on=x(1, 2, 2, 3))
c.layer("Upsample", scale_factor=2, mode="trilinear", align_corners=True, on=x(1, 1, 2, 3, 2))
c.layer("UpsamplingNearest2d", scale_factor=2, on=x(1, 2, 2, 3))
c.layer("UpsamplingBilinear2d", size=(5, 4), on=x(1, 2, 2, 3))

for mode in ("bilinear", "nearest", "bicubic"):
    for padding in ("zeros", "border", "reflection"):
        for align in (False, True):
            c.function("grid_sample", x(2, 2, 4, 5), u(2, 3, 3, 2, low=-1.6, high=1.6), mode=mode,
                       padding_mode=padding, align_corners=align,
                       tag=f"{mode}-{padding}-{align}")  # fmt: skip
for mode in ("bilinear", "nearest"):
    for padding in ("zeros", "border", "reflection"):
        c.function("grid_sample", x(1, 2, 3, 4, 3), u(1, 2, 2, 3, 3, low=-1.6, high=1.6), mode=mode,
                   padding_mode=padding, align_corners=False, tag=f"3d-{mode}-{padding}")  # fmt: skip
for align in (False, True):
    c.function("affine_grid", x(2, 2, 3), (2, 1, 3, 4), align_corners=align)
    c.function("affine_grid", x(1, 3, 4), (1, 1, 2, 3, 2), align_corners=align)

c.layer("Flatten", on=x(2, 3, 2))
c.layer("Flatten", 0, 1, on=x(2, 3, 2))
c.layer("Unflatten", 1, (2, 3), on=x(2, 6))
c.layer("PixelShuffle", 2, on=x(2, 8, 2, 3))
c.layer("PixelUnshuffle", 2, on=x(2, 2, 4, 6))
c.layer("ChannelShuffle", 2, on=x(1, 6, 2, 2))
c.layer("Unfold", 2, on=x(2, 2, 4, 5))
c.layer("Unfold", (2, 3), dilation=2, padding=1, stride=(1, 2), on=x(2, 2, 5, 6))
c.layer("Unfold", 2, on=x(2, 4, 5))
c.layer("Fold", (4, 5), 2, on=x(2, 8, 12))
c.layer("Fold", (5, 6), (2, 3), dilation=2, padding=1, stride=(1, 2), on=x(2, 12, 10))
c.layer("Fold", (4, 4), 2, stride=2, on=x(8, 4))
