"""Tables of pow: log2 and 2^x to 40 bits in double, log2 to 66 bits in pairs."""

from mpmath import mp, mpf

from tools.fit.tables import Tables


def tables(t: Tables) -> None:
    square = lambda x: x**2  # noqa: E731
    reach = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1) * mpf("1.0001")
    ln2 = mp.log(2)
    tiny = mpf(10) ** -8

    def log2(s: mpf) -> mpf:
        return 2 * mp.atanh(s) / s / ln2 if s else 2 / ln2

    what = "log2((1+s)/(1-s))/s in s², error of the logarithm"
    t.polynomial("LOG2_SHORT", what, log2, 0, reach, range(5), "f64", None, square)
    power = lambda x: mpf(2) ** x  # noqa: E731
    t.polynomial("EXP2_SHORT", "2^r", power, mpf("-0.5001"), mpf("0.5001"), range(8), "f64")

    # Everything is scaled by 1/ln 2. atanh(s) = s + s³/3 + s⁵/5 + z³·s·TAIL(z), z = s².
    def tail(s: mpf) -> mpf:
        if s < tiny:
            return (mpf(2) / 7 + 2 * s**2 / 9) / ln2
        return (2 * mp.atanh(s) / s - 2 - 2 * s**2 / 3 - 2 * s**4 / 5) / s**6 / ln2

    weight = lambda s: s**7 * ln2 / (2 * mp.atanh(s)) if s else mpf(0)  # noqa: E731
    what = "(2 atanh(s)/s - 2 - 2s²/3 - 2s⁴/5)/s⁶/ln 2 in s², error of the logarithm"
    t.polynomial("ATANH_TAIL", what, tail, 0, reach, range(7), "f64", weight, square)
    t.split("TWO_LOG2E", 2 / ln2, (53, 53), "2/ln 2")
    t.split("ATANH_0", 2 / (3 * ln2), (53, 53), "2/(3 ln 2)")
    t.split("ATANH_1", 2 / (5 * ln2), (53, 53), "2/(5 ln 2)")
    root = lambda x: mp.cbrt(x)  # noqa: E731
    t.polynomial("CBRT", "∛x", root, 1, 8, range(7), "f64")
