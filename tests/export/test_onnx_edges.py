"""Where ONNX's operators mean something else, or nothing: zeros, signs, NaN, infinities, ranges."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the package 'onnx' is not installed")
pytest.importorskip("onnxruntime", reason="the package 'onnxruntime' is not installed")

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.ops.primitive import TABLE
from tests.export.onnx_models import results
from tests.ops.runner import native, trace

INF, NAN = float("inf"), float("nan")
INTEGERS = [d for d in dtypes.ALL if d.kind in "iu"]
FLOATS = ["float16", "float32", "float64"]
NUMBERS = [0.0, -0.0, 0.3, -0.3, 1.0, -1.0, 2.5, -2.5, 3.0, -3.0, 100.0, INF, -INF, NAN]


def same(name, arrays, folder, exact=True, **attributes):
    """A runtime gives what the machine code gives: the same numbers, NaN at the same places."""
    arrays = [np.ascontiguousarray(a) for a in arrays]
    graph = trace(lambda *xs: bind(TABLE[name], *xs, **attributes), arrays)
    for have, want in zip(results(graph, folder, arrays), native(graph, arrays), strict=True):
        if have.dtype.name == "bfloat16":
            have, want = have.astype(np.float32), want.astype(np.float32)
        if exact:
            np.testing.assert_array_equal(have, want)
            if want.dtype.kind == "f":
                zero = want == 0
                np.testing.assert_array_equal(np.signbit(have[zero]), np.signbit(want[zero]))
        else:
            np.testing.assert_allclose(have, want, rtol=1e-6 if want.dtype != np.float16 else 2e-3)


def pairs(values, dtype):
    grid = np.array(values, dtype)
    return [np.repeat(grid, len(grid)), np.tile(grid, len(grid))]


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("op", ["floor_div", "remainder", "fmod", "maximum", "minimum", "div"])
def test_pairs_of_floats(op, name, tmp_path):
    with np.errstate(all="ignore"):
        a, b = pairs(NUMBERS, name)
    if op in ("maximum", "minimum"):  # which zero is the larger one is nowhere said
        keep = ~((a == 0) & (b == 0))
        a, b = a[keep], b[keep]
    same(op, [a, b], tmp_path)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("op", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_comparisons_with_nan(op, name, tmp_path):
    same(op, pairs(NUMBERS, name), tmp_path)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("op", ["sign", "trunc", "floor", "ceil", "round", "neg", "abs"])
def test_roundings_and_signs(op, name, tmp_path):
    same(op, [np.array([*NUMBERS, 0.5, 1.5, -0.5, -1.5, 1e4 + 0.5], name)], tmp_path)


@pytest.mark.parametrize("name", FLOATS)
def test_a_sign_is_copied_from_zeros_and_infinities_too(name, tmp_path):
    same("copysign", pairs([v for v in NUMBERS if v == v], name), tmp_path)


@pytest.mark.parametrize("op", ["expm1", "log1p", "exp2", "log2", "log10", "rsqrt", "sqrt", "atan2", "hypot"])
def test_functions_at_their_ends(op, tmp_path):
    low = 1e-30
    values = [v for v in [*NUMBERS, low, -low, 1e-6, -1e-6, 80.0, -80.0] if v != -0.3]
    if op in ("atan2", "hypot"):
        same(op, pairs(values, "float32"), tmp_path, exact=False)
    else:
        same(op, [np.array(values, "float32")], tmp_path, exact=False)


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
@pytest.mark.parametrize("op", ["floor_div", "trunc_div", "remainder", "fmod", "gcd"])
def test_integer_divisions_by_sign(op, dtype, tmp_path):
    values = [1, 2, 3, 7, 9] + ([-1, -2, -3, -7, -9] if dtype.kind == "i" else [200])
    a, b = pairs(values, dtype.numpy)
    most = np.iinfo(dtype.numpy)
    more = [np.array(x, dtype.numpy) for x in ([0, most.max, most.min], [3, 2, 3])]
    same(op, [np.concatenate([a, more[0]]), np.concatenate([b, more[1]])], tmp_path)


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
@pytest.mark.parametrize("op", ["shift_left", "shift_right"])
def test_shifts_by_too_much_or_less_than_nothing(op, dtype, tmp_path):
    numbers = [0, 1, 5, 100, np.iinfo(dtype.numpy).max, *([-1, -100, np.iinfo(dtype.numpy).min] if dtype.kind == "i" else [])]
    counts = [0, 1, 7, dtype.bits - 1, dtype.bits, 100, *([-1, -5] if dtype.kind == "i" else [])]
    a = np.repeat(np.array(numbers, dtype.numpy), len(counts))
    b = np.tile(np.array(counts, dtype.numpy), len(numbers))
    same(op, [a, b], tmp_path)


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
@pytest.mark.parametrize("op", ["add", "sub", "mul", "neg", "abs", "pow", "and", "or", "xor", "not"])
def test_integers_wrap_around(op, dtype, tmp_path):
    most = np.iinfo(dtype.numpy)
    a, b = pairs([0, 1, 3, most.max, most.min, most.max - 1], dtype.numpy)
    if op == "pow":
        b = np.tile(np.array([0, 1, 2, 5, 13, 60], dtype.numpy), 6)
    same(op, [a] if op in ("neg", "abs", "not") else [a, b], tmp_path)


@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
@pytest.mark.parametrize("op", ["lt", "ge", "eq", "maximum", "minimum"])
def test_integers_compare_with_their_signs(op, dtype, tmp_path):
    most = np.iinfo(dtype.numpy)
    same(op, pairs([0, 1, most.max, most.min, most.max // 2 + 1], dtype.numpy), tmp_path)


@pytest.mark.parametrize("op", ["lt", "le", "gt", "ge", "eq", "ne", "maximum", "minimum", "and", "or", "xor"])
def test_bools(op, tmp_path):
    same(op, pairs([True, False], np.bool_), tmp_path)


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
@pytest.mark.parametrize("target", dtypes.ALL, ids=lambda d: d.name)
def test_floats_become_other_dtypes(name, target, tmp_path):
    values = [*NUMBERS, 300.7, -300.7, 65000.0, -1.9, 255.5, 127.9, -129.0]
    if name != "float16":
        values += [3e9, -3e9, 1e10, 1.8e19, -1e19, 9.3e18, 2.0**31, -(2.0**31), 2.0**63, 2.0**64, 1e20]
    if target.kind == "f":
        values = [v for v in values if not abs(v) > 6e4 or v in (INF, -INF)]
    same("cast", [np.array(values, name)], tmp_path, dtype=target)


@pytest.mark.parametrize("source", [*INTEGERS, dtypes.bool_], ids=lambda d: d.name)
@pytest.mark.parametrize("target", [d for d in dtypes.ALL if d.name not in ("float16", "bfloat16")], ids=lambda d: d.name)
def test_integers_become_other_dtypes(source, target, tmp_path):
    if source is dtypes.bool_:
        values = np.array([True, False])
    else:
        most = np.iinfo(source.numpy)
        values = np.array([0, 1, 100, most.max, most.min, most.max - 1, most.min + 200], source.numpy)
    same("cast", [values], tmp_path, dtype=target)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("op", ["reduce_max", "reduce_min"])
def test_extremes_keep_nan(op, name, tmp_path):
    rows = np.array([[1, NAN, 3], [NAN, 1, 2], [1, 2, NAN], [INF, 1, -INF], [2, -5, 7]], name)
    same(op, [rows], tmp_path, dims=(1,))
    same(op, [rows], tmp_path, dims=(0,))


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("op", ["argmax", "argmin"])
def test_the_first_extreme_and_the_first_nan(op, name, tmp_path):
    rows = np.array([[1, NAN, NAN], [3, 1, 3], [1, 2, NAN], [INF, NAN, INF], [-5, -5, 7]], name)
    same(op, [rows], tmp_path, dim=1)


@pytest.mark.parametrize("descending", [False, True])
def test_sorting_keeps_the_order_of_equal_elements_and_nan_is_largest(descending, tmp_path):
    rows = np.array([[3, 1, 3, 1, 2], [1, NAN, 0, NAN, -INF], [0.0, 5, 5, 0, 5]], np.float32)
    same("sort", [rows], tmp_path, dim=1, descending=descending)
    same("sort", [rows], tmp_path, dim=1, descending=descending, count=3)


@pytest.mark.parametrize("dtype", [*INTEGERS, dtypes.bool_], ids=lambda d: d.name)
def test_sorting_and_searching_of_integers(dtype, tmp_path):
    if dtype is dtypes.bool_:
        rows = np.array([[True, False, True], [False, False, True]])
    else:
        most = np.iinfo(dtype.numpy)
        rows = np.array([[1, most.max, most.min], [most.max, 2, most.max]], dtype.numpy)
    same("sort", [rows], tmp_path, dim=1, descending=True)
    same("argmax", [rows], tmp_path, dim=1)
    same("reduce_max", [rows], tmp_path, dims=(1,))
    same("reduce_min", [rows], tmp_path, dims=(1,))


@pytest.mark.parametrize("op", ["cummax", "cummin"])
def test_running_extremes_keep_nan(op, tmp_path):
    rows = np.array([[1, 3, 3, 2, NAN, 9], [NAN, 1, 2, 3, NAN, 0]], np.float32)
    same(op, [rows], tmp_path, dim=1)


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (1000,)])
def test_random_bits_are_the_same_bits(shape, tmp_path):
    for key in ([0, 0], [7, 123], [-1, -(2**63)], [2**62 + 5, 2**40 + 3]):
        same("random_bits", [np.array(key, np.int64)], tmp_path, shape=shape)


@pytest.mark.parametrize("op", ["reduce_any", "reduce_all"])
def test_of_no_elements(op, tmp_path):
    same(op, [np.zeros((3, 0), np.bool_)], tmp_path, dims=(1,))
    same("reduce_sum", [np.zeros((3, 0), np.float32)], tmp_path, dims=(1,))
    same("concat", [np.zeros((3, 0), np.float32), np.ones((3, 2), np.float32)], tmp_path, dim=1)
    same("reshape", [np.zeros((3, 0), np.float32)], tmp_path, shape=(0, 7))
