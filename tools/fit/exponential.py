"""Tables of exp, exp2 and expm1: e^r and 2^r on half a binade either side of zero."""

from mpmath import mp, mpf

from tools.fit.tables import Tables


def _tail(x: mpf) -> mpf:
    """(e^x - 1 - x)/x²."""
    if abs(x) < mpf(10) ** -12:
        return mpf(1) / 2 + x / 6 + x**2 / 24
    return (mp.expm1(x) - x) / x**2


def tables(t: Tables) -> None:
    ln2 = mp.log(2)
    reach = ln2 / 2 * mpf("1.001")
    weight = lambda x: x**2 / mp.exp(x)  # noqa: E731
    what = "(e^r - 1 - r)/r², error of e^r"
    t.polynomial("EXP_F32", what, _tail, -reach, reach, range(5), "f32", weight)
    t.polynomial("EXP_F64", what, _tail, -reach, reach, range(10), "f64", weight)
    # expm1 near zero needs an error relative to r itself. The interval ends at ln 1.5, where
    # neither e^r - 1 on the one side nor the result on the other crosses a power of two.
    low, high = (mp.log("1.5") - ln2) * mpf("1.002"), mp.log("1.5") * mpf("1.002")
    weight = lambda x: abs(x**2 / mp.expm1(x)) if x else mpf(0)  # noqa: E731
    what = "(e^r - 1 - r)/r², error of e^r - 1"
    t.polynomial("EXPM1_F32", what, _tail, low, high, range(6), "f32", weight)
    t.polynomial("EXPM1_F64", what, _tail, low, high, range(11), "f64", weight)
    t.put("EXPM1_SHIFT", float(mp.log("1.5") / ln2 - mpf(1) / 2), "ln 1.5/ln 2 - 1/2")
    half = mpf("0.5005")
    power = lambda x: (mpf(2) ** x - 1) / x if x else ln2  # noqa: E731
    weight = lambda x: abs(x) / mpf(2) ** x  # noqa: E731
    what = "(2^r - 1)/r, error of 2^r"
    t.polynomial("EXP2_F32", what, power, -half, half, range(7), "f32", weight)
    t.polynomial("EXP2_F64", what, power, -half, half, range(11), "f64", weight)
    t.split("LN2_F32", ln2, (15, 24), "ln 2")
    t.split("LN2_F64", ln2, (41, 53), "ln 2")
    t.put("LOG2E", float(1 / ln2), "1/ln 2")
