"""Contractions: exact order of additions, any layout, any dtype, any target."""

from __future__ import annotations

import itertools
import math

import ml_dtypes
import numpy as np
import pytest

from fanal.backends.native import jit
from fanal.backends.native.contract import (
    KC,
    Epilogue,
    lower_conv,
    lower_conv_input_grad,
    lower_conv_weight_grad,
    lower_dot,
    probe,
)
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.backends.native.target import TARGETS, host_target

MATMUL = {"contract": ((1,), (0,)), "batch": ((), ())}


# -- the slow, obvious twin -----------------------------------------------------------------------


def fma32(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a·b + c rounded once to float32: exact product, sum in float64 rounded to odd."""
    if not host_target().fma:
        return (a * b + c).astype(np.float32)
    product = a.astype(np.float64) * b.astype(np.float64)
    c = c.astype(np.float64)
    total = product + c
    back = total - product
    error = (product - (total - back)) + (c - back)
    even = (total.view(np.int64) & 1) == 0
    odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    return np.where((error != 0) & even, odd, total).astype(np.float32)


def twin(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a: (m, k), b: (k, n) in float32, in the order that the engine promises."""
    m, k = a.shape
    total = np.zeros((m, b.shape[1]), np.float32)
    for start in range(0, k, KC):
        block = np.zeros_like(total)
        for i in range(start, min(k, start + KC)):
            block = fma32(a[:, i, None], b[None, i, :], block)
        total = block if start == 0 else (total + block).astype(np.float32)
    return total


def run(lower, *arrays: np.ndarray, threads: int = 1, **attributes: object) -> ProgramBuilder:
    """Lower to a program of its own and run it; arrays are the arguments, in order."""
    p = ProgramBuilder(host_target(), len(arrays))
    epilogue = attributes.pop("make_epilogue", None)
    accesses = [probe.access(i, x) for i, x in enumerate(arrays)]
    if epilogue is not None:
        attributes["epilogue"] = epilogue(accesses[3:])
    lower(p, *accesses[:3], **attributes)
    program = probe.runnable(p)
    probe.runtime().set_num_threads(threads)
    assert program(*(probe.first_element(x) for x in arrays)) == 0
    return p


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, **kw) -> np.ndarray:
    if out is None:
        out = np.full((a.shape[0], b.shape[1]), np.nan, np.float32)
    run(lower_dot, a, b, out, **MATMUL, **kw)
    return out


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def bits(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(f"u{x.itemsize}")


# -- matmul: the order ------------------------------------------------------------------------------

SHAPES = [
    (1, 1, 1), (1, 16, 3), (2, 9, 5), (7, 33, 255), (6, 64, 256), (13, 31, 257), (8, 8, 8),
    (1, 70, 600), (2, 130, 513), (70, 1, 513), (130, 2, 300), (3, 17, 1025), (37, 53, 700),
    (200, 40, 300), (40, 200, 300),
]  # fmt: skip


@pytest.mark.parametrize("mnk", SHAPES)
@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
def test_every_shape_and_transposition_follows_the_order(mnk, layout):
    m, n, k = mnk
    a, b = random(m, k), random(k, n, seed=1)
    expected = twin(a, b)
    left = np.ascontiguousarray(a.T).T if layout[0] == "t" else a
    right = np.ascontiguousarray(b.T).T if layout[1] == "t" else b
    np.testing.assert_array_equal(bits(matmul(left, right)), bits(expected))


def test_a_row_alone_has_the_bits_that_it_has_in_any_batch():
    k, n = 1100, 260
    b = random(k, n)
    a = random(300, k, seed=2)
    whole = matmul(a, b)
    for rows in (slice(0, 1), slice(17, 18), slice(3, 5), slice(0, 8), slice(100, 293)):
        np.testing.assert_array_equal(bits(matmul(a[rows], b)), bits(whole[rows]))
        np.testing.assert_array_equal(
            bits(matmul(a[rows], np.ascontiguousarray(b.T).T)), bits(whole[rows])
        )
    for cols in (slice(0, 1), slice(30, 32), slice(5, 22)):
        np.testing.assert_array_equal(bits(matmul(a, b[:, cols])), bits(whole[:, cols]))


def test_strides_change_no_bit():
    m, n, k = 45, 70, 530
    a, b = random(m, k), random(k, n, seed=1)
    expected = bits(twin(a, b))
    wide = np.zeros((2 * m, 3 * k), np.float32)
    wide[::2, ::3] = a
    tall = np.zeros((k, 2 * n), np.float32)
    tall[:, ::2] = b
    lefts = (wide[::2, ::3], np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1])
    rights = (tall[:, ::2], np.ascontiguousarray(b[::-1, ::-1])[::-1, ::-1], np.asfortranarray(b))
    for left, right in itertools.product(lefts, rights):
        np.testing.assert_array_equal(bits(matmul(left, right)), expected)
    for out in (
        np.empty((n, m), np.float32).T,
        np.empty((m, 2 * n), np.float32)[:, ::2],
        np.empty((m, n), np.float32)[::-1, ::-1],
    ):
        np.testing.assert_array_equal(bits(matmul(a, b, out)), expected)


def test_operands_that_repeat():
    row, column = random(1, 300), random(300, 1, seed=1)
    a, b = np.broadcast_to(row, (20, 300)), np.broadcast_to(column, (300, 40))
    assert np.unique(matmul(a, b)).size == 1
    np.testing.assert_array_equal(matmul(a, b)[:1, :1], twin(row, column))


def test_threads_change_no_bit():
    a, b = random(300, 700), random(700, 500, seed=1)
    alone = matmul(a, b)
    np.testing.assert_array_equal(bits(matmul(a, b, threads=2)), bits(alone))


def test_nothing_outside_of_out_is_written():
    a, b = random(7, 20), random(20, 19, seed=1)
    frame = np.full((9, 40), 7, np.float32)
    matmul(a, b, frame[1:8, 3:22])
    untouched = np.ones_like(frame, bool)
    untouched[1:8, 3:22] = False
    assert (frame[untouched] == 7).all()


@pytest.mark.parametrize("mnk", [(0, 5, 3), (5, 0, 3), (5, 4, 0), (1, 1, 0), (1, 100, 0)])
def test_empty_extents(mnk):
    m, n, k = mnk
    out = matmul(np.empty((m, k), np.float32), np.empty((k, n), np.float32))
    assert out.shape == (m, n) and (out == 0).all()


def test_infinities_nan_and_signed_zero():
    a = np.array([[np.inf, 1, 0], [np.nan, 0, 0], [-0.0, -0.0, -0.0]], np.float32)
    b = np.array([[1, 0], [-np.inf, 1], [1, 1]], np.float32)
    out = matmul(a, b)
    assert np.isnan(out[0]).all() and np.isnan(out[1]).all()
    assert np.isnan(out[2, 0]) and not np.signbit(matmul(a[2:], b[:, 1:]))[0, 0]


# -- matmul: dims, dtypes, epilogues ----------------------------------------------------------------


@pytest.mark.parametrize("case", range(8))
def test_dot_general(case):
    a, b, contract, batch, pattern = [
        ((3, 5, 7), (3, 7, 4), ((2,), (1,)), ((0,), (0,)), "bik,bkj->bij"),
        ((2, 3, 5, 7), (2, 3, 9, 7), ((3,), (3,)), ((0, 1), (0, 1)), "xyik,xyjk->xyij"),
        ((5, 2, 7, 3), (3, 2, 7, 4), ((2,), (2,)), ((1, 3), (1, 0)), "ixky,yxkj->xyij"),
        ((4, 5, 6), (6, 5, 3), ((1, 2), (1, 0)), ((), ()), "ikl,lkj->ij"),
        ((4, 5, 6), (3, 6), ((2,), (1,)), ((), ()), "abk,jk->abj"),
        ((6,), (6,), ((0,), (0,)), ((), ()), "k,k->"),
        ((4, 3), (2, 5), ((), ()), ((), ()), "ab,cd->abcd"),
        ((2, 3, 2, 3, 4), (2, 3, 2, 3, 4), ((4,), (4,)), ((0, 1, 2, 3),) * 2, "abcdk,abcdk->abcd"),
    ][case]
    rng = np.random.default_rng(case)
    x = rng.integers(-5, 6, a).astype(np.float32)
    y = rng.integers(-5, 6, b).astype(np.float32)
    expected = np.einsum(pattern, x, y)
    out = np.full(expected.shape, np.nan, np.float32)
    run(lower_dot, x, y, out, contract=contract, batch=batch)
    np.testing.assert_array_equal(out, expected)
    flipped = [np.ascontiguousarray(v.T).T for v in (x, y)]
    out = np.full(expected.T.shape, np.nan, np.float32).T
    run(lower_dot, *flipped, out, contract=contract, batch=batch)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("shape", [(3, 5, 9), (9, 40, 300), (250, 33, 40), (1, 90, 40), (90, 1, 40)])
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
@pytest.mark.parametrize("transposed", [False, True])
def test_16_bit_floats_are_widened_and_rounded_once(shape, dtype, transposed):
    m, n, k = shape
    a, b = random(m, k).astype(dtype), random(k, n, seed=1).astype(dtype)
    expected = twin(a.astype(np.float32), b.astype(np.float32)).astype(dtype)
    right = np.ascontiguousarray(b.T).T if transposed else b
    out = matmul(a, right, np.zeros((m, n), dtype))
    np.testing.assert_array_equal(bits(out), bits(expected))
    wide = matmul(a, right, np.zeros((m, n), np.float32))
    np.testing.assert_array_equal(wide.astype(dtype).view("u2"), expected.view("u2"))


def test_float16_specials():
    values = np.array([0, -0.0, 2**-24, 2**-14, 65504, np.inf, -np.inf, np.nan, 1], np.float16)
    a = values[:, None]
    out = matmul(a, np.ones((1, 3), np.float16), np.zeros((9, 3), np.float16))
    np.testing.assert_array_equal(out[:, 1], values)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_integers_wrap_around(dtype):
    rng = np.random.default_rng(0)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    a = rng.integers(low, high, (13, 270), dtype, endpoint=True)
    b = rng.integers(low, high, (270, 37), dtype, endpoint=True)
    with np.errstate(over="ignore"):
        expected = (a.astype("u8") @ b.astype("u8")).astype(dtype)
    for right in (b, np.ascontiguousarray(b.T).T):
        out = matmul(a, right, np.zeros((13, 37), dtype))
        np.testing.assert_array_equal(out, expected)


def test_small_integers_into_wide_ones_and_bool():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-128, 128, (9, 300), "i1"), rng.integers(-128, 128, (300, 20), "i1")
    out = matmul(a, b, np.zeros((9, 20), "i4"))
    np.testing.assert_array_equal(out, a.astype("i4") @ b.astype("i4"))
    x, y = rng.random((9, 30)) < 0.1, rng.random((30, 20)) < 0.1
    np.testing.assert_array_equal(matmul(x, y, np.zeros((9, 20), bool)), x @ y)


@pytest.mark.parametrize("shape", [(9, 40, 300), (250, 33, 40), (1, 90, 40)])
def test_float64(shape):
    m, n, k = shape
    rng = np.random.default_rng(0)
    a, b = rng.integers(-(2**20), 2**20, (m, k)) * 1.0, rng.integers(-(2**20), 2**20, (k, n)) * 1.0
    out = matmul(a, b, np.zeros((m, n)))
    np.testing.assert_array_equal(out, a @ b)
    x = rng.standard_normal((m, k))
    np.testing.assert_allclose(matmul(x, b, out), x @ b, rtol=1e-12)
    alone = matmul(x[:1], b, np.zeros((1, n)))
    np.testing.assert_array_equal(bits(alone), bits(out[:1]))


def _bias_residual_relu(extras: list[Access]) -> Epilogue:
    def emit(b, acc, values):
        total = acc + values[0] + values[1]
        return b.select(total.gt(0.0), total, 0.0)

    return Epilogue("bias+residual+relu", tuple(extras), emit)


@pytest.mark.parametrize("shape", [(5, 7, 0), (9, 40, 300), (250, 33, 40), (1, 90, 40), (70, 1, 9)])
@pytest.mark.parametrize("swapped", [False, True])
def test_epilogue(shape, swapped):
    m, n, k = shape
    a, b = random(m, k), random(k, n, seed=1)
    bias, residual = random(n, seed=2), random(m, n, seed=3)
    expected = np.maximum(twin(a, b) + bias + residual, 0)
    out = np.full((m, n), np.nan, np.float32)
    if swapped:
        residual = np.asfortranarray(residual)
        out = np.asfortranarray(out)
    run(lower_dot, a, b, out, bias, residual, make_epilogue=_bias_residual_relu, **MATMUL)
    np.testing.assert_array_equal(out, expected)
    rounded = np.zeros((m, n), ml_dtypes.bfloat16)
    narrow = bias.astype(ml_dtypes.bfloat16)
    run(lower_dot, a, b, rounded, narrow, residual, make_epilogue=_bias_residual_relu, **MATMUL)
    expected = np.maximum(twin(a, b) + narrow.astype(np.float32) + residual, 0)
    np.testing.assert_array_equal(bits(rounded), bits(expected.astype(ml_dtypes.bfloat16)))


def test_an_operand_that_does_not_broadcast_is_refused():
    with pytest.raises(ValueError, match=r"does not broadcast: got \(3,\); expected \(2, 2\)"):
        run(lower_dot, random(2, 2), random(2, 2), random(2, 2), random(3),
            make_epilogue=lambda e: Epilogue("x", tuple(e)), **MATMUL)  # fmt: skip


# -- convolutions -------------------------------------------------------------------------------------

# images, channels, spatial, outputs, kernel, stride, padding, dilation, input dilation, groups
CONVOLUTIONS = [
    (1, 3, (16, 16), 8, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1),
    (2, 3, (19, 17), 8, (7, 7), (2, 2), (3, 3), (1, 1), (1, 1), 1),
    (2, 64, (8, 8), 32, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1),
    (3, 16, (7, 7), 24, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1),
    (3, 16, (4, 4), 24, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1),
    (2, 16, (9, 9), 24, (3, 3), (2, 2), (1, 1), (1, 1), (1, 1), 1),
    (2, 8, (14, 14), 16, (1, 1), (1, 1), (0, 0), (1, 1), (1, 1), 1),
    (2, 8, (14, 14), 16, (1, 1), (2, 2), (0, 0), (1, 1), (1, 1), 1),
    (2, 8, (13, 15), 16, (3, 2), (2, 3), (1, 0), (2, 1), (1, 1), 1),
    (2, 8, (12, 12), 12, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 4),
    (2, 6, (12, 12), 12, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 6),
    (2, 16, (12, 12), 16, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 16),
    (2, 37, (11, 12), 37, (3, 3), (2, 2), (1, 1), (1, 1), (1, 1), 37),
    (1, 8, (11, 12), 8, (5, 3), (2, 3), (1, 1), (1, 2), (1, 1), 8),
    (1, 20, (40,), 20, (5,), (1,), (2,), (1,), (1,), 20),
    (1, 9, (5, 6, 7), 9, (2, 3, 3), (1, 2, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1), 9),
    (2, 8, (20,), 12, (5,), (2,), (2,), (1,), (1,), 2),
    (1, 4, (6, 7, 8), 6, (3, 3, 3), (1, 2, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1),
    (1, 16, (1, 1), 32, (1, 1), (1, 1), (0, 0), (1, 1), (1, 1), 1),
    (2, 16, (2, 2), 32, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1),
    (1, 3, (32, 32), 16, (8, 8), (8, 8), (0, 0), (1, 1), (1, 1), 1),
    (1, 5, (9, 9), 7, (2, 2), (3, 3), (0, 0), (1, 1), (1, 1), 1),
    (1, 5, (9, 9), 7, (3, 3), (1, 1), (-1, -2), (1, 1), (1, 1), 1),
    (2, 5, (4, 5), 7, (3, 3), (1, 1), (2, 1), (1, 1), (2, 3), 1),
    (1, 8, (4, 5), 8, (4, 3), (3, 2), (2, 1), (2, 1), (2, 3), 8),
]  # fmt: skip


def _windows(x: np.ndarray, case: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Every output's terms: values (N, C, *out, *kernel) and which of them are multiplied."""
    _, _, _, _, kernel, stride, padding, dilation, spread, _ = case
    sizes = x.shape[2:]
    wide = [(n - 1) * u + 1 for n, u in zip(sizes, spread, strict=True)]
    at, real = [], []
    for n, k, s, p, d, u, w in zip(
        sizes, kernel, stride, padding, dilation, spread, wide, strict=True
    ):
        count = (w + 2 * p - (k - 1) * d - 1) // s + 1
        place = np.arange(count)[:, None] * s - p + np.arange(k) * d
        at.append((place // u, (place // u >= 0) & (place // u < n)))
        real.append(place % u == 0)
    nd = len(sizes)
    values, hit = x, np.ones((), bool)
    for i in range(nd):
        index, valid = at[i]
        axis = 2 + 2 * i
        values = np.take(values, np.clip(index, 0, sizes[i] - 1), axis)
        shape = [1] * values.ndim
        shape[axis : axis + 2] = index.shape
        values = np.where(valid.reshape(shape), values, 0)
    order = [0, 1, *range(2, 2 + 2 * nd, 2), *range(3, 3 + 2 * nd, 2)]
    values = values.transpose(order)
    for i in range(nd):
        shape = [1] * (2 * nd)
        shape[i], shape[nd + i] = real[i].shape
        hit = hit & real[i].reshape(shape)
    return values, np.broadcast_to(hit, values.shape[2:])


def _kwargs(case: tuple) -> dict[str, object]:
    _, _, _, _, _, stride, padding, dilation, spread, groups = case
    return {
        "stride": stride, "padding": [(p, p) for p in padding], "dilation": dilation,
        "input_dilation": spread, "groups": groups,
    }  # fmt: skip


def _layout(x: np.ndarray, last: bool) -> np.ndarray:
    """The same array, with its channels as the fastest axis if `last`."""
    if not last:
        return x
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)).swapaxes(-1, -1).transpose(
        0, x.ndim - 1, *range(1, x.ndim - 1)
    )


def _integers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).integers(-3, 4, shape).astype(np.float32)


def _data(case: tuple, make) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n, c, spatial, o, kernel, *_, groups = case
    x, w = make(n, c, *spatial), make(o, c // groups, *kernel, seed=1)
    values, hit = _windows(x, case)
    nd = len(spatial)
    g = make(n, o, *values.shape[2 : 2 + nd], seed=2)
    return x, w, g, values, hit


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions_against_sums_of_windows(case, last):
    n, c, spatial, o, kernel, *_, groups = case
    x, w, g, values, hit = _data(case, _integers)
    nd, per = len(spatial), c // groups
    out_axes, taps = "xyz"[:nd], "abc"[:nd]
    terms = (values * hit).reshape(n, groups, per, *values.shape[2:])
    weights = w.reshape(groups, o // groups, per, *kernel)
    grads = g.reshape(n, groups, o // groups, *g.shape[2:])
    y = np.einsum(f"ngi{out_axes}{taps},goi{taps}->ngo{out_axes}", terms, weights, optimize=True)
    dw = np.einsum(f"ngi{out_axes}{taps},ngo{out_axes}->goi{taps}", terms, grads, optimize=True)
    out = _layout(np.full(g.shape, np.nan, np.float32), last)
    run(lower_conv, _layout(x, last), _layout(w, last), out, **_kwargs(case))
    np.testing.assert_array_equal(out, y.reshape(g.shape))
    out = _layout(np.full(w.shape, np.nan, np.float32), last)
    run(lower_conv_weight_grad, _layout(x, last), _layout(g, last), out, **_kwargs(case))
    np.testing.assert_array_equal(out, dw.reshape(w.shape))
    out = _layout(np.full(x.shape, np.nan, np.float32), last)
    run(lower_conv_input_grad, _layout(g, last), _layout(w, last), out, **_kwargs(case))
    # ⟨g, conv(δ, w)⟩ for random integer δ: the gradient is the adjoint of the forward pass.
    delta = _integers(*x.shape, seed=5)
    moved, hit = _windows(delta, case)
    terms = (moved * hit).reshape(n, groups, per, *moved.shape[2:])
    y = np.einsum(f"ngi{out_axes}{taps},goi{taps}->ngo{out_axes}", terms, weights, optimize=True)
    assert not np.isnan(out).any()
    assert (y.reshape(g.shape).astype(float) * g).sum() == (delta.astype(float) * out).sum()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("index", [1, 2, 5, 8, 9, 11, 12, 16])
def test_convolutions_follow_the_order(index, last):
    case = CONVOLUTIONS[index]
    n, c, spatial, o, kernel, *_, groups = case
    x, w, g, values, _ = _data(case, random)
    nd, per, width = len(spatial), c // groups, o // groups
    y, dw = np.empty_like(g), np.empty_like(w)
    for group in range(groups):
        mine = slice(group * per, (group + 1) * per)
        made = slice(group * width, (group + 1) * width)
        v = values[:, mine]
        # k of the forward pass: taps, then channels; pixels and images are rows.
        order = (0, *range(2, 2 + nd), *range(2 + nd, 2 + 2 * nd), 1)
        rows = v.transpose(order).reshape(-1, math.prod(kernel) * per)
        k_first = np.moveaxis(w[made], 1, -1).reshape(width, -1).T
        y[:, made] = np.moveaxis(twin(rows, k_first).reshape(n, *g.shape[2:], width), -1, 1)
        # k of the weight gradient: images, then pixels.
        order = (1, *range(2 + nd, 2 + 2 * nd), 0, *range(2, 2 + nd))
        rows = v.transpose(order).reshape(per * math.prod(kernel), -1)
        cols = np.moveaxis(g[:, made], 1, -1).reshape(-1, width)
        dw[made] = twin(rows, cols).T.reshape(width, per, *kernel)
    out = _layout(np.full(g.shape, np.nan, np.float32), last)
    run(lower_conv, _layout(x, last), w, out, **_kwargs(case))
    np.testing.assert_array_equal(bits(out), bits(y))
    out = np.full(w.shape, np.nan, np.float32)
    run(lower_conv_weight_grad, _layout(x, last), _layout(g, last), out, **_kwargs(case), threads=2)
    np.testing.assert_array_equal(bits(out), bits(dw))


def test_an_image_alone_has_the_bits_that_it_has_in_a_batch():
    attributes = _kwargs(CONVOLUTIONS[5])
    x, w, g = random(5, 40, 9, 9), random(24, 40, 3, 3), random(5, 24, 5, 5, seed=2)
    y, gx = np.empty_like(g), np.empty_like(x)
    run(lower_conv, x, w, y, **attributes)
    run(lower_conv_input_grad, g, w, gx, **attributes)
    one, one_gx = np.empty_like(y[:1]), np.empty_like(gx[:1])
    for i in range(5):
        run(lower_conv, x[i : i + 1], w, one, **attributes)
        run(lower_conv_input_grad, g[i : i + 1], w, one_gx, **attributes)
        np.testing.assert_array_equal(bits(one), bits(y[i : i + 1]))
        np.testing.assert_array_equal(bits(one_gx), bits(gx[i : i + 1]))


@pytest.mark.parametrize("index", [2, 11])
def test_convolution_epilogue_and_bfloat16(index):
    case = CONVOLUTIONS[index]
    x, w, g, *_ = _data(case, _integers)
    x, w = x.astype(ml_dtypes.bfloat16), w.astype(ml_dtypes.bfloat16)
    bias = random(w.shape[0], 1, 1)
    plain = np.empty(g.shape, np.float32)
    run(lower_conv, x, w, plain, **_kwargs(case))

    def epilogue(extras):
        return Epilogue("bias+residual", tuple(extras), lambda b, acc, e: acc + e[0] + e[1])

    out = np.empty(g.shape, ml_dtypes.bfloat16)
    run(lower_conv, x, w, out, bias, g, make_epilogue=epilogue, **_kwargs(case))
    np.testing.assert_array_equal(bits(out), bits((plain + bias + g).astype(ml_dtypes.bfloat16)))


@pytest.mark.parametrize(
    "shapes",
    [
        ((0, 3, 5, 5), (4, 3, 3, 3), (0, 4, 3, 3)),
        ((2, 0, 5, 5), (4, 0, 3, 3), (2, 4, 3, 3)),
        ((2, 3, 5, 5), (0, 3, 3, 3), (2, 0, 3, 3)),
        ((2, 3, 2, 5), (4, 3, 3, 3), (2, 4, 0, 3)),
    ],
)
def test_empty_convolutions(shapes):
    x, w, y = (np.full(s, np.nan, np.float32) for s in shapes)
    attributes = {
        "stride": (1, 1), "padding": [(0, 0)] * 2, "dilation": (1, 1), "input_dilation": (1, 1),
        "groups": 1,
    }  # fmt: skip
    run(lower_conv, x, w, y, **attributes)
    assert (y == 0).all()
    run(lower_conv_weight_grad, np.ones(shapes[0], np.float32), y, w, **attributes)
    assert (w == 0).all()
    run(lower_conv_input_grad, y, w, x, **attributes)
    assert (x == 0).all()


def test_shapes_that_do_not_belong_together():
    with pytest.raises(ValueError, match=r"\[conv\] shapes do not belong together"):
        run(lower_conv, random(1, 3, 5, 5), random(4, 3, 3, 3), random(1, 4, 4, 4),
            stride=(1, 1), padding=[(0, 0)] * 2, dilation=(1, 1), input_dilation=(1, 1),
            groups=1)  # fmt: skip


# -- kernels ----------------------------------------------------------------------------------------


def _programs(target) -> list[ProgramBuilder]:
    """A corpus: every way of reading operands, every dtype class."""
    found = []

    def add(lower, *arrays, **attributes):
        p = ProgramBuilder(target, len(arrays))
        accesses = [probe.access(i, x) for i, x in enumerate(arrays)]
        lower(p, *accesses, **attributes)
        found.append(p)

    for dtype in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16, "i1", "i8"):
        for m, n, k in ((1, 128, 40), (2, 128, 40), (40, 40, 300), (300, 64, 40)):
            a, b, out = (np.zeros(s, dtype) for s in ((m, k), (k, n), (m, n)))
            add(lower_dot, a, b, out, **MATMUL)
            add(lower_dot, a, np.asfortranarray(b), out, **MATMUL)
        add(lower_dot, a, b[:, ::3], out[:, : b[:, ::3].shape[1]], **MATMUL)
    for case in (CONVOLUTIONS[i] for i in (1, 2, 5, 10, 12, 20)):
        x, w, g, *_ = _data(case, _integers)
        for last in (False, True):
            args = _layout(x, last), _layout(w, last), _layout(g, last)
            add(lower_conv, args[0], args[1], args[2], **_kwargs(case))
            add(lower_conv_weight_grad, args[0], args[2], args[1], **_kwargs(case))
            add(lower_conv_input_grad, args[2], args[1], args[0], **_kwargs(case))
    return found


@pytest.mark.parametrize("name", ["x86-64", "x86-64-v3", "x86-64-v4", "aarch64"])
def test_kernels_compile_for_every_target_without_a_library(name):
    target = TARGETS[name]
    seen = set()
    for p in _programs(target):
        for phase in p.phases:
            if phase.kernel.key not in seen:
                seen.add(phase.kernel.key)
                data = jit.compile_ir(phase.kernel.ir(target, "kernel"), target)
                assert undefined_symbols(data) == []
    assert len(seen) < 120


def undefined_symbols(data: bytes) -> list[str]:
    """Names that a 64-bit ELF object expects from elsewhere."""
    word = lambda at, size: int.from_bytes(data[at : at + size], "little")  # noqa: E731
    start, size, count = word(0x28, 8), word(0x3A, 2), word(0x3C, 2)
    headers = [start + i * size for i in range(count)]
    names = []
    for header in headers:
        if word(header + 4, 4) != 2:  # SHT_SYMTAB
            continue
        strings = word(headers[word(header + 0x28, 4)] + 0x18, 8)
        first, length = word(header + 0x18, 8), word(header + 0x20, 8)
        for at in range(first + 24, first + length, 24):
            if word(at + 6, 2) == 0:  # SHN_UNDEF
                name = strings + word(at, 4)
                names.append(data[name : data.index(b"\0", name)].decode())
    return [n for n in names if n]
