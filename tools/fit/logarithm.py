"""Tables of log, log2, log10 and log1p on [√½, √2]."""

from mpmath import mp, mpf

from tools.fit.tables import Tables


def _tail(f: mpf) -> mpf:
    """(log(1 + f) - f)/f²."""
    if abs(f) < mpf(10) ** -15:
        return -mpf(1) / 2 + f / 3 - f**2 / 4
    return (mp.log1p(f) - f) / f**2


def _odd(s: mpf) -> mpf:
    """(2·atanh(s)/s - 2)/s² for s > 0."""
    if s < mpf(10) ** -15:
        return mpf(2) / 3 + 2 * s**2 / 5
    return (2 * mp.atanh(s) / s - 2) / s**2


def tables(t: Tables) -> None:
    root = mp.sqrt(2)
    low, high = (1 / root - 1) * mpf("1.0001"), (root - 1) * mpf("1.0001")
    weight = lambda f: abs(f**2 / mp.log1p(f)) if f else mpf(0)  # noqa: E731
    what = "(log(1+f) - f)/f², error of log(1+f)"
    t.polynomial("LOG_F32", what, _tail, low, high, range(9), "f32", weight)
    # log2 and log10 of 1+f: c·f + f²·P, c = 1/ln(base) in two parts.
    for name, base in (("LOG2", mpf(2)), ("LOG10", mpf(10))):
        tail = lambda f, base=base: _tail(f) / mp.log(base)  # noqa: E731
        scaled = lambda f, base=base: weight(f) * mp.log(base)  # noqa: E731
        what = f"(log(1+f) - f)/f²/ln {int(base)}, error of log(1+f)"
        t.polynomial(f"{name}_F32", what, tail, low, high, range(9), "f32", scaled)
    reach = (root - 1) / (root + 1) * mpf("1.0001")
    weight = lambda s: s**3 / mp.atanh(s) / 2 if s else mpf(0)  # noqa: E731
    what = "(2 atanh(s)/s - 2)/s² in s², error of 2 atanh(s)"
    square = lambda s: s**2  # noqa: E731
    t.polynomial("LOG_F64", what, _odd, 0, reach, range(7), "f64", weight, square)
    t.put("SQRT_HALF", float(1 / root), "√½")
    ln2, ln10 = mp.log(2), mp.log(10)
    t.split("LN2_F32", ln2, (15, 24), "ln 2")
    t.split("LN2_F64", ln2, (41, 53), "ln 2")
    t.split("LOG10_2_F32", ln2 / ln10, (15, 24), "log10 2")
    t.split("LOG10_2_F64", ln2 / ln10, (41, 53), "log10 2")
    t.split("LOG2E_F32", 1 / ln2, (24, 24), "1/ln 2")
    t.split("LOG2E_F64", 1 / ln2, (53, 53), "1/ln 2")
    t.split("LOG10E_F32", 1 / ln10, (24, 24), "1/ln 10")
    t.split("LOG10E_F64", 1 / ln10, (53, 53), "1/ln 10")
