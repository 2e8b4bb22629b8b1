"""⟨u, jvp v⟩ = ⟨vjp u, v⟩ in float64, for every primitive with a derivative, alone and mapped."""

from __future__ import annotations

import numpy as np
import pytest

import fanal
from fanal.core.dispatch import bind
from fanal.func import jvp, vjp, vmap
from fanal.ops.primitive import TABLE
from tests.ops.samples import direction_of, draw, samples_of
from tests.ops.test_derivatives import CASES, F64, constant_inputs

SIZE = 3
CASES = [p for p in (*CASES, TABLE["custom_gradient"]) if samples_of(p)]


def products(function, primals, tangents, cotangents):
    """⟨u, jvp v⟩ and ⟨vjp u, v⟩ over the floating outputs."""
    _, moved = jvp(function, primals, tangents)
    _, pull = vjp(function, *primals)
    pulled = pull(cotangents)
    left = sum((u * m).sum() for u, m in zip(cotangents, moved))
    right = sum((g * v).sum() for g, v in zip(pulled, tangents))
    return left, right


def case_of(p, kinds, attributes, seed):
    """A function of the primitive's differentiable inputs that returns its floating outputs, with
    arguments, directions and cotangents."""
    rng = np.random.default_rng(seed)
    arrays = draw(p, kinds, F64, seed)
    fixed = constant_inputs(p, arrays)
    moving = [i for i, a in enumerate(arrays) if a.dtype == np.float64 and i not in fixed]
    tensors = [fanal.tensor(a) for a in arrays]

    def function(*given):
        whole = list(tensors)
        for i, x in zip(moving, given):
            whole[i] = x
        found = bind(p, *whole, **attributes)
        found = found if isinstance(found, tuple) else (found,)
        return tuple(y for y in found if y.dtype is fanal.float64)

    primals = tuple(tensors[i] for i in moving)
    tangents = tuple(fanal.tensor(direction_of(kinds[i], arrays[i], rng)) for i in moving)
    outputs = function(*primals)
    cotangents = tuple(fanal.tensor(rng.standard_normal(tuple(y.shape))) for y in outputs)
    return function, primals, tangents, cotangents


@pytest.mark.parametrize("p", CASES, ids=[p.name for p in CASES])
def test_forward_and_reverse_are_adjoint(p):
    for seed, (kinds, attributes) in enumerate(samples_of(p)):
        function, primals, tangents, cotangents = case_of(p, kinds, attributes, seed)
        if not primals or not cotangents:
            continue
        left, right = products(function, primals, tangents, cotangents)
        assert float(left) == pytest.approx(float(right), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("p", CASES, ids=[p.name for p in CASES])
def test_mapped_derivatives_are_adjoint(p):
    """`vmap` over `jvp` and `vjp`: every batching rule of a derivative's own operations."""
    kinds, attributes = samples_of(p)[-1]
    cases = [case_of(p, kinds, attributes, 10 + k) for k in range(SIZE)]
    function, primals, _, cotangents = cases[0]
    if not primals or not cotangents:
        return
    stacks = [
        tuple(fanal.stack(list(parts)) for parts in zip(*[c[i] for c in cases])) for i in (1, 2, 3)
    ]
    left, right = vmap(lambda *args: products(function, *args))(*stacks)
    np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=1e-9, atol=1e-9)
    for k in range(SIZE):
        alone = products(function, *cases[k][1:])
        assert float(left[k]) == pytest.approx(float(alone[0]), rel=1e-9, abs=1e-9)
