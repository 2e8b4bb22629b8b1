"""What cond, while_loop and scan compute: the bits of the same loop in Python."""

from __future__ import annotations

import pytest

import fanal
import fanal.nn.functional as F
from tests.control import loops
from tests.control.loops import same_bits

f64 = fanal.float64
DTYPES = [fanal.float32, fanal.float64, fanal.bfloat16, fanal.float16, fanal.int64, fanal.int8, fanal.uint8]


def cell(w):
    def step(h, x):
        h = (x + h @ w).tanh()
        return h, {"square": h * h, "nothing": None}

    return step


@pytest.mark.parametrize("steps", [1, 2, 3, 8])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_the_loop(steps, reverse):
    fanal.manual_seed(steps)
    w, h, xs = fanal.randn(5, 5), fanal.randn(3, 5), fanal.randn(steps, 3, 5)
    got = fanal.scan(cell(w), h, xs, reverse=reverse)
    assert same_bits(got, loops.scan(cell(w), h, xs, reverse=reverse))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(dtype):
    xs = (fanal.randn(6, 4) * 3).to(dtype)

    def step(c, x):
        return c + x, (c * x, x)

    init = fanal.zeros(4, dtype=dtype)
    assert same_bits(fanal.scan(step, init, xs), loops.scan(step, init, xs))


def test_booleans_and_numbers():
    bits = fanal.rand(6, 4) > 0.5

    def parity(c, x):
        return c ^ x, c & x

    init = fanal.zeros(4, dtype=fanal.bool)
    assert same_bits(fanal.scan(parity, init, bits), loops.scan(parity, init, bits))
    last, ys = fanal.scan(lambda c, x: ((c[0] + 1, c[1] + x), c[0]), (0, 0.0), fanal.ones(3))
    assert last[0].item() == 3 and last[0].dtype is fanal.int64 and ys.tolist() == [0, 1, 2]
    assert last[1].dtype is fanal.float32


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("reverse", [False, True])
def test_any_dimension_of_any_strides(dim, reverse):
    xs = fanal.randn(3, 6, 5).transpose(0, 2)[:, ::2]
    init = fanal.zeros([n for d, n in enumerate(xs.shape) if d != dim % 3])

    def step(c, x):
        return c * 0.5 + x, c

    got = fanal.scan(step, init, xs, dim=dim, reverse=reverse)
    assert same_bits(got, loops.scan(step, init, xs, dim=dim, reverse=reverse))


def test_containers_and_carries_that_change_places():
    xs = {"a": fanal.randn(4, 3), "b": [fanal.arange(4)]}

    def step(c, x):
        first, second = c
        return (second, first + x["a"]), [(first, x["b"][0]), fanal.ones(2)]

    init = (fanal.zeros(3), fanal.ones(3))
    assert same_bits(fanal.scan(step, init, xs), loops.scan(step, init, xs))


def test_no_sequence_no_steps_no_elements():
    last, ys = fanal.scan(lambda c, x: (c * 2, c), fanal.ones(2), None, length=5)
    assert last.tolist() == [32, 32] and ys.shape == (5, 2)
    last, ys = fanal.scan(lambda c, x: (c + x, c), fanal.ones(2), fanal.zeros(0, 2))
    assert last.tolist() == [1, 1] and ys.shape == (0, 2)
    last, ys = fanal.scan(lambda c, x: (c + x, c), fanal.ones(0), fanal.zeros(3, 0))
    assert last.shape == (0,) and ys.shape == (3, 0)
    assert fanal.scan(lambda c, x: (c, None), (), fanal.ones(3)) == ((), None)


def test_what_is_returned_as_it_came():
    w, xs = fanal.randn(3), fanal.randn(4, 3)

    def step(c, x):
        return (c[0], c[1] + x, w), (x, w, c[0], c[1])

    init = (fanal.ones(3), fanal.zeros(3), fanal.zeros(3))
    assert same_bits(fanal.scan(step, init, xs), loops.scan(step, init, xs))


@pytest.mark.parametrize("limit", [None, 0, 1, 3, 100])
@pytest.mark.parametrize("start", [0, 5])
def test_while_is_the_loop(limit, start):
    w = fanal.randn(4, 4)

    def test(n, x):
        return n < 5

    def step(n, x):
        return n + 1, (x @ w).tanh() + x

    given = (fanal.tensor(start), fanal.randn(2, 4))
    got = fanal.while_loop(test, step, given, max_steps=limit)
    assert same_bits(got, loops.while_loop(test, step, given, max_steps=limit))


def test_while_takes_numbers_lists_and_single_tensors():
    assert fanal.while_loop(lambda x: x < 10, lambda x: x + 3, (1,))[0].item() == 10
    assert fanal.while_loop(lambda x: (x < 10,), lambda x: [x + 3], [1])[0].item() == 10
    flag = fanal.while_loop(lambda x, go: go.reshape(1), lambda x, go: (x * 2, (x < 4).all()), (fanal.ones(2), True))
    assert flag[0].tolist() == [8, 8] and flag[1].item() is False


@pytest.mark.parametrize("sign", [1, -1])
def test_cond_takes_one_branch(sign):
    x, w = fanal.randn(3, 3).abs() * sign, fanal.randn(3, 3)

    def yes(x):
        return {"a": (x @ w).sin(), "b": w, "c": None}

    def no(x):
        return {"a": x * w, "b": x, "c": None}

    for pred in ((x.sum() > 0), (x.sum() > 0).reshape(1, 1), sign > 0):
        assert same_bits(fanal.cond(pred, yes, no, (x,)), loops.cond(pred, yes, no, (x,)))
    # The other branch is not computed: its division by zero is not met.
    n = fanal.tensor([1, 0])
    assert fanal.cond(x.sum() * sign > 0, lambda: n, lambda: n // n).tolist() == [1, 0]


def test_operands_that_are_no_tensors_are_passed_on():
    x = fanal.ones(2)
    got = fanal.cond(x.sum() > 0, lambda x, n, f: x * n + f["k"], lambda x, n, f: x, (x, 3, {"k": 0.5}))
    assert got.tolist() == [3.5, 3.5]


def test_inside_one_another():
    def outer(c, x):
        inner, ys = fanal.scan(lambda h, z: (h * 0.5 + z, h), c, x)
        low = fanal.while_loop(lambda v: v.abs().sum() > 1, lambda v: (v * 0.5,), (inner,))[0]
        return fanal.cond(inner.sum() > 0, lambda: low, lambda: low - 1), ys

    def plain(c, x):
        inner, ys = loops.scan(lambda h, z: (h * 0.5 + z, h), c, x)
        (low,) = loops.while_loop(lambda v: v.abs().sum() > 1, lambda v: (v * 0.5,), (inner,))
        return (low if inner.sum() > 0 else low - 1), ys

    x = fanal.randn(6, 3, 2)
    assert same_bits(fanal.scan(outer, fanal.zeros(2), x), loops.scan(plain, fanal.zeros(2), x))


def test_python_numbers_from_outside_are_looked_at_each_time():
    x = fanal.ones(3)
    for factor in (2.0, 3.0, 4):
        last, _ = fanal.scan(lambda c, x: (c * factor, None), x, None, length=2)
        assert last.tolist() == [factor**2] * 3


def test_random_numbers_are_drawn_at_each_step():
    def step(c, x):
        inner = fanal.scan(lambda d, z: (d + fanal.rand(2), None), fanal.zeros(2), None, length=2)[0]
        return c + F.dropout(x, 0.5, True), (fanal.rand(2), inner)

    def plain(c, x):
        inner = fanal.zeros(2)
        for _ in range(2):
            inner = inner + fanal.rand(2)
        return c + F.dropout(x, 0.5, True), (fanal.rand(2), inner)

    for reverse in (False, True):
        fanal.manual_seed(3)
        got = fanal.scan(step, fanal.zeros(8), fanal.ones(5, 8), reverse=reverse), fanal.rand(3)
        fanal.manual_seed(3)
        want = loops.scan(plain, fanal.zeros(8), fanal.ones(5, 8), reverse=reverse), fanal.rand(3)
        assert same_bits(got, want)
    assert len({tuple(y.tolist()) for y in got[0][1][0]}) == 5
    fanal.manual_seed(3)
    fanal.scan(step, fanal.zeros(8), fanal.ones(0, 8))
    after = fanal.rand(2)
    fanal.manual_seed(3)
    assert same_bits(after, fanal.rand(2))


def test_the_same_bits_for_any_number_of_threads():
    w, h, xs = fanal.randn(160, 160) / 12, fanal.randn(48, 160), fanal.randn(5, 48, 160)
    w.requires_grad_()
    before = fanal.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 4):
            fanal.set_num_threads(threads)
            last, ys = fanal.scan(cell(w), h, xs)
            (g,) = fanal.autograd.grad(last.sum() + ys["square"].sum(), w)
            results.append((last.detach(), ys["square"].detach(), g))
    finally:
        fanal.set_num_threads(before)
    assert same_bits(results[0], results[1]) and same_bits(results[0], results[2])
