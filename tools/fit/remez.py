"""Minimax polynomials: the Remez exchange on a fine grid, and the rounding of its coefficients.

`fit` finds c in  Σ c_i·x^p_i ≈ f(x)  on [lo, hi] so that the largest |weight·error| is least. The
coefficients are then rounded one after another, lowest power first, and the free ones are fitted
again after each: what a coefficient loses in rounding the later ones win back. Everything is
computed with mpmath at `DIGITS` digits on a Chebyshev grid, so the same call gives the same bits
on every machine.

Source: E. Remez (1934); for the rounding in sequence, N. Brisebarre and S. Chevillard, "Efficient
polynomial L∞ approximations" (ARITH 2007) describe the better lattice method that it approximates.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mpmath import mp, mpf

DIGITS = 60
Function = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Fit:
    """Rounded coefficients (one a power) and the largest weighted error on the grid."""

    coefficients: tuple[float, ...]
    error: float


def to_float32(x: mpf) -> float:
    """The nearest float32 (through the nearest double: one rounding too many is harmless here)."""
    return float(struct.unpack("<f", struct.pack("<f", float(x)))[0])


ROUND: dict[str, Callable[[mpf], mpf]] = {
    "f32": lambda x: mpf(to_float32(x)),
    "f64": lambda x: mpf(float(x)),
    "exact": lambda x: x,
}


def chebyshev_grid(lo: mpf, hi: mpf, count: int) -> list[mpf]:
    """`count` points from lo to hi, dense towards the ends, both ends included."""
    middle, half = (lo + hi) / 2, (hi - lo) / 2
    return [middle - half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]


def _solve(rows: list[list[mpf]], right: list[mpf]) -> list[mpf]:
    """Gaussian elimination with partial pivoting."""
    n = len(rows)
    a = [[*row, r] for row, r in zip(rows, right, strict=True)]
    for k in range(n):
        pivot = max(range(k, n), key=lambda i: abs(a[i][k]))
        a[k], a[pivot] = a[pivot], a[k]
        for i in range(k + 1, n):
            factor = a[i][k] / a[k][k]
            if factor:
                a[i] = [x - factor * y for x, y in zip(a[i], a[k], strict=True)]
    out = [mpf(0)] * n
    for k in reversed(range(n)):
        known = sum((a[k][j] * out[j] for j in range(k + 1, n)), mpf(0))
        out[k] = (a[k][n] - known) / a[k][k]
    return out


def _alternating(errors: list[mpf], count: int) -> list[int]:
    """Indices of `count` extrema of alternating sign, the largest of each run of one sign."""
    runs: list[int] = []
    for i, e in enumerate(errors):
        if runs and (e >= 0) == (errors[runs[-1]] >= 0):
            if abs(e) > abs(errors[runs[-1]]):
                runs[-1] = i
        else:
            runs.append(i)
    while len(runs) > count:
        if len(runs) == count + 1:
            runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
        else:  # drop the neighbours whose smaller member is least
            j = min(
                range(len(runs) - 1),
                key=lambda i: max(abs(errors[runs[i]]), abs(errors[runs[i + 1]])),
            )
            del runs[j : j + 2]
    return runs


def _exchange_one(nodes: list[int], errors: list[mpf]) -> list[int]:
    """The nodes with the worst point in place of a neighbour, keeping the signs alternating."""
    worst = max(range(len(errors)), key=lambda i: abs(errors[i]))
    if worst in nodes:
        return nodes
    same = [i for i in nodes if (errors[i] >= 0) == (errors[worst] >= 0)]
    replaced = min(same or nodes, key=lambda i: abs(i - worst))
    return sorted([*(i for i in nodes if i != replaced), worst])


def _minimax(basis: list[list[mpf]], target: list[mpf], weight: list[mpf]) -> tuple[list[mpf], mpf]:
    """Remez's exchange on grid rows; returns the coefficients and the largest weighted error."""
    terms, points = len(basis[0]), len(target)
    if terms == 0:
        return [], max(abs(w * t) for w, t in zip(weight, target, strict=True))
    # Begin where the weight counts: a node of weight zero would force a level of zero.
    heavy = max(weight)
    usable = [i for i in range(points) if weight[i] > heavy * mpf(10) ** -4]
    nodes = [usable[round((len(usable) - 1) * i / terms)] for i in range(terms + 1)]
    best: tuple[list[mpf], mpf] | None = None
    for _ in range(40):
        rows = [[*(weight[i] * v for v in basis[i]), mpf((-1) ** k)] for k, i in enumerate(nodes)]
        solution = _solve(rows, [weight[i] * target[i] for i in nodes])
        c, level = solution[:-1], abs(solution[-1])
        errors = [
            w * (t - sum((x * y for x, y in zip(c, row, strict=True)), mpf(0)))
            for w, t, row in zip(weight, target, basis, strict=True)
        ]
        worst = max(abs(e) for e in errors)
        if best is None or worst < best[1]:
            best = (c, worst)
        extrema = _alternating(errors, terms + 1)
        if worst <= level * (1 + mpf(10) ** -4) or extrema == nodes:
            break
        nodes = extrema if len(extrema) == terms + 1 else _exchange_one(nodes, errors)
    assert best is not None
    return best


def fit(
    f: Function,
    lo: float | mpf,
    hi: float | mpf,
    powers: Sequence[int],
    formats: str | Sequence[str] = "f64",
    weight: Function | None = None,
    variable: Function | None = None,
    density: int = 24,
) -> Fit:
    """Coefficients of Σ c_i·u^p_i ≈ f(x), u = variable(x) (x itself if None), x in [lo, hi].

    `weight(x)` multiplies the error (1/f for a relative one, the default); `formats` is "f32",
    "f64" or one of them a coefficient; "nearest" rounds all to doubles without fitting again, and
    the error is then that of the exact coefficients.
    """
    with mp.workdps(DIGITS):
        grid = chebyshev_grid(mpf(lo), mpf(hi), density * (len(powers) + 2))
        target = [mpf(f(x)) for x in grid]
        weights = [
            mpf(weight(x)) if weight else 1 / abs(t) for x, t in zip(grid, target, strict=True)
        ]
        u = [variable(x) if variable else x for x in grid]
        basis = [[x**p for p in powers] for x in u]
        kinds = [formats] * len(powers) if isinstance(formats, str) else list(formats)
        done: list[mpf] = []
        error = mpf(0)
        for k, kind in enumerate(kinds):
            free, error = _minimax([row[k:] for row in basis], target, weights)
            if kind in ("exact", "nearest"):
                done += free if kind == "exact" else [mpf(float(c)) for c in free]
                break
            c = ROUND[kind](free[0])
            done.append(c)
            target = [t - c * row[k] for t, row in zip(target, basis, strict=True)]
        error = (
            max(abs(w * t) for w, t in zip(weights, target, strict=True))
            if kinds[-1] not in ("exact", "nearest")
            else error
        )
        return Fit(tuple(float(c) for c in done), float(error))
