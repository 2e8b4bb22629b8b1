"""Batching rules: the batched graph equals a loop over the batch, whatever operands carry the axis."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fanal.core import dtypes
from fanal.core.dispatch import bind, tracing
from fanal.graph import Builder, verify
from fanal.ops.derive import batched
from fanal.ops.primitive import TABLE
from tests.ops.runner import reference, trace
from tests.ops.samples import draw, samples_of
from tests.ops.test_forward import CASES as _LOADED  # noqa: F401 - fills the table

SIZE = 3
# A batch of random keys would be another operation; see fanal.random.
CASES = [p for p in TABLE.values() if p.kind not in ("create", "random", "missing")]


@pytest.mark.parametrize("p", CASES, ids=[p.name for p in CASES])
def test_batched_is_the_loop(p):
    dtype = dtypes.float64 if dtypes.float64 in p.dtypes else p.dtypes[-1]
    for seed, (kinds, attributes) in enumerate(samples_of(p)):
        many = [draw(p, kinds, dtype, seed + 100 * k) for k in range(SIZE)]
        graph = trace(lambda *xs: bind(p, *xs, **attributes), many[0])
        for choice in itertools.islice(_choices(len(kinds)), 5):
            arrays = [
                np.stack([m[i] for m in many], min(axis, many[0][i].ndim))
                if axis is not None
                else many[0][i]
                for i, axis in enumerate(choice)
            ]
            axes = [
                None if a is None else min(a, many[0][i].ndim) for i, a in enumerate(choice)
            ]
            got = _run(graph, arrays, axes)
            for k in range(SIZE):
                picked = [
                    many[k][i] if a is not None else many[0][i] for i, a in enumerate(choice)
                ]
                for g, w in zip(got, reference(graph, picked)):
                    np.testing.assert_allclose(np.asarray(g)[k], w, rtol=1e-12, atol=1e-12)


def _choices(n: int):
    """Which inputs are batched, and where: all in front, all behind, single ones."""
    yield (0,) * n
    yield (1,) * n
    for i in range(n):
        if n > 1:
            yield tuple(0 if j == i else None for j in range(n))


def _run(graph, arrays, axes):
    b = Builder()
    values = [b.input(dtypes.from_numpy_dtype(a.dtype), a.shape) for a in arrays]
    with tracing(b):
        outputs, where = batched(graph, values, axes, SIZE)
    made = b.graph(outputs)
    verify(made)
    results = reference(made, arrays)
    return [np.moveaxis(r, a, 0) for r, a in zip(results, where)]
