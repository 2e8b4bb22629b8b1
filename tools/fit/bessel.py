"""Tables of the Bessel functions of orders 0 and 1: J, Y, I."""

from mpmath import mp, mpf

from tools.fit.tables import Tables, geometric_edges

HIGH = 16


def _scaled_i(order: int):  # type: ignore[no-untyped-def]
    return lambda x: mp.besseli(order, x) * mp.exp(-x)


def _polar(order: int, u: mpf) -> tuple[mpf, mpf]:
    """(M·√(πx/2), x·(θ - x + (2·order + 1)π/4)) with J = M cos θ, Y = M sin θ, u = 1/x²."""
    x = 1 / mp.sqrt(u)
    j, y = mp.besselj(order, x), mp.bessely(order, x)
    phase = mp.atan2(y, j) - x + (2 * order + 1) * mp.pi / 4
    phase -= 2 * mp.pi * mp.nint(phase / (2 * mp.pi))
    return mp.sqrt((j * j + y * y) * mp.pi * x / 2), phase * x


def tables(t: Tables) -> None:
    halves = [mpf(k) / 2 for k in range(2 * HIGH + 1)]
    t.pieces("I0E", "e^-x·I0(x)", _scaled_i(0), halves, 13)
    t.pieces("I1E", "e^-x·I1(x)", _scaled_i(1), halves, 13, (mpf(0),))
    end = mpf(1) / HIGH
    limit = 1 / mp.sqrt(2 * mp.pi)
    for order in (0, 1):

        def far(v: mpf, order: int = order) -> mpf:
            if v < mpf(10) ** -6:
                sign = 1 if order == 0 else -3
                return limit * (1 + sign * v / 8)
            return mp.besseli(order, 1 / v) * mp.exp(-1 / v) / mp.sqrt(v)

        what = f"√x·e^-x·I{order}(x) in 1/x"
        t.polynomial(
            f"I{order}E_FAR", what, far, mpf(10) ** -5, end, range(15), "nearest", density=8
        )
    for order in (0, 1):
        zeros = [mp.besseljzero(order, k) for k in range(1, 7)]
        j = lambda x, order=order: mp.besselj(order, x)  # noqa: E731
        roots = zeros if order == 0 else [mpf(0), *zeros]
        t.pieces(f"J{order}", f"J{order}(x)", j, halves, 12, roots)
        zeros = [mp.besselyzero(order, k) for k in range(1, 7)]
        y = lambda x, order=order: mp.bessely(order, x)  # noqa: E731
        t.pieces(f"Y{order}", f"Y{order}(x)", y, geometric_edges(0.5, HIGH, 8), 13, zeros)

        # Y0 = (2/π)·log(x)·J0 + R, Y1 = (2/π)·(log(x)·J1 - 1/x) + R below ½.
        def rest(x: mpf, order: int = order) -> mpf:
            pole = mpf(0) if order == 0 else 1 / x
            value = mp.bessely(order, x) - 2 / mp.pi * (mp.log(x) * mp.besselj(order, x) - pole)
            return value / x**order

        square = lambda x: x**2  # noqa: E731
        t.polynomial(
            f"Y{order}_NEAR",
            f"Y{order} less its logarithm in x²",
            rest,
            mpf(10) ** -9,
            mpf("0.5001"),
            range(7),
            "nearest",
            None,
            square,
            8,
        )
        amplitude = lambda u, order=order: _polar(order, u)[0]  # noqa: E731
        phase = lambda u, order=order: _polar(order, u)[1]  # noqa: E731
        last = mpf(1) / HIGH**2
        t.polynomial(
            f"AMPLITUDE_{order}",
            "M·√(πx/2) in 1/x²",
            amplitude,
            mpf(10) ** -7,
            last,
            range(8),
            "nearest",
            None,
            None,
            8,
        )
        one = lambda u: mpf(1)  # noqa: E731
        t.polynomial(
            f"PHASE_{order}",
            "x·(θ - x + …) in 1/x², absolute",
            phase,
            mpf(10) ** -7,
            last,
            range(8),
            "nearest",
            one,
            None,
            8,
        )
    t.put("TWO_OVER_PI", float(2 / mp.pi), "2/π")
    t.put("ROOT_TWO_OVER_PI", float(mp.sqrt(2 / mp.pi)), "√(2/π)")
    t.split("QUARTER_PI", mp.pi / 4, (53, 53), "π/4")
