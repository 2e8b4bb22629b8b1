"""Tables of erf, erfc and their inverses."""

import functools

from mpmath import mp, mpf

from tools.fit.tables import Tables, geometric_edges

CENTRE = 3  # erfcx is a polynomial in t = (x - 3)/(x + 3)


def _scaled_erfc(t: mpf) -> mpf:
    """(1 + 2x)·e^x²·erfc(x) with x = 3(1+t)/(1-t): between 1 and 1.13 for all x ≥ 0."""
    if t == 1:
        return 2 / mp.sqrt(mp.pi)
    x = CENTRE * (1 + t) / (1 - t)
    if x < 100:
        return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)
    total, term = mpf(0), mpf(1)  # the asymptotic series
    for n in range(30):
        total += term
        term *= -(2 * n + 1) / (2 * x * x)
    return (1 + 2 * x) * total / (x * mp.sqrt(mp.pi))


@functools.cache
def _upper_quantile(w: mpf) -> mpf:
    """z with P(Z > z) = e^-w² for a standard normal Z: Newton's method on the logarithm."""
    target = mp.log(2) - w * w
    z = w
    for _ in range(100):
        e = mp.erfc(z)
        step = (mp.log(e) - target) * e / (-2 * mp.exp(-z * z) / mp.sqrt(mp.pi))
        z -= step
        if abs(step) < mpf(10) ** -50:
            break
    return z * mp.sqrt(2)


@functools.cache
def _central_quantile(y: mpf) -> mpf:
    """Φ⁻¹(½ + y)/y."""
    if y < mpf(10) ** -20:
        return mp.sqrt(2 * mp.pi)
    return mp.sqrt(2) * mp.erfinv(2 * y) / y


def tables(t: Tables) -> None:
    square = lambda x: x**2  # noqa: E731

    def near(x: mpf) -> mpf:
        return mp.erf(x) / x - 1 if x else 2 / mp.sqrt(mp.pi) - 1

    def log_erfc(x: mpf) -> mpf:
        return mp.log(mp.erfc(x), 2)

    weight = lambda x: x / mp.erf(x) if x else mpf(1)  # noqa: E731
    what = "erf(x)/x - 1 in x², error of erf"
    reach = mpf("0.9")
    t.put("ERF_REACH", float(reach), "where the polynomial ends")
    t.polynomial("ERF_F32", what, near, 0, reach, range(7), "f32", weight, square)
    t.polynomial("ERF_F64", what, near, 0, reach, range(12), "f64", weight, square)
    weight = lambda x: mp.erfc(x) * mp.log(2) / mp.erf(x)  # noqa: E731
    what = "log2(erfc(x)), error of erf"
    t.polynomial("LOG_ERFC_F32", what, log_erfc, reach, mpf("3.95"), range(8), "f32", weight)
    t.polynomial("LOG_ERFC_F64", what, log_erfc, reach, mpf(6), range(19), "f64", weight)
    half = mpf("0.5005")
    power = lambda x: (mpf(2) ** x - 1) / x if x else mp.log(2)  # noqa: E731
    weight = lambda x: abs(x) / mpf(2) ** x  # noqa: E731
    what = "(2^r - 1)/r, error of 2^r"
    t.polynomial("EXP2_F32", what, power, -half, half, range(6), "f32", weight)
    low = mpf(0.5 - CENTRE) / (0.5 + CENTRE)
    what = "(1+2x)·e^x²·erfc(x) - 1 in t = (x-3)/(x+3), error of erfc"
    less = lambda t: _scaled_erfc(t) - 1  # noqa: E731
    weight = lambda t: 1 / _scaled_erfc(t)  # noqa: E731
    t.polynomial("ERFCX_F64", what, less, low, 1, range(24), "nearest", weight, density=12)
    t.polynomial("ERFCX_SHORT", what, less, low, 1, range(13), "nearest", weight, density=12)
    reach = mpf("0.376")
    what = "Φ⁻¹(½+y)/y in y²"
    t.polynomial(
        "QUANTILE_F64", what, _central_quantile, 0, reach, range(22), "nearest", None, square, 12
    )
    t.polynomial(
        "QUANTILE_SHORT", what, _central_quantile, 0, reach, range(13), "nearest", None, square, 12
    )
    edges = [e for e in geometric_edges(1, 32, 8) if mpf("1.2") < e <= 28]
    t.pieces("QUANTILE_TAIL", "-Φ⁻¹(e^-w²)", _upper_quantile, edges, 11)
    t.split("SQRT_2PI", mp.sqrt(2 * mp.pi), (53, 53), "√2π")
