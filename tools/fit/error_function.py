"""Tables of erf, erfc and their inverses."""

from mpmath import mp, mpf

from tools.fit.tables import Tables


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
