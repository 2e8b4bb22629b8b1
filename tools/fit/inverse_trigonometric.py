"""Tables of asin on [0, ½] and atan on [0, tan(½)]."""

from mpmath import mp, mpf

from tools.fit.tables import Tables


def tables(t: Tables) -> None:
    square = lambda x: x**2  # noqa: E731
    tiny = mpf(10) ** -12
    for name, f, first, reach, terms in (
        ("ASIN", mp.asin, mpf(1) / 6, mpf("0.50001"), (5, 12)),
        ("ATAN", mp.atan, -mpf(1) / 3, mp.tan(mpf(1) / 2) * mpf("1.00001"), (6, 13)),
    ):

        def tail(x: mpf, f=f, first=first) -> mpf:  # type: ignore[no-untyped-def]
            return (f(x) / x - 1) / x**2 if x > tiny else first

        weight = lambda x, f=f: x**3 / f(x) if x else mpf(0)  # noqa: E731
        what = f"({name.lower()}(x)/x - 1)/x² in x², error of {name.lower()}"
        for kind, count in zip(("f32", "f64"), terms, strict=True):
            t.polynomial(
                f"{name}_{kind.upper()}", what, tail, 0, reach, range(count), kind, weight, square
            )
    for name, value in (("PI", mp.pi), ("HALF_PI", mp.pi / 2), ("QUARTER_PI", mp.pi / 4)):
        t.split(f"{name}_F32", value, (24, 24), name)
        t.split(f"{name}_F64", value, (53, 53), name)
    t.split("THREE_QUARTER_PI_F32", 3 * mp.pi / 4, (24, 24), "3π/4")
    t.split("THREE_QUARTER_PI_F64", 3 * mp.pi / 4, (53, 53), "3π/4")
    t.put("TAN_HALF", float(mp.tan(mpf(1) / 2)), "tan(½)")
    t.put("TAN_3PI_8", float(mp.tan(3 * mp.pi / 8)), "tan(3π/8)")
