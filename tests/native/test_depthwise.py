"""Depthwise convolutions of channels-last images against the general ones, bit for bit."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import fanal
from fanal.nn import functional as F

SIZES = ((9, 21), (7, 4))


def windows_fit(size: tuple[int, int], case: dict[str, Any]) -> bool:
    return all(
        n + 2 * case["padding"] > (k - 1) * case["dilation"]
        for n, k in zip(size, case["kernel"], strict=True)
    )


CASES = [
    (size, case)
    for values in itertools.product(((3, 3), (5, 2)), (1, 2), (0, 2), (1, 2))
    for size in SIZES
    if windows_fit(
        size, case := dict(zip(("kernel", "stride", "padding", "dilation"), values, strict=True))
    )
]


def last(x: fanal.Tensor) -> fanal.Tensor:
    return x.contiguous(memory_format=fanal.channels_last)


@pytest.mark.parametrize(("size", "case"), CASES, ids=str)
@pytest.mark.parametrize("channels", [16, 40])
def test_one_channel_at_a_time(size: tuple[int, int], case: dict[str, Any], channels: int) -> None:
    case = dict(case)
    kernel = case.pop("kernel")
    x, w = fanal.randn(2, channels, *size), fanal.randn(channels, 1, *kernel)
    x, w = x.requires_grad_(), w.requires_grad_()

    def run(x: fanal.Tensor, w: fanal.Tensor) -> fanal.Tensor:
        return F.conv2d(x, w, groups=channels, **case)

    expected = run(x, w)
    one = fanal.ones(expected.shape)
    grads = fanal.autograd.grad(expected, (x, w), one)

    def step(x: fanal.Tensor, w: fanal.Tensor) -> tuple[fanal.Tensor, ...]:
        y = run(x, w)
        return (y, *fanal.autograd.grad(y, (x, w), one))

    found = fanal.compile(step)(x, w)
    for a, b in zip(found, (expected, *grads), strict=True):
        assert fanal.equal(a, b)
    eager = F.conv2d(last(x.detach()), w.detach(), groups=channels, **case)
    assert fanal.equal(eager, expected)
