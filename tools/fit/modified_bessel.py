"""Tables of the modified Bessel functions of the second kind, K0 and K1, scaled by e^x."""

from mpmath import mp, mpf

from tools.fit.tables import Tables, geometric_edges

LOW, HIGH = 0.5, 16


def _scaled(order: int, x: mpf) -> mpf:
    return mp.besselk(order, x) * mp.exp(x)


def tables(t: Tables) -> None:
    # K0 = R0(x²) - log(x)·I0 and K1 = 1/x + x·(log(x)·I1/x + R1(x²)) below ½.
    def rest_0(x: mpf) -> mpf:
        return mp.besselk(0, x) + mp.log(x) * mp.besseli(0, x)

    def rest_1(x: mpf) -> mpf:
        return (mp.besselk(1, x) - 1 / x - mp.log(x) * mp.besseli(1, x)) / x

    parts = {
        "I0_NEAR": ("I0(x) in x²", lambda x: mp.besseli(0, x)),
        "I1_NEAR": ("I1(x)/x in x²", lambda x: mp.besseli(1, x) / x),
        "K0_NEAR": ("K0 + log(x)·I0 in x²", rest_0),
        "K1_NEAR": ("(K1 - 1/x - log(x)·I1)/x in x²", rest_1),
    }
    square = lambda x: x**2  # noqa: E731
    for name, (what, f) in parts.items():
        t.polynomial(
            name, what, f, mpf(10) ** -9, mpf("0.5001"), range(7), "nearest", None, square, 8
        )
    for order in (0, 1):
        scaled = lambda x, order=order: _scaled(order, x)  # noqa: E731
        t.pieces(f"K{order}E", f"e^x·K{order}(x)", scaled, geometric_edges(LOW, HIGH, 8), 13)
        far = lambda v, order=order: _scaled(order, 1 / v) / mp.sqrt(v)  # noqa: E731
        t.polynomial(
            f"K{order}E_FAR", f"√x·e^x·K{order}(x) in 1/x", far, mpf(10) ** -5, mpf(1) / HIGH,
            range(13), "nearest", density=8,
        )  # fmt: skip
