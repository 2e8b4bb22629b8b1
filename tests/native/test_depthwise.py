"""Depthwise convolutions of channels-last images against the general ones, bit for bit."""

from __future__ import annotations

import itertools

import pytest

import fanal
from fanal.nn import functional as F

CASES = [
    dict(zip(("kernel", "stride", "padding", "dilation"), case, strict=True))
    for case in itertools.product(((3, 3), (5, 2)), (1, 2), (0, 2), (1, 2))
]


def last(x: fanal.Tensor) -> fanal.Tensor:
    return x.contiguous(memory_format=fanal.channels_last)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("channels", [16, 40])
@pytest.mark.parametrize("size", [(9, 21), (7, 4)])
def test_one_channel_at_a_time(case: dict[str, int], channels: int, size: tuple[int, int]) -> None:
    case = dict(case)
    kernel = case.pop("kernel")
    if case["padding"] == 0 and (kernel[0] - 1) * case["dilation"] >= size[0]:
        pytest.skip("no window fits")
    x, w = fanal.randn(2, channels, *size), fanal.randn(channels, 1, *kernel)
    x, w = x.requires_grad_(), w.requires_grad_()

    def run(x: fanal.Tensor, w: fanal.Tensor) -> fanal.Tensor:
        # Two layers around it keep the images channels-last in a compiled program.
        return F.conv2d(x, w, groups=channels, **case)

    try:
        expected = run(x, w)
    except (ValueError, RuntimeError):
        pytest.skip("no window fits")
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
