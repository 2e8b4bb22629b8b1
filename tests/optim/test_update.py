"""`update`: functions of many tensors, written in place by one program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fanal
from fanal.ops.pointwise import sqrt
from fanal.ops.reductions import mean
from fanal.ops.reductions import sum as sum_
from fanal.tensor.update import _programs, update


@pytest.fixture(autouse=True)
def without_gradients() -> Any:
    with fanal.no_grad():
        yield


def test_companions_see_old_values() -> None:
    """x ← x + y and y ← x - y at once, in either order of the results."""

    def turn(xs: Any, ys: Any) -> Any:
        (x,), (y,) = xs, ys
        return [x + y], [x - y]

    x, y = fanal.arange(1000).float(), fanal.ones(1000)
    update(turn, [[x], [y]])
    assert x[5].item() == 6 and y[5].item() == 4


def test_swap_and_shift() -> None:
    """Values that come from elsewhere in a target are computed before it is written."""

    def swap(xs: Any, ys: Any) -> Any:
        return ys, xs

    x, y = fanal.zeros(5), fanal.ones(5)
    update(swap, [[x], [y]])
    assert x.tolist() == [1] * 5 and y.tolist() == [0] * 5

    def reversed_sum(xs: Any, ys: Any) -> Any:
        from fanal.ops.shape import flip

        (x,), (y,) = xs, ys
        return [flip(y, (0,)) + x], [flip(x, (0,)) * 2.0]

    x, y = fanal.arange(40000).float(), fanal.arange(40000).float() + 0.5
    a, b = x.numpy().copy(), y.numpy().copy()
    update(reversed_sum, [[x], [y]])
    np.testing.assert_array_equal(x.numpy(), b[::-1] + a)
    np.testing.assert_array_equal(y.numpy(), a[::-1] * 2)


def test_targets_of_different_shapes_that_want_one_another() -> None:
    def both(rows: Any, sums: Any, whole: Any) -> Any:
        (r,), (s,), (w,) = rows, sums, whole
        return [r + w], [s + mean(w) + sum_(r)], [w * 2.0 + s]

    r, s, w = fanal.ones(3, 1), fanal.tensor(1.0), fanal.full((1, 1), 5.0)
    update(lambda rows, sums, whole: (
        [rows[0] + sums[0]], [sums[0] + sum_(rows[0])], [whole[0] + sums[0]]
    ), [[r], [s], [w]])  # fmt: skip
    assert r.tolist() == [[2.0]] * 3 and s.item() == 4 and w.item() == 6

    r, s, w = fanal.ones(3, 1), fanal.tensor(1.0), fanal.full((3, 1), 5.0)
    update(both, [[r], [s], [w]])
    assert r.tolist() == [[6.0]] * 3 and s.item() == 9 and w.tolist() == [[11.0]] * 3


def test_scalars_are_double_and_need_no_new_program() -> None:
    def scaled(xs: Any, factor: Any) -> Any:
        from fanal.ops.promotion import cast

        return [[x * cast(1.0 - factor, x.dtype) for x in xs]]

    xs = [fanal.ones(3), fanal.ones(2, 2), fanal.ones((), dtype=fanal.float64)]
    update(scaled, [xs], (), [0.9])
    count = len(_programs)
    update(scaled, [xs], (), [0.5])
    assert len(_programs) == count
    assert xs[0][0].item() == np.float32(np.float32(1.0 - 0.9) * np.float32(0.5))
    assert xs[2].item() == (1.0 - 0.9) * 0.5


def test_results_are_checked() -> None:
    x = fanal.ones(3)
    with pytest.raises(RuntimeError, match="shape differs"):
        update(lambda xs: [[sum_(xs[0])]], [[x]])
    with pytest.raises(TypeError, match="as many results"):
        update(lambda xs: [[]], [[x]])
    with pytest.raises(RuntimeError, match="expanded"):
        update(lambda xs: [[xs[0] * 2.0]], [[fanal.ones(1).expand(3)]])


def test_unchanged_targets_and_versions() -> None:
    x, y = fanal.ones(3), fanal.ones(3)
    before = x._version
    update(lambda xs, ys: (xs, [ys[0] * 3.0]), [[x], [y]])
    assert x.tolist() == [1, 1, 1] and y.tolist() == [3, 3, 3] and x._version == before + 1


def test_large_tensors_on_all_threads() -> None:
    rng = np.random.default_rng(0)
    a, g = (rng.standard_normal(300_001).astype(np.float32) for _ in range(2))
    p, v = fanal.tensor(a), fanal.zeros(300_001)

    def rule(ps: Any, vs: Any, gs: Any) -> Any:
        v = vs[0] + gs[0] * gs[0]
        return [ps[0] - gs[0] / (sqrt(v) + 1.0)], [v]

    update(rule, [[p], [v]], [[fanal.tensor(g)]])
    np.testing.assert_allclose(p.numpy(), a - g / (np.abs(g) + 1), rtol=1e-6, atol=1e-7)


def test_recorded_when_gradients_are_on() -> None:
    with fanal.enable_grad():
        x = fanal.tensor([1.0, 2.0], requires_grad=True)
        y = x * 1.0
        update(lambda ys, k: [[ys[0] * ys[0] * k]], [[y]], (), [3.0])
        y.sum().backward()
    assert y.tolist() == [3, 12] and x.grad.tolist() == [6, 12]
