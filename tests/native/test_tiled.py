"""Copies across memory: operands whose neighbours lie along another dimension than the output's."""

from __future__ import annotations

import numpy as np
import pytest

import fanal


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "int64", "bool"])
@pytest.mark.parametrize("width", [1, 3, 4, 5, 7, 8, 13, 16, 17, 33])
def test_transposed(width: int, dtype: str) -> None:
    """Also short lines, and channels-last images as channels-first ones."""
    chance = np.random.default_rng(width)
    for height in (1, 15, 16, 40, 67):
        for shape in ((width, height), (3, width, height), (2, 5, width, height)):
            x = (chance.standard_normal(shape) * 5).astype(dtype)
            found = fanal.from_numpy(x).transpose(-1, -2).contiguous()
            np.testing.assert_array_equal(found.numpy(), np.ascontiguousarray(np.swapaxes(x, -1, -2)))
    x = chance.standard_normal((2, 6, width, 24)).astype(dtype)
    found = fanal.from_numpy(x).permute(0, 3, 1, 2).contiguous()
    np.testing.assert_array_equal(found.numpy(), np.transpose(x, (0, 3, 1, 2)))


def test_computed_on_the_way() -> None:
    """Several operands, some of which run along and some across."""
    chance = np.random.default_rng(0)
    for width in (4, 6, 12):
        x, y = (chance.standard_normal(s).astype(np.float32) for s in ((width, 48), (48, width)))
        a, b = fanal.from_numpy(x), fanal.from_numpy(y)
        out = fanal.empty(48, width)
        fanal.maximum(a.t(), b, out=out)
        np.testing.assert_array_equal(out.numpy(), np.maximum(x.T, y))
        fanal.add(b, a[:, ::1].t(), alpha=2, out=out)
        np.testing.assert_allclose(out.numpy(), y + 2 * x.T, rtol=1e-6)
