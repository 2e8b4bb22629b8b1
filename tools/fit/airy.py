"""Tables of the Airy function Ai: pieces between -8 and 8, amplitude and phase beyond."""

from mpmath import mp, mpf

from tools.fit.tables import Tables

REACH = 8


def _polar(u: mpf) -> tuple[mpf, mpf]:
    """(M·√π·x^¼, (θ - π/4 - ζ)·ζ) with Ai(-x) = M sin θ, Bi(-x) = M cos θ, ζ = ⅔x^(3/2), u = 1/x³."""
    x = u ** (-mpf(1) / 3)
    ai, bi, zeta = mp.airyai(-x), mp.airybi(-x), 2 * mp.sqrt(x) * x / 3
    phase = mp.atan2(ai, bi) - mp.pi / 4 - zeta
    phase -= 2 * mp.pi * mp.nint(phase / (2 * mp.pi))
    return mp.sqrt((ai * ai + bi * bi) * mp.pi * mp.sqrt(x)), phase * zeta


def tables(t: Tables) -> None:
    edges = [mpf(k) / 2 for k in range(-2 * REACH, 2 * REACH + 1)]
    roots = [mp.airyaizero(k) for k in range(1, 8)]
    t.pieces("AI", "Ai(x)", mp.airyai, edges, 14, [r for r in roots if r > -REACH])

    def decay(v: mpf) -> mpf:
        x = (mpf(3) / (2 * v)) ** (mpf(2) / 3)
        return mp.airyai(x) * mp.exp(1 / v) * 2 * mp.sqrt(mp.pi) * x ** mpf("0.25")

    last = mpf(3) / 2 / mpf(REACH) ** mpf("1.5")
    t.polynomial(
        "DECAY", "2√π·x^¼·e^ζ·Ai(x) in 1/ζ", decay, mpf(10) ** -4, last, range(13), "nearest",
        density=8,
    )  # fmt: skip
    end = mpf(1) / REACH**3
    low = mpf(10) ** -7
    amplitude = lambda u: _polar(u)[0]  # noqa: E731
    t.polynomial(
        "AMPLITUDE", "M·√π·x^¼ in 1/x³", amplitude, low, end, range(8), "nearest", None, None, 8
    )
    phase = lambda u: _polar(u)[1]  # noqa: E731
    t.polynomial(
        "PHASE", "(θ - π/4 - ζ)·ζ in 1/x³", phase, low, end, range(8), "nearest", None, None, 8
    )
    t.put("HALF_OVER_ROOT_PI", float(1 / (2 * mp.sqrt(mp.pi))), "1/(2√π)")
    t.put("ONE_OVER_ROOT_PI", float(1 / mp.sqrt(mp.pi)), "1/√π")
    t.split("QUARTER_PI", mp.pi / 4, (53, 53), "π/4")
    t.split("TWO_THIRDS", mpf(2) / 3, (53, 53), "2/3")
