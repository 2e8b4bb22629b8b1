"""Elementwise work done where a contraction's sums are finished: the bits of two passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import fanal
from fanal.nn import functional as F

A, B, C, D = (fanal.randn(n, m) for n, m in ((37, 20), (20, 50), (37, 50), (37, 1)))
X, W, V = fanal.randn(2, 24, 9, 11), fanal.randn(40, 24, 3, 3), fanal.randn(40)

CASES: dict[str, Callable[..., fanal.Tensor]] = {
    "bias": lambda: A @ B + C[0],
    "column": lambda: A @ B * D,
    "residual": lambda: fanal.relu(A @ B + C) - C,
    "number": lambda: (A @ B - 0.25) / 3.0,
    "activation": lambda: F.gelu(A @ B + C[0]),
    "two products": lambda: A @ B + (A * 2) @ B + C,
    "product of itself": lambda: (A @ B).square() + A @ B,
    "reshaped": lambda: (A @ B).reshape(37, 5, 10) + C.reshape(37, 5, 10),
    "transposed": lambda: (A @ B).t() + C.t(),
    "part": lambda: (A @ B)[:, 3:30] + C[:, 3:30],
    "convolution": lambda: fanal.relu(F.conv2d(X, W, padding=1) * V[:, None, None] + 1.5),
    "transposed convolution": lambda: F.conv_transpose2d(X, W.transpose(0, 1), stride=2) + V[:, None, None],
    "normalised": lambda: F.batch_norm(F.conv2d(X, W), V, V.abs() + 1, V, V),
    "depthwise": lambda: fanal.clamp(F.conv2d(X, W[:24, :1], padding=1, groups=24) + V[:24, None, None], 0, 6),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_compiled_is_eager(name: str) -> None:
    expected = CASES[name]()
    found = fanal.compile(CASES[name], options={"exact": True})()
    assert found.dtype is expected.dtype and fanal.equal(found, expected)


def test_a_result_that_is_read_again_is_kept() -> None:
    def both() -> tuple[fanal.Tensor, fanal.Tensor]:
        y = A @ B
        return y, fanal.relu(y + C)

    for found, expected in zip(fanal.compile(both)(), both(), strict=True):
        assert fanal.equal(found, expected)


def test_in_place_on_what_the_product_is_added_to() -> None:
    def add(total: fanal.Tensor) -> fanal.Tensor:
        total += A @ B
        return total

    mine, other = C.clone(), C.clone()
    fanal.compile(add)(mine)
    add(other)
    assert fanal.equal(mine, other)


def test_an_operand_that_is_overwritten() -> None:
    square = fanal.randn(20, 20)

    def turn(x: fanal.Tensor) -> fanal.Tensor:
        x.copy_(x @ square + 1)
        return x

    mine, other = A.clone(), A.clone()
    fanal.compile(turn)(mine)
    turn(other)
    assert fanal.equal(mine, other)


def test_one_kernel() -> None:
    """The elementwise pass is gone, and the report shows what is in the contraction's kernel."""
    f = fanal.compile(lambda: F.gelu(A @ B + C[0]))
    f()
    rows = f.explain().facts.kernels
    assert not any("elementwise" in k.key for row in rows for k in row.kernels)
    assert {"matmul", "add", "gelu"} <= set(rows[-1].called)
