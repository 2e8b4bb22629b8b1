"""The vector maths: error bounds, special values, independence of lanes, no undefined symbols.

Bounds stand in `vecmath.ULP`, references and arguments in `vecmath_reference`. float64 is held
against mpmath; float32 against float64 (NumPy's where there is one) at a million bit patterns, all
exponents and both signs. `python -m tools.fit.sweep` goes over all 2^32 of them.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import platform
from pathlib import Path

import numpy as np
import pytest
from mpmath import mp, mpf
from object_symbols import undefined_symbols
from vecmath_reference import CASES

from fanal.backends.native import jit
from fanal.backends.native.emit import Builder
from fanal.backends.native.target import TARGETS, X86_64, Target, host_target
from fanal.backends.native.vecmath import FUNCTIONS, ULP
from fanal.backends.native.vecmath.loop import NUMPY, compile_loop, loop_ir

BITS = {"float": 24, "double": 53}
LEAST = {"float": -149, "double": -1074}  # exponent of the smallest subnormal number
IS_X86 = platform.machine() in ("x86_64", "AMD64")
# The host's own level, and the level without fused multiply-add where this processor runs it.
LEVELS = ["host", "x86-64"] if IS_X86 and host_target() != X86_64 else ["host"]
STRIDE = 4099  # through the bit patterns of float32


def target_of(level: str) -> Target:
    return host_target() if level == "host" else TARGETS[level]


def inputs_of(name: str) -> int:
    return len(inspect.signature(FUNCTIONS[name]).parameters) - 1


@functools.cache
def compiled(name: str, type_: str, level: str = "host", lanes: int | None = None):
    target = target_of(level)
    return compile_loop(FUNCTIONS[name], type_, inputs_of(name), lanes, target)


def bound(name: str, type_: str, level: str) -> float:
    return ULP[name][type_ if target_of(level).fma else f"{type_}_no_fma"]


@functools.cache
def exact_values(name: str) -> tuple[tuple[np.ndarray, ...], list[mpf], list[mpf]]:
    """(arguments, results by mpmath, floors of the ulp) of a case's float64 samples."""
    case = CASES[name]
    arrays = case.samples()
    with mp.workprec(240):
        rows = [[mpf(float(v)) for v in row] for row in zip(*arrays, strict=True)]
        values = [case.reference(*row) for row in rows]
        values = [mp.nan if isinstance(v, mp.mpc) else mpf(v) for v in values]
        floors = [case.floor(*row) if case.floor else mpf(0) for row in rows]
    return arrays, values, floors


def ulps(got: float, exact: mpf, floor: mpf) -> float:
    """Distance in float64 ulps; an infinite result stands for 2^1024."""
    if mp.isnan(exact) or math.isnan(got):
        return 0.0 if mp.isnan(exact) and math.isnan(got) else math.inf
    if mp.isinf(exact) or math.isinf(got):
        if mp.isinf(exact) and math.isinf(got):
            return 0.0 if (got > 0) == (exact > 0) else math.inf
        huge = mpf(2) ** 1024
        got = mp.sign(got) * min(abs(mpf(got)), huge)
        exact = mp.sign(exact) * min(abs(exact), huge)
    with mp.workprec(240):
        size = max(abs(exact), floor)
        exponent = mp.frexp(size)[1] - 53 if size else LEAST["double"]
        return float(abs(mpf(got) - exact) / mpf(2) ** max(exponent, LEAST["double"]))


def ulps32(got: np.ndarray, exact: np.ndarray, floor: np.ndarray | float = 0.0) -> np.ndarray:
    """The same for float32 against float64 references."""
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(exact), floor)
        exponent = np.maximum(np.frexp(np.minimum(size, 2.0**128))[1] - 24, LEAST["float"])
        a = np.clip(got.astype(np.float64), -(2.0**128), 2.0**128)
        b = np.clip(exact, -(2.0**128), 2.0**128)
        distance = np.abs(a - b) / np.ldexp(1.0, exponent)
    distance = np.where(np.isnan(got) & np.isnan(exact), 0.0, distance)
    return np.where(np.isnan(distance), np.inf, distance)


def show(name: str, worst: float, x: object, got: float, exact: float, limit: float) -> str:
    return f"[{name}] {worst:.3f} ulp at {x}: got {got!r}, exact {exact!r}; bound {limit}"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", list(CASES))
def test_double_is_within_its_bound(name: str, level: str) -> None:
    arrays, exact, floors = exact_values(name)
    got = compiled(name, "double", level)(*arrays)
    errors = [ulps(float(g), e, f) for g, e, f in zip(got, exact, floors, strict=True)]
    at = int(np.argmax(errors))
    limit = bound(name, "double", level)
    x = [float(a[at]) for a in arrays]
    assert errors[at] <= limit, show(name, errors[at], x, got[at], float(exact[at]), limit)
    signs = [g == 0 and e != 0 and (e < 0) != bool(np.signbit(g)) for g, e in zip(got, exact)]
    assert not any(signs), "a result that underflows to zero keeps its sign"


@functools.cache
def float_arguments(inputs: int) -> tuple[np.ndarray, ...]:
    """Bit patterns of float32 at a stride; for two inputs random patterns and moderate numbers."""
    if inputs == 1:
        patterns = np.arange(0, 1 << 32, STRIDE, dtype=np.uint64).astype(np.uint32)
        return (patterns.view(np.float32),)
    r = np.random.default_rng(11)
    patterns = r.integers(0, 1 << 32, (2, 150_000), dtype=np.uint64).astype(np.uint32)
    with np.errstate(over="ignore"):
        moderate = (r.normal(size=(2, 150_000)) * 2.0 ** r.integers(-4, 5, 150_000)).astype("f4")
    joined = np.concatenate([patterns.view(np.float32), moderate], axis=1)
    return tuple(np.ascontiguousarray(row) for row in joined)


@functools.cache
def wide_values(name: str) -> np.ndarray:
    reference = CASES[name].numpy or compiled(name, "double")
    with np.errstate(all="ignore"):
        arrays = [a.astype(np.float64) for a in float_arguments(inputs_of(name))]
        return reference(*arrays)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", list(CASES))
def test_float_is_within_its_bound(name: str, level: str) -> None:
    arrays = float_arguments(inputs_of(name))
    got, exact = compiled(name, "float", level)(*arrays), wide_values(name)
    floor: np.ndarray | float = 0.0
    if name == "logaddexp":
        with np.errstate(invalid="ignore"):
            floor = np.maximum(np.abs(arrays[0]), np.abs(arrays[1])).astype(np.float64)
    errors = ulps32(got, exact, floor)
    at = int(np.argmax(errors))
    limit = bound(name, "float", level)
    x = [float(a[at]) for a in arrays]
    assert errors[at] <= limit, show(name, errors[at], x, got[at], exact[at], limit)
    wrong = (np.signbit(got) != np.signbit(exact)) & ~np.isnan(exact)
    assert not wrong.any(), f"[{name}] sign of {got[wrong][:3]} at {[a[wrong][:3] for a in arrays]}"


def special_numbers(type_: str) -> np.ndarray:
    info = np.finfo(NUMPY[type_])
    positive = [0.0, info.smallest_subnormal, info.tiny, info.eps, 0.5, 1.0, 1.5, 2.0, 3.0]
    positive += [2.5, 4.0, 100.0, 2.0**23, 2.0**23 + 1, 2.0**24, 2.0**52, 2.0**53, info.max, np.inf]
    values = np.array(positive, NUMPY[type_])
    return np.concatenate([values, -values, np.array([np.nan], NUMPY[type_])])


# Results at (0, -0, inf, -inf); everything returns NaN for NaN.
_N, _I, _Z = math.nan, math.inf, 0.0
EDGES: dict[str, tuple[float, float, float, float]] = {
    "exp": (1, 1, _I, 0), "exp2": (1, 1, _I, 0), "expm1": (0, -_Z, _I, -1),
    "log": (-_I, -_I, _I, _N), "log2": (-_I, -_I, _I, _N), "log10": (-_I, -_I, _I, _N),
    "log1p": (0, -_Z, _I, _N), "tanh": (0, -_Z, 1, -1), "sigmoid": (0.5, 0.5, 1, 0),
    "erf": (0, -_Z, 1, -1), "erfc": (1, 1, 0, 2), "erfinv": (0, -_Z, _N, _N),
    "ndtr": (0.5, 0.5, 1, 0), "log_ndtr": (math.log(0.5), math.log(0.5), -_Z, -_I),
    "ndtri": (-_I, -_I, _N, _N), "sin": (0, -_Z, _N, _N), "cos": (1, 1, _N, _N),
    "tan": (0, -_Z, _N, _N), "asin": (0, -_Z, _N, _N), "acos": (math.pi / 2, math.pi / 2, _N, _N),
    "atan": (0, -_Z, math.pi / 2, -math.pi / 2), "sinh": (0, -_Z, _I, -_I),
    "cosh": (1, 1, _I, _I), "asinh": (0, -_Z, _I, -_I), "acosh": (_N, _N, _I, _N),
    "atanh": (0, -_Z, _N, _N), "sinc": (1, 1, _N, _N), "sqrt": (0, -_Z, _I, _N),
    "rsqrt": (_I, -_I, 0, _N), "cbrt": (0, -_Z, _I, -_I), "lgamma": (_I, _I, _I, _I),
    "digamma": (-_I, _I, _I, _N), "trigamma": (_I, _I, 0, _I), "i0": (1, 1, _I, _I),
    "i0e": (1, 1, 0, 0), "i1": (0, -_Z, _I, -_I), "i1e": (0, -_Z, 0, -_Z),
    "bessel_j0": (1, 1, 0, 0), "bessel_j1": (0, -_Z, 0, -_Z), "bessel_y0": (-_I, -_I, 0, _N),
    "bessel_y1": (-_I, -_I, 0, _N), "floor": (0, -_Z, _I, -_I), "ceil": (0, -_Z, _I, -_I),
    "trunc": (0, -_Z, _I, -_I), "round": (0, -_Z, _I, -_I),
}  # fmt: skip


def same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Equal with the sign of zero, NaN equal to NaN."""
    return ((a == b) & (np.signbit(a) == np.signbit(b))) | (np.isnan(a) & np.isnan(b))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("type_", ["float", "double"])
def test_edges(type_: str, level: str) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan], NUMPY[type_])
    for name, values in EDGES.items():
        got = compiled(name, type_, level)(x)
        expected = np.array([*values, np.nan, np.nan], NUMPY[type_])
        assert same(got, expected).all(), f"[{name}] {type_}: got {got}, expected {expected}"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("type_", ["float", "double"])
def test_special_values_of_two_arguments(type_: str, level: str) -> None:
    """C99's tables, which NumPy follows, for every pair of special numbers."""
    s = special_numbers(type_)
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(s, s))
    numpy = {
        "pow": np.power, "atan2": np.arctan2, "fmod": np.fmod, "hypot": np.hypot,
        "copysign": np.copysign, "nextafter": np.nextafter, "logaddexp": np.logaddexp,
    }  # fmt: skip
    for name, reference in numpy.items():
        with np.errstate(all="ignore"):
            expected = reference(x.astype(np.float64), y.astype(np.float64)).astype(NUMPY[type_])
            if name == "nextafter":
                expected = reference(x, y)
        got = compiled(name, type_, level)(x, y)
        with np.errstate(all="ignore"):
            close = np.isfinite(expected) & (np.abs(got - expected) <= np.abs(expected) * 1e-6)
        right = same(got, expected) | (close & (np.signbit(got) == np.signbit(expected)))
        where = np.flatnonzero(~right)[:4]
        assert right.all(), f"[{name}] {[(x[i], y[i], got[i], expected[i]) for i in where]}"


@pytest.mark.parametrize("type_", ["float", "double"])
def test_products_with_logarithms_at_zero(type_: str) -> None:
    x = np.array([0, 0, 0, 0, 2, np.nan], NUMPY[type_])
    y = np.array([0, np.nan, -1, np.inf, 0, 1], NUMPY[type_])
    expected = np.array([0, np.nan, 0, 0, -np.inf, np.nan], NUMPY[type_])
    assert same(compiled("xlogy", type_)(x, y), expected).all()
    expected = np.array([0, np.nan, 0, 0, 0, np.nan], NUMPY[type_])
    assert same(compiled("xlog1py", type_)(x, y), expected).all()


@pytest.mark.parametrize("type_", ["float", "double"])
def test_special_values_of_incomplete_gamma_and_zeta(type_: str) -> None:
    a = np.array([0, 1, 1, np.inf, np.inf, 0, -1, 1, np.nan, 1], NUMPY[type_])
    x = np.array([1, 0, np.inf, 1, np.inf, 0, 1, -1, 1, np.nan], NUMPY[type_])
    lower = np.array([1, 0, 1, 0, *[np.nan] * 6], NUMPY[type_])
    upper = np.array([0, 1, 0, 1, *[np.nan] * 6], NUMPY[type_])
    assert same(compiled("gammainc", type_)(a, x), lower).all()
    assert same(compiled("gammaincc", type_)(a, x), upper).all()
    s = np.array([1, 0.5, 2, 2, 2.5, 3, np.nan, 2, np.inf, 2], NUMPY[type_])
    q = np.array([2, 2, 0, -3, -0.5, np.inf, 1, np.nan, 2, 1], NUMPY[type_])
    expected = np.array([np.inf, np.nan, np.inf, np.inf, np.nan, 0, np.nan, np.nan, 0, 0])
    expected[-1] = np.pi**2 / 6
    got = compiled("zeta", type_)(s, q)
    assert same(got[:-1], expected[:-1].astype(NUMPY[type_])).all()
    assert abs(got[-1] - expected[-1]) < 1e-6


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("type_", ["float", "double"])
def test_powers_of_two_and_parts(type_: str, level: str) -> None:
    values = np.concatenate([special_numbers(type_), np.random.default_rng(0).normal(size=99)])
    values = values.astype(NUMPY[type_])
    mantissa, exponent = np.frexp(values)
    assert same(compiled("frexp_mantissa", type_, level)(values), mantissa).all()
    finite = np.isfinite(values)
    got = compiled("frexp_exponent", type_, level)(values)
    assert (got[finite] == exponent[finite]).all()
    for n in (0, 1, -1, 30, -30, 126, -126, 149, -149, 300, -300, 1023, -1074, 2100, -2100):
        with np.errstate(all="ignore"):
            expected = np.ldexp(values, n)
        got = compiled("ldexp", type_, level)(values, np.full_like(values, n))
        assert same(got, expected).all(), n


@pytest.mark.parametrize("type_", ["float", "double"])
def test_remainder_is_pythons(type_: str) -> None:
    s = special_numbers(type_)
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(s, s))
    with np.errstate(all="ignore"):
        exact = np.fmod(x, y)
        expected = np.where((exact != 0) & ((exact < 0) != (y < 0)), exact + y, exact)
    assert same(compiled("remainder", type_)(x, y), expected).all()


@pytest.mark.parametrize("type_", ["float", "double"])
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_lanes_do_not_matter(name: str, type_: str) -> None:
    r = np.random.default_rng(5)
    s = np.concatenate([special_numbers(type_), r.normal(size=41) * 2.0 ** r.integers(-9, 30, 41)])
    s = np.resize(s.astype(NUMPY[type_]), 96)
    arrays = [np.ascontiguousarray(r.permutation(s)) for _ in range(inputs_of(name))]
    integer = {"float": np.uint32, "double": np.uint64}[type_]
    results = [compiled(name, type_, "host", lanes)(*arrays) for lanes in (1, 2, 4, 8, 16)]
    results.append(compiled(name, type_, "host", 4)(*[np.roll(a, 1) for a in arrays]))
    results[-1] = np.roll(results[-1], -1)
    for other in results[1:]:
        equal = results[0].view(integer) == other.view(integer)
        equal |= np.isnan(results[0]) & np.isnan(other)
        assert equal.all(), f"[{name}] {[a[~equal][:3] for a in arrays]}"


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
def test_no_undefined_symbols(target: Target) -> None:
    needed = {}
    for name, function in FUNCTIONS.items():
        for type_, bits in (("float", 32), ("double", 64)):
            lanes = target.lanes(bits)
            ir = loop_ir(function, type_, inputs_of(name), lanes, target)
            symbols = undefined_symbols(jit.compile_ir(ir, target))
            if symbols:
                needed[name, type_] = symbols
    assert not needed


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
def test_undefined_symbols_are_seen(target: Target) -> None:
    """The reader itself: LLVM's own power is a call everywhere."""
    b = Builder(target, "f", [("ptr", "p")])
    x = b.load("double", b.arg("p"))
    b.store(b.intrinsic("pow", x, x), b.arg("p"))
    b.ret()
    assert undefined_symbols(jit.compile_ir(b.finish(), target)) == {"pow"}


def test_every_function_has_a_bound_and_a_test() -> None:
    parts = {"nextafter", "ldexp", "frexp_mantissa", "frexp_exponent"}
    assert set(FUNCTIONS) == set(ULP)
    assert set(CASES) == set(FUNCTIONS) - parts


def test_coefficients_are_what_the_fit_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quickest topic, fitted again: the same text as the file's."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    topic = "power"
    fitted = importlib.import_module("tools.fit.tables").Tables(topic)
    with mp.workdps(60):
        importlib.import_module(f"tools.fit.{topic}").tables(fitted)
    assert fitted.text() == fitted.path.read_text()
