"""Tables of tanh and sinh near zero."""

from mpmath import mp, mpf

from tools.fit.tables import Tables

REACH = {"F32": mpf("0.625"), "F64": mpf("0.6")}


def tables(t: Tables) -> None:
    square = lambda x: x**2  # noqa: E731

    def tanh(x: mpf) -> mpf:
        return (mp.tanh(x) / x - 1) / x**2 if x > mpf(10) ** -15 else -mpf(1) / 3

    weight = lambda x: x**3 / mp.tanh(x) if x else mpf(0)  # noqa: E731
    what = "(tanh(x)/x - 1)/x² in x², error of tanh"
    for name, terms in (("F32", 5), ("F64", 11)):
        t.put(f"TANH_REACH_{name}", float(REACH[name]), "where the polynomial ends")
        t.polynomial(
            f"TANH_{name}", what, tanh, 0, REACH[name], range(terms), name.lower(), weight, square
        )

    def sinh(x: mpf) -> mpf:
        return (mp.sinh(x) / x - 1) / x**2 if x > mpf(10) ** -15 else mpf(1) / 6

    weight = lambda x: x**3 / mp.sinh(x) if x else mpf(0)  # noqa: E731
    what = "(sinh(x)/x - 1)/x² in x², error of sinh"
    for name, terms in (("F32", 4), ("F64", 8)):
        t.polynomial(
            f"SINH_{name}", what, sinh, 0, mpf("1.0001"), range(terms), name.lower(), weight, square
        )
