"""What each function of vecmath must return: mpmath's value, and where to look.

A `Case` names the reference in arbitrary precision, the arguments at which float64 is compared (as
samplers below), an independent float64 function for float32 where NumPy has one (else our own
float64, itself held against mpmath), and where a bound in ulp is measured against more than the
result: `floor(*x)` is the least magnitude that an error is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mpmath import mp, mpf

Samples = tuple[np.ndarray, ...]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def stratified(count: int, low: int = -1074, high: int = 1023, seed: int = 1) -> np.ndarray:
    """Random bits with exponents evenly from 2^low to 2^high, both signs, subnormals included."""
    r = rng(seed)
    magnitude = np.ldexp(r.uniform(1, 2, count), r.integers(low, high + 1, count))
    return np.where(r.random(count) < 0.5, -magnitude, magnitude)


def around(*points: float, count: int = 40) -> np.ndarray:
    """Arguments close to critical points, at distances from 2^-50 to 2^-2."""
    distances = stratified(count, -50, -2, 2)
    return np.concatenate([p + distances * max(abs(p), 1) for p in points])


def uniform(*ranges: tuple[float, float], count: int = 700) -> np.ndarray:
    return np.concatenate([rng(k).uniform(lo, hi, count) for k, (lo, hi) in enumerate(ranges)])


def spread(*parts: np.ndarray) -> Samples:
    return (np.concatenate(parts),)


@dataclass(frozen=True)
class Case:
    reference: Callable[..., mpf]
    samples: Callable[[], Samples]
    numpy: Callable[..., np.ndarray] | None = None
    floor: Callable[..., mpf] | None = None


def within(f: Callable[[mpf], mpf], low: float, high: float = float("inf")) -> Callable:
    """f on [low, high], NaN elsewhere."""
    return lambda x: f(x) if low <= x <= high else mp.nan


def held(f: Callable[[mpf], mpf], low: float, high: float) -> Callable:
    """f with its argument held between bounds beyond which the result is 0, constant or infinite."""
    return lambda x: f(min(max(x, mpf(low)), mpf(high)))


def precise(f: Callable[..., mpf], bits: int) -> Callable:
    """f computed with more bits (huge angles, cancellation)."""

    def g(*x: mpf) -> mpf:
        with mp.workprec(bits):
            return f(*x)

    return g


def pole(f: Callable[[mpf], mpf], at_zero: float, at_negative: float) -> Callable:
    """f with values at 0 and at the negative integers."""

    def g(x: mpf) -> mpf:
        if x == 0:
            return mpf(at_zero)
        return mpf(at_negative) if x < 0 and x == mp.floor(x) else f(x)

    return g


def log_gamma(x: mpf) -> mpf:
    if x > 0:
        return mp.loggamma(x)
    return mp.log(mp.pi / abs(x * mp.sinpi(x))) - mp.loggamma(-x)


def upper_quantile(q: mpf) -> mpf:
    """z with P(Z > z) = q ≤ ½, by Newton's method on the logarithm."""
    target = mp.log(2 * q)
    z = mp.sqrt(max(-mp.log(q), mpf(1) / 2))
    for _ in range(60):
        e = mp.erfc(z)
        step = (mp.log(e) - target) * e / (-2 * mp.exp(-z * z) / mp.sqrt(mp.pi))
        z -= step
        if abs(step) < mpf(10) ** -40:
            break
    return z * mp.sqrt(2)


def quantile(p: mpf) -> mpf:
    if not 0 <= p <= 1:
        return mp.nan
    if p in (0, 1):
        return mp.inf if p else -mp.inf
    if mpf("0.1") < p < mpf("0.9"):
        return mp.sqrt(2) * mp.erfinv(2 * p - 1)
    return -upper_quantile(p) if p < 0.5 else upper_quantile(1 - p)


def normal(x: mpf) -> mpf:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def log_normal(x: mpf) -> mpf:
    return mp.log(normal(x)) if x < 10 else mp.log1p(-normal(-min(x, mpf(60))))


def hurwitz(s: mpf, q: mpf) -> mpf:
    """ζ(s, q) by sixty terms and the Euler-Maclaurin formula (mpmath's own loses digits)."""
    if q <= 0 and q == mp.floor(q):
        return mp.inf
    total, n = mpf(0), 0
    while n < 60 or q + n < 60:
        base = q + n
        total += mp.power(abs(base), -s) * (-1 if base < 0 and s % 2 == 1 else 1)
        n += 1
    w = q + n
    total += w ** (1 - s) / (s - 1) + w**-s / 2
    factor = s * w ** (-s - 1)
    for j in range(1, 40):
        total += mp.bernoulli(2 * j) / mp.factorial(2 * j) * factor
        factor *= (s + 2 * j - 1) * (s + 2 * j) / w**2
    return total


def lower_gamma(a: mpf, x: mpf) -> mpf:
    return mp.gammainc(a, 0, x, regularized=True)


def upper_gamma(a: mpf, x: mpf) -> mpf:
    return mp.gammainc(a, x, mp.inf, regularized=True)


def with_exponent(f: Callable[[mpf, mpf], mpf]) -> Callable[[mpf, mpf], mpf]:
    """A floor that grows as the result is a higher power of e^-1: its exponent's error counts."""

    def floor(a: mpf, x: mpf) -> mpf:
        y = f(a, x)
        return y * (1 - mp.log(y) / 8) if y > 0 else mpf(0)

    return floor


def python_remainder(x: mpf, y: mpf) -> mpf:
    return mp.nan if y == 0 else x - y * mp.floor(x / y)


def c_remainder(x: mpf, y: mpf) -> mpf:
    if y == 0:
        return mp.nan
    r = abs(x) - abs(y) * mp.floor(abs(x) / abs(y))
    return -r if x < 0 else r


def amplitude(x: mpf) -> mpf:
    """J and Y oscillate with this amplitude: errors near zeros count against a 16th of it."""
    return mp.sqrt(2 / (mp.pi * max(abs(x), mpf(1)))) / 16


def airy_amplitude(x: mpf) -> mpf:
    """The same for the Airy function of negative arguments."""
    return mpf(0) if x > 0 else 1 / (mp.sqrt(mp.pi) * max(abs(x), mpf(1)) ** mpf("0.25")) / 16


def second_kind(order: int, scaled: bool) -> Callable[[mpf], mpf]:
    """K, infinite at 0; times e^x."""

    def k(x: mpf) -> mpf:
        if x == 0:
            return mp.inf
        if x > 1e6:
            return mp.sqrt(mp.pi / (2 * x)) * (1 + mpf(4 * order - 1) / (8 * x)) if scaled else mpf(0)
        return mp.besselk(order, x) * (mp.exp(x) if scaled else 1)

    return k


def asymptotic_erfcx(x: mpf) -> mpf:
    return (1 - 1 / (2 * x * x) + 3 / (4 * x**4)) / (x * mp.sqrt(mp.pi))


def _angles() -> Samples:
    multiples = np.arange(1, 400) * (np.pi / 4)
    return spread(
        stratified(700), uniform((-4, 4), (-100, 100)), multiples, np.array([1e22, 6.0e5, 2.0**20])
    )


def _pairs() -> Samples:
    s, t = stratified(500, seed=3), stratified(500, seed=4)
    near = uniform((-2, 2), (-2, 2), count=400)
    ratio = np.clip(rng(9).permutation(stratified(500, -4, 4)), -16, 16)
    with np.errstate(over="ignore", under="ignore"):
        close = s * ratio
    keep = np.isfinite(close) & (close != 0)
    return (
        np.concatenate([near, s, s[keep]]),
        np.concatenate([rng(8).permutation(near), t, close[keep]]),
    )


def _powers() -> Samples:
    base = np.abs(stratified(700, seed=5))
    exponent = rng(6).uniform(-1, 1, 700) * 740 / np.abs(np.log(base))
    close = rng(7).uniform(0.5, 2, 700)
    return (
        np.concatenate([base, close, -close[:200], close]),
        np.concatenate(
            [
                exponent,
                rng(8).uniform(-1100, 1100, 700),
                np.round(rng(8).uniform(-40, 40, 200)),
                rng(10).uniform(-3, 3, 700),
            ]
        ),
    )


def _gamma_pairs(count: int = 70) -> Samples:
    """(a, x) in every region: moderate, small, near the line x = a, large."""
    a = [
        rng(1).uniform(0.05, 30, count),
        10 ** rng(2).uniform(-6, 1, count),
        rng(3).uniform(1, 300, count),
        10 ** rng(4).uniform(1.4, 5, count),
    ]
    x = [
        a[0] * rng(5).uniform(0.1, 2.5, count),
        10 ** rng(6).uniform(-6, 1.5, count),
        np.abs(a[2] + rng(7).normal(size=count) * 3 * np.sqrt(a[2])),
        a[3] + rng(8).normal(size=count) * 5 * np.sqrt(a[3]),
    ]
    return np.concatenate(a), np.abs(np.concatenate(x)) + 1e-30


def _zeta_pairs(count: int = 80) -> Samples:
    s = [
        rng(1).uniform(1.01, 10, count),
        rng(2).integers(2, 12, count).astype(np.float64),
        1 + 10 ** rng(3).uniform(-3, 2, count),
    ]
    q = [
        rng(4).uniform(0.1, 30, count),
        -rng(5).uniform(0, 20, count),
        10 ** rng(6).uniform(-2, 4, count),
    ]
    return np.concatenate(s), np.concatenate(q)


_ALL = lambda: spread(stratified(900), uniform((-1, 1), (-20, 20), (-745, 710)))
_POSITIVE = lambda: spread(
    np.abs(stratified(1500)), uniform((0.3, 3), (0, 100)), np.abs(around(1.0))
)
_UNIT = lambda: spread(
    stratified(700), uniform((-1, 1), (-1, 1)), np.clip(around(1.0, -1.0, 0.5, -0.5), -1, 1)
)
_GAMMA = lambda: spread(
    np.abs(stratified(250, -1000, 900)),
    uniform((0, 20), (-20, 0), (0, 3), count=200),
    np.abs(around(1.0, 2.0, 1.4616321449683622)),
    -around(1.0, 2.0, 3.0, 10.0, count=16),
)
_BESSEL = lambda: spread(
    stratified(60, -60, 12), uniform((-30, 30), (-2, 2), (-500, 500), count=50)
)
_BESSEL_MIXED = lambda: spread(
    stratified(200, -300, 900), uniform((0, 0.6), (0.5, 16), (16, 700), (-2, 0), count=300)
)
_BESSEL_POSITIVE = lambda: (np.abs(_BESSEL()[0]),)

CASES: dict[str, Case] = {
    "exp": Case(held(mp.exp, -2000, 2000), _ALL, np.exp),
    "exp2": Case(held(lambda x: mpf(2) ** x, -3000, 3000), _ALL, np.exp2),
    "expm1": Case(held(mp.expm1, -2000, 2000), _ALL, np.expm1),
    "log": Case(within(mp.log, 0), _POSITIVE, np.log),
    "log2": Case(within(lambda x: mp.log(x) / mp.log(2), 0), _POSITIVE, np.log2),
    "log10": Case(within(lambda x: mp.log(x) / mp.log(10), 0), _POSITIVE, np.log10),
    "log1p": Case(
        within(mp.log1p, -1),
        lambda: spread(stratified(900), uniform((-1, 1), (-1, 3)), around(-1.0, 1.0)),
        np.log1p,
    ),
    "tanh": Case(held(mp.tanh, -60, 60), _ALL, np.tanh),
    "sigmoid": Case(held(lambda x: 1 / (1 + mp.exp(-x)), -2000, 2000), _ALL),
    "erf": Case(held(mp.erf, -30, 30), lambda: spread(stratified(700), uniform((-6, 6), (-1, 1)))),
    "erfc": Case(
        held(mp.erfc, -30, 40), lambda: spread(stratified(500), uniform((-6, 28), (-1, 1)))
    ),
    "erfinv": Case(within(mp.erfinv, -1, 1), lambda: spread(_UNIT()[0][::3])),
    "ndtr": Case(
        held(normal, -60, 30), lambda: spread(stratified(300), uniform((-38, 9), (-1, 1)))
    ),
    "log_ndtr": Case(
        log_normal, lambda: spread(stratified(200, -60, 20), uniform((-38, 20), (-2, 3), count=400))
    ),
    "ndtri": Case(quantile, lambda: (np.abs(_UNIT()[0][::3]),)),
    "sin": Case(precise(mp.sin, 1400), _angles, np.sin),
    "cos": Case(precise(mp.cos, 1400), _angles, np.cos),
    "tan": Case(precise(mp.tan, 1400), _angles, np.tan),
    "asin": Case(within(mp.asin, -1, 1), _UNIT, np.arcsin),
    "acos": Case(within(mp.acos, -1, 1), _UNIT, np.arccos),
    "atan": Case(
        mp.atan,
        lambda: spread(stratified(900), uniform((-4, 4)), around(0.5463, 2.4142)),
        np.arctan,
    ),
    "atan2": Case(mp.atan2, _pairs, np.arctan2),
    "sinh": Case(held(mp.sinh, -2000, 2000), _ALL, np.sinh),
    "cosh": Case(held(mp.cosh, -2000, 2000), _ALL, np.cosh),
    "asinh": Case(mp.asinh, _ALL, np.arcsinh),
    "acosh": Case(within(mp.acosh, 1), lambda: (1 + np.abs(_ALL()[0]),), np.arccosh),
    "atanh": Case(within(mp.atanh, -1, 1), _UNIT, np.arctanh),
    "sinc": Case(mp.sincpi, lambda: spread(stratified(600, -300, 40), uniform((-9, 9)))),
    "sqrt": Case(within(mp.sqrt, 0), _POSITIVE, np.sqrt),
    "rsqrt": Case(within(lambda x: 1 / mp.sqrt(x), 0), _POSITIVE, lambda x: 1 / np.sqrt(x)),
    "pow": Case(mp.power, _powers, np.power),
    "hypot": Case(mp.hypot, _pairs, np.hypot),
    "cbrt": Case(lambda x: mp.sign(x) * mp.cbrt(abs(x)), _ALL, np.cbrt),
    "logaddexp": Case(
        lambda x, y: mp.log(mp.exp(x) + mp.exp(y)),
        lambda: (uniform((-20, 20), (-1, 1)), uniform((-9, 9), (-1, 1))[::-1].copy()),
        np.logaddexp,
        lambda x, y: max(abs(x), abs(y), mpf("0.7")),
    ),
    "xlogy": Case(lambda x, y: x * mp.log(y), lambda: (_ALL()[0][:1500], _POSITIVE()[0][-1500:])),
    "xlog1py": Case(
        lambda x, y: x * mp.log1p(y), lambda: (_ALL()[0][:1500], _POSITIVE()[0][-1500:])
    ),
    "lgamma": Case(
        pole(log_gamma, mp.inf, mp.inf),
        _GAMMA,
        floor=lambda x: mpf(0) if x > 0 else 1 + abs(mp.log(abs(x))),
    ),
    "digamma": Case(
        pole(lambda x: mp.psi(0, x), -mp.inf, mp.nan),
        _GAMMA,
        floor=lambda x: mpf(0) if x > 0 else mpf(4),
    ),
    "trigamma": Case(
        pole(lambda x: mp.psi(1, x), mp.inf, mp.inf),
        lambda: (_GAMMA()[0][np.abs(_GAMMA()[0]) > 1e-150],),
    ),
    "zeta": Case(
        hurwitz,
        _zeta_pairs,
        floor=lambda s, q: abs(q - mp.nint(q)) ** -s if q < 0 else mpf(0),
    ),
    "gammainc": Case(lower_gamma, _gamma_pairs, floor=with_exponent(lower_gamma)),
    "gammaincc": Case(upper_gamma, _gamma_pairs, floor=with_exponent(upper_gamma)),
    "i0": Case(held(lambda x: mp.besseli(0, x), -1500, 1500), _BESSEL),
    "i1": Case(held(lambda x: mp.besseli(1, x), -1500, 1500), _BESSEL),
    "i0e": Case(lambda x: mp.besseli(0, x) * mp.exp(-abs(x)), _BESSEL),
    "i1e": Case(lambda x: mp.besseli(1, x) * mp.exp(-abs(x)), _BESSEL),
    "bessel_j0": Case(lambda x: mp.besselj(0, x), _BESSEL, floor=amplitude),
    "bessel_j1": Case(
        lambda x: mp.besselj(1, x), _BESSEL, floor=lambda x: min(amplitude(x), abs(x) / 4)
    ),
    "bessel_y0": Case(lambda x: mp.bessely(0, x), _BESSEL_POSITIVE, floor=amplitude),
    "bessel_y1": Case(lambda x: mp.bessely(1, x), _BESSEL_POSITIVE, floor=amplitude),
    "modified_bessel_k0": Case(within(second_kind(0, False), 0), _BESSEL_MIXED),
    "modified_bessel_k1": Case(within(second_kind(1, False), 0), _BESSEL_MIXED),
    "scaled_modified_bessel_k0": Case(within(second_kind(0, True), 0), _BESSEL_MIXED),
    "scaled_modified_bessel_k1": Case(within(second_kind(1, True), 0), _BESSEL_MIXED),
    "airy_ai": Case(
        lambda x: mp.airyai(x) if x < 200 else mpf(0),
        lambda: spread(stratified(300, -60, 6), uniform((-40, -8), (-8, 8), (8, 110))),
        floor=airy_amplitude,
    ),
    "erfcx": Case(
        lambda x: mp.exp(x * x) * mp.erfc(x) if x < 1e4 else asymptotic_erfcx(x),
        lambda: spread(stratified(300, -60, 4), uniform((-27, 0), (0, 40), (-1, 1))),
    ),
    "entr": Case(
        lambda x: -x * mp.log(x) if x > 0 else (mpf(0) if x == 0 else -mp.inf),
        lambda: spread(stratified(400), around(1.0)),
        floor=lambda x: abs(x - 1) / 4 if x > 0 else mpf(0),
    ),
    "floor": Case(mp.floor, _ALL, np.floor),
    "ceil": Case(mp.ceil, _ALL, np.ceil),
    "trunc": Case(lambda x: mp.sign(x) * mp.floor(abs(x)), _ALL, np.trunc),
    "round": Case(mp.nint, lambda: spread(_ALL()[0], np.arange(-20, 20) / 2), np.rint),
    "fmod": Case(precise(c_remainder, 2500), _pairs, np.fmod),
    "remainder": Case(precise(python_remainder, 2500), _pairs),
    "copysign": Case(lambda x, y: abs(x) * (1 if y > 0 else -1), _pairs, np.copysign),
}
