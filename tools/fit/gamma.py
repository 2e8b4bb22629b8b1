"""Tables of lgamma, digamma and trigamma: pieces on [½, 16), Stirling's series beyond."""

from mpmath import mp, mpf

from tools.fit.tables import Tables, geometric_edges

HIGH = 16


def tables(t: Tables) -> None:
    edges = geometric_edges(0.5, HIGH, 8)
    root = mp.findroot(lambda x: mp.psi(0, x), mpf("1.46163214"))
    t.pieces("LGAMMA", "log Γ(x)", mp.loggamma, edges, 12, (mpf(1), mpf(2)))
    t.pieces("DIGAMMA", "ψ(x)", lambda x: mp.psi(0, x), edges, 12, (root,))
    t.pieces("TRIGAMMA", "ψ'(x)", lambda x: mp.psi(1, x), edges, 13)

    # The series beyond, as polynomials in u = 1/x².
    def from_u(u: mpf) -> mpf:
        return 1 / mp.sqrt(u)

    small = mpf(10) ** -12

    def stirling(u: mpf) -> mpf:
        if u < small:
            return mpf(1) / 12 - u / 360
        x = from_u(u)
        return (mp.loggamma(x) - (x - mpf(1) / 2) * mp.log(x) + x - mp.log(2 * mp.pi) / 2) * x

    def psi_rest(u: mpf) -> mpf:
        if u < small:
            return mpf(1) / 12 - u / 120
        x = from_u(u)
        return (mp.log(x) - 1 / (2 * x) - mp.psi(0, x)) / u

    def psi1_rest(u: mpf) -> mpf:
        if u < small:
            return mpf(1) / 6 - u / 30
        x = from_u(u)
        return (mp.psi(1, x) - 1 / x - u / 2) * x / u

    end = mpf(1) / HIGH**2
    one = lambda u: mpf(1)  # noqa: E731
    t.polynomial(
        "STIRLING",
        "x·(log Γ - leading terms) in 1/x², absolute",
        stirling,
        0,
        end,
        range(6),
        "f64",
        one,
    )
    t.polynomial(
        "DIGAMMA_FAR",
        "x²·(log x - 1/2x - ψ) in 1/x², absolute",
        psi_rest,
        0,
        end,
        range(6),
        "f64",
        one,
    )
    t.polynomial(
        "TRIGAMMA_FAR",
        "x³·(ψ' - 1/x - 1/2x²) in 1/x², absolute",
        psi1_rest,
        0,
        end,
        range(7),
        "f64",
        one,
    )
    t.split("HALF_LOG_2PI_LESS", (mp.log(2 * mp.pi) - 1) / 2, (53, 53), "(log 2π - 1)/2")
    t.split("LOG_PI", mp.log(mp.pi), (53, 53), "log π")
