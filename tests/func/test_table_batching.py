"""`vmap` is the loop, for every primitive: whichever inputs are mapped, along whichever dimension."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fanal
from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.func import vmap
from fanal.graph import verify
from fanal.ops.derive import batched
from fanal.ops.primitive import TABLE
from tests.ops.runner import reference, trace
from tests.ops.samples import draw, samples_of
from tests.ops.test_forward import CASES as _LOADED  # noqa: F401 - fills the table

SIZE = 3
CASES = [p for p in TABLE.values() if p.kind not in ("create", "random") and samples_of(p)]


def choices(shapes):
    """Which dimension of each input is mapped (None: none of it): every position of every input, with
    the others mapped in front or not at all; at most 12 of them."""
    n = len(shapes)
    found = {(0,) * n}
    for i, shape in enumerate(shapes):
        for axis in range(len(shape) + 1):
            alone = [None] * n
            together = [0] * n
            alone[i] = together[i] = axis
            found |= {tuple(alone), tuple(together)}
    if n > 1:
        found |= {tuple(len(s) for s in shapes)}
    return sorted(found, key=str)[:16]


def stacked(many, choice):
    return [
        many[0][i] if a is None else np.stack([m[i] for m in many], a)
        for i, a in enumerate(choice)
    ]


def picked(many, choice, k):
    return [many[0 if a is None else k][i] for i, a in enumerate(choice)]


@pytest.mark.parametrize("p", CASES, ids=[p.name for p in CASES])
def test_batched_graph_is_the_loop(p):
    dtype = dtypes.float64 if dtypes.float64 in p.dtypes else p.dtypes[-1]
    for seed, (kinds, attributes) in enumerate(samples_of(p)):
        many = [draw(p, kinds, dtype, seed + 100 * k) for k in range(SIZE)]
        graph = trace(lambda *xs: bind(p, *xs, **attributes), many[0])
        for choice in choices([a.shape for a in many[0]]):
            arrays = stacked(many, choice)

            places = []

            def again(*values):
                outputs, where = batched(graph, values, choice, SIZE)
                assert all(w is not None for w in where)
                places.extend(where)
                return tuple(outputs)

            made = trace(again, arrays)
            verify(made)
            got = reference(made, arrays)
            got = [np.moveaxis(g, a, 0) for g, a in zip(got, places)]
            for k in range(SIZE):
                for g, w in zip(got, reference(graph, picked(many, choice, k)), strict=True):
                    np.testing.assert_allclose(np.asarray(g)[k], w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("p", CASES, ids=[p.name for p in CASES])
def test_vmap_of_a_primitive_is_the_loop(p):
    """The same through the public transform and the native backend, one sample each."""
    dtype = dtypes.float64 if dtypes.float64 in p.dtypes else p.dtypes[-1]
    kinds, attributes = samples_of(p)[-1]
    many = [draw(p, kinds, dtype, 100 * k) for k in range(SIZE)]
    n = len(many[0])

    def function(*xs):
        return bind(p, *xs, **attributes)

    for choice in {(0,) * n, tuple(a.ndim for a in many[0]), (*(None,) * (n - 1), 0)}:
        tensors = [fanal.tensor(a) for a in stacked(many, choice)]
        got = vmap(function, in_dims=choice)(*tensors)
        got = got if isinstance(got, tuple) else (got,)
        for k in range(SIZE):
            wanted = function(*[fanal.tensor(a) for a in picked(many, choice, k)])
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            for g, w in zip(got, wanted, strict=True):
                # What is defined for float32 only may be another algorithm where it is batched.
                near = (1e-9, 1e-12) if dtype is not dtypes.float32 else (1e-5, 1e-5 * w.abs().amax().item())
                np.testing.assert_allclose(g[k].numpy(), w.numpy(), rtol=near[0], atol=near[1])


def test_choices_reach_every_position_of_every_input():
    found = choices([(2, 3), (4,)])
    assert {c[0] for c in found} == {None, 0, 1, 2}
    assert {c[1] for c in found} == {None, 0, 1}


def test_every_primitive_has_a_batching_rule():
    for p in TABLE.values():
        if p.kind not in ("elementwise", "create"):
            assert p.batch is not None, p.name


def test_random_bits_of_several_keys():
    keys = fanal.tensor([[1, 0], [2, 5], [3, 7]])
    p = TABLE["random_bits"]
    got = vmap(lambda k: bind(p, k, shape=(4,)))(keys)
    for row, key in itertools.zip_longest(got, keys):
        np.testing.assert_array_equal(row.numpy(), bind(p, key, shape=(4,)).numpy())
