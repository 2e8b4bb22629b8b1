"""Tables of the incomplete gamma functions: Temme's coefficients, the scaled gamma function; zeta's.

Temme's expansion (DLMF 8.12): with ½η² = μ - log(1+μ), μ = x/a - 1,
  Q(a, x) = ½·erfc(η·√(a/2)) + e^(-½aη²)/√(2πa)·Σ c_k(η)/a^k,
  c_0 = 1/μ - 1/η,  c_k = c'_(k-1)/η + (-1)^k·g_k/μ,  g_k from Γ*(a) ~ Σ g_k/a^k.
Everything is computed as power series in η, which converge for |η| < 2√π.
"""

from mpmath import mp, mpf

from tools.fit.tables import Tables, geometric_edges

ORDER = 80
LEVELS = 11


def _mu() -> list[mpf]:
    """μ as a power series in η, from μ·μ' = η·(1 + μ): μ = η + η²/3 + …"""
    m = [mpf(0), mpf(1)] + [mpf(0)] * (ORDER - 1)
    for n in range(2, ORDER + 1):
        # The coefficient of η^n on both sides; m[n] enters as (n + 1)·m[1]·m[n].
        known = sum((m[i] * m[n + 1 - i] * (n + 1 - i) for i in range(2, n)), mpf(0))
        m[n] = (m[n - 1] - known) / (n + 1)
    return m


def _reciprocal(series: list[mpf]) -> list[mpf]:
    out = [1 / series[0]]
    for n in range(1, len(series)):
        out.append(-sum((series[k] * out[n - k] for k in range(1, n + 1)), mpf(0)) / series[0])
    return out


def _stirling(count: int) -> list[mpf]:
    """g_k of Γ*(a) = exp(Σ B_2j/(2j(2j-1)·a^(2j-1)))."""
    logarithm = [mpf(0)] * (count + 1)
    for k in range(1, count + 1, 2):
        logarithm[k] = mp.bernoulli(k + 1) / (k * (k + 1))
    g = [mpf(1)]
    for n in range(1, count + 1):
        g.append(sum((k * logarithm[k] * g[n - k] for k in range(1, n + 1)), mpf(0)) / n)
    return g


def _levels() -> list[list[mpf]]:
    """The power series of c_0 … c_(LEVELS-1)."""
    inverse = _reciprocal(_mu()[1:])  # η/μ
    g = _stirling(LEVELS)
    out = [inverse[1:]]  # (η/μ - 1)/η
    for k in range(1, LEVELS):
        last = out[-1]
        derivative = [(i + 1) * last[i + 1] for i in range(len(last) - 1)]
        sign = (-1) ** k * g[k]
        total = [d + sign * e for d, e in zip(derivative, inverse, strict=False)]
        if abs(total[0]) > mpf(10) ** -40:
            raise ArithmeticError("the poles of Temme's coefficients do not cancel")
        out.append(total[1:])
    return out


def tables(t: Tables) -> None:
    low, high = mpf("-0.56"), mpf("0.41")
    one = lambda eta: mpf(1)  # noqa: E731
    names = []
    for k, series in enumerate(_levels()):
        value = lambda eta, s=series: mp.polyval(s[45::-1], eta)  # noqa: E731
        terms = max(3, 15 - k)
        name = f"TEMME_{k}"
        names.append(name)
        t.polynomial(
            name, f"c_{k}(η), absolute", value, low, high, range(terms), "nearest", one, None, 8
        )
    t.lines += ["", f"TEMME = ({', '.join(names)})"]

    def scaled(a: mpf) -> mpf:
        return mp.exp(mp.loggamma(a) + a - (a - mpf(1) / 2) * mp.log(a)) / mp.sqrt(2 * mp.pi)

    t.pieces("GAMMA_STAR", "Γ(a)·√(a/2π)·(e/a)^a", scaled, geometric_edges(1, 32, 8), 11)
    far = lambda v: scaled(1 / v) if v > mpf(10) ** -8 else 1 + v / 12  # noqa: E731
    t.polynomial(
        "GAMMA_STAR_FAR", "the same in 1/a", far, 0, mpf(1) / 32, range(8), "nearest", None, None, 8
    )

    def odd(s: mpf) -> mpf:
        if s < mpf(10) ** -12:
            return mpf(2) / 3
        return (2 * mp.atanh(s) / s - 2) / s**2

    square = lambda s: s**2  # noqa: E731
    t.polynomial(
        "LOG_TAIL",
        "(2 atanh(s)/s - 2)/s² in s²",
        odd,
        0,
        mpf("0.295"),
        range(10),
        "nearest",
        None,
        square,
    )
    t.put("ROOT_HALF_OVER_PI", float(1 / mp.sqrt(2 * mp.pi)), "1/√(2π)")
    t.split("LN2", mp.log(2), (53, 53), "ln 2")
    bernoulli = [float(mp.bernoulli(2 * j) / mp.factorial(2 * j)) for j in range(1, 13)]
    t.put("BERNOULLI", bernoulli, "B_2j/(2j)! for j = 1, 2, …: the Euler-Maclaurin formula")
