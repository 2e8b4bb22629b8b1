"""Pooling and unpooling."""

from __future__ import annotations

from typing import Any

from tests.nn.cases.case import Cases, X, u, v, x

CASES = Cases()
c = CASES
spatial = {1: (9,), 2: (7, 8), 3: (5, 6, 4)}


def pooled_and_back(library: Any, x: Any, d: int, *args: Any, **options: Any) -> Any:
    found, indices = getattr(library.F, f"max_pool{d}d")(x, *args, return_indices=True)
    return getattr(library.F, f"max_unpool{d}d")(found, indices, *args, **options)


for d, size in spatial.items():
    whole, single = X((2, 2, *size)), X((2, *size))
    c.layer(f"MaxPool{d}d", 2, on=whole)
    c.layer(f"MaxPool{d}d", 3, stride=2, padding=1, on=single)
    c.layer(f"MaxPool{d}d", 2, dilation=2, stride=1, return_indices=True, on=whole)
    c.layer(f"MaxPool{d}d", 3, 2, 1, ceil_mode=True, return_indices=True, on=whole)
    c.layer(f"AvgPool{d}d", 2, on=whole)
    c.layer(f"AvgPool{d}d", 3, stride=2, padding=1, ceil_mode=True, on=whole)
    c.layer(f"AvgPool{d}d", 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False, on=single)
    c.layer(f"LPPool{d}d", 2, 2, on=X((2, 2, *size), "uniform", 0.1, 1.0))
    c.layer(f"LPPool{d}d", 3.0, 3, stride=2, ceil_mode=True, on=X((2, 2, *size), "uniform", 0.1, 1.0))
    c.layer(f"LPPool{d}d", float("inf"), 2, on=whole)
    c.layer(f"AdaptiveAvgPool{d}d", 1, on=whole)
    c.layer(f"AdaptiveAvgPool{d}d", 3, on=whole)
    c.layer(f"AdaptiveMaxPool{d}d", 1, on=whole)
    c.layer(f"AdaptiveMaxPool{d}d", 3, return_indices=True, on=whole)
    c.body(f"unpool{d}", pooled_and_back, single, d, 2)
    c.layer(f"MaxUnpool{d}d", 2, on=(X((1, 1, *(2,) * d)), v((__import__("numpy").arange(2**d) * 2)
            .reshape(1, 1, *(2,) * d).tolist())))  # fmt: skip
for d in (2, 3):
    c.layer(f"AvgPool{d}d", 2, divisor_override=3, on=X((2, 2, *spatial[d])))
c.body("unpool2", pooled_and_back, x(2, 7, 7), 2, 2, call={"output_size": (7, 7)})
c.layer("MaxPool2d", (3, 2), (2, 1), (1, 0), on=x(2, 2, 6, 6))
c.layer("MaxPool2d", 2, on=v([[[[1.0, 1.0], [1.0, 1.0]]]], grad=True), tag="ties")
c.layer("MaxPool2d", 3, 1, 1, return_indices=True, on=v([[[[0.0] * 4] * 4]], grad=True), tag="ties3")
c.layer("AvgPool2d", (7, 8), on=x(2, 2, 7, 8), tag="whole")
c.layer("AvgPool2d", (3, 2), stride=(2, 1), padding=(1, 0), on=x(2, 2, 6, 6))
c.layer("AdaptiveAvgPool2d", (None, 3), on=x(2, 2, 4, 6))
c.layer("AdaptiveAvgPool2d", (7, 5), on=x(1, 2, 4, 5))
c.layer("AdaptiveAvgPool2d", (3, 4), on=x(1, 2, 6, 8))
c.layer("AdaptiveMaxPool2d", (None, 3), on=x(2, 4, 5))
c.layer("FractionalMaxPool2d", 2, output_size=3, _random_samples=u(2, 2, 2, grad=False), on=x(2, 2, 7, 6))
c.layer("FractionalMaxPool2d", (2, 3), output_ratio=(0.5, 0.6), return_indices=True,
        _random_samples=u(2, 2, 2, grad=False), on=x(2, 2, 8, 9))  # fmt: skip
c.layer("FractionalMaxPool3d", 2, output_size=(2, 3, 2), _random_samples=u(2, 2, 3, grad=False),
        return_indices=True, on=x(2, 2, 5, 6, 5))  # fmt: skip
