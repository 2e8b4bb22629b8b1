"""Every primitive, every dtype: the native backend against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.ops import (  # noqa: F401  # noqa: F401
    activations,
    arithmetic,
    attention,
    control,
    conv,
    create,
    cumulative,
    dot,
    index,
    layout,
    reduce,
    sort,
    special_records,
    transcendental,
    windows,
)
from fanal.ops.matrix import (  # noqa: F401
    cholesky,
    determinant,
    eigh,
    exponential,
    least_squares,
    lu,
    qr,
    solve,
    svd,
    triangular,
)
from fanal.ops.primitive import TABLE
from tests.ops.runner import native, reference, trace
from tests.ops.samples import draw, dtypes_of, samples_of

CASES = [(p, d) for p in TABLE.values() for d in dtypes_of(p) if p.kind not in ("create", "random")]
# Kinds whose results are sums, of an error relative to the sum of the terms' magnitudes.
SUMS = ("attention", "composed", "control", "conv", "cumulative", "dot", "reduce", "scatter", "window_sum")
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


def close(
    got: np.ndarray, want: np.ndarray, dtype: dtypes.DType, ulp: float, floor: float = 0.0
) -> None:
    """Equal for exact dtypes, within `ulp` units in the last place for floats."""
    assert got.shape == want.shape
    if dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    eps = EPS[dtype.name]
    got = got.astype(np.float64)
    smallest = {"float16": 2.0**-14, "float64": 2.0**-1022}.get(dtype.name, 2.0**-126)
    # Near a root of a Bessel function the error is that of a value of size 1.
    scale = np.maximum(np.abs(want), max(smallest, floor))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    error = np.abs(got - want)[finite] / (scale[finite] * eps)
    assert error.size == 0 or error.max() <= ulp, f"{error.max():.2f} ulp"


@pytest.mark.parametrize(("p", "dtype"), CASES, ids=[f"{p.name}-{d.name}" for p, d in CASES])
def test_primitive(p, dtype):
    for seed, (kinds, attributes) in enumerate(samples_of(p)):
        arrays = draw(p, kinds, dtype, seed)
        graph = trace(lambda *xs: bind(p, *xs, **attributes), arrays)
        got, want = native(graph, arrays), reference(graph, arrays)
        terms = max((a.size for a in arrays), default=1)
        bound = p.ulp + 1
        if p.kind in SUMS:
            bound = 2 * terms + 4
        for g, w, v in zip(got, want, graph.outputs):
            if v.dtype.kind == "f" and p.kind in SUMS:
                # Sums may cancel: the error is relative to the sum of magnitudes.
                magnitude = max(1.0, float(np.abs(w).max(initial=0)), 16.0 * terms)
                np.testing.assert_allclose(
                    g.astype(np.float64), w, rtol=bound * EPS[v.dtype.name],
                    atol=EPS[v.dtype.name] * magnitude,
                )
            else:
                close(g, w, v.dtype, bound, 0.25 if "bessel" in p.name else 0.0)


def test_random_bits_match_the_reference():
    for seed in (0, 1, 2**40, -5):
        key = np.array([seed, 3], np.int64)
        graph = trace(lambda k: bind(create.random_bits_p, k, shape=(7, 9)), [key])
        np.testing.assert_array_equal(native(graph, [key])[0], reference(graph, [key])[0])
