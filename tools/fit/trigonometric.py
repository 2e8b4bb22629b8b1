"""Tables of sin and cos on [-π/4, π/4], of asin, atan, and the digits of π that reductions need."""

from mpmath import mp, mpf

from tools.fit.tables import Tables

CHUNK = 24  # bits of 2/π per entry of the table for huge arguments


def _sin_tail(x: mpf) -> mpf:
    """(sin(x)/x - 1)/x²."""
    if x < mpf(10) ** -15:
        return -mpf(1) / 6 + x**2 / 120
    return (mp.sin(x) / x - 1) / x**2


def _cos_tail(x: mpf) -> mpf:
    """((cos(x) - 1)/x² + 1/2)/x²."""
    if x < mpf(10) ** -10:
        return mpf(1) / 24 - x**2 / 720
    return ((mp.cos(x) - 1) / x**2 + mpf(1) / 2) / x**2


def tables(t: Tables) -> None:
    square = lambda x: x**2  # noqa: E731
    reach = mp.pi / 4
    for name, terms, formats, wide in (
        ("F32", (3, 3), "f32", "1.02"),
        ("F64", (6, 6), "f64", "1.0001"),
    ):
        end = reach * mpf(wide)
        weight = lambda x: x**3 / mp.sin(x) if x else mpf(0)  # noqa: E731
        t.polynomial(
            f"SIN_{name}",
            "(sin(x)/x - 1)/x² in x², error of sin",
            _sin_tail,
            0,
            end,
            range(terms[0]),
            formats,
            weight,
            square,
        )
        weight = lambda x: x**4 / mp.cos(x)  # noqa: E731
        t.polynomial(
            f"COS_{name}",
            "((cos(x) - 1)/x² + 1/2)/x² in x², error of cos",
            _cos_tail,
            0,
            end,
            range(terms[1]),
            formats,
            weight,
            square,
        )
    # tan of float32 in double: fewer terms.
    for name, tail, power, f in (("SIN", _sin_tail, 3, mp.sin), ("COS", _cos_tail, 4, mp.cos)):
        weight = lambda x, f=f, power=power: x**power / f(x) if x else mpf(0)  # noqa: E731
        t.polynomial(
            f"{name}_SHORT",
            "the same",
            tail,
            0,
            reach * mpf("1.0001"),
            range(4),
            "f64",
            weight,
            square,
        )
    two_over_pi = 2 / mp.pi
    t.put("TWO_OVER_PI", float(two_over_pi), "2/π")
    # All parts positive: 0 times them leaves the sign of a zero argument.
    t.split("HALF_PI_F32", mp.pi / 2, (24, 24, 24), "π/2", down=True)
    t.split("HALF_PI_F64", mp.pi / 2, (33, 33, 33, 53), "π/2", down=True)
    t.split("HALF_PI", mp.pi / 2, (53, 53), "π/2")
    # float32: the seven 28-bit pieces that an argument below 2^128 can need; 24 + 28 bits are exact.
    t.split("TWO_OVER_PI_PIECES", two_over_pi, (28,) * 7, "2/π")
    with mp.workprec(1500):
        digits = 2 / mp.pi
        chunks = [0.0, 0.0]  # the two chunks that small exponents ask for
        for k in range(1, 52):
            scaled = mp.floor(digits * mpf(2) ** (CHUNK * k))
            whole = mp.floor(digits * mpf(2) ** (CHUNK * (k - 1)))
            chunks.append(float(scaled - whole * 2**CHUNK))
    t.put(
        "TWO_OVER_PI_CHUNKS", chunks, f"2/π in chunks of {CHUNK} bits as integers, after two zeros"
    )
