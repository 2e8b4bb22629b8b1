"""`vmap` is the loop for the public functions: every sample call of tests/namespace, everyday a part."""

from __future__ import annotations

import re
import warnings
import zlib
from typing import Any

import numpy as np
import pytest

import fanal
from fanal.func import jvp, vjp, vmap
from tests.func.check import close, leaves
from tests.namespace import cases
from tests.namespace.runner import inputs

SIZE = 3
# The shape of the result depends on elements, or an element decides.
LOOKS = re.compile(
    r"f\.where\(b\)|aweights|bincount|histc|histogram|unique|masked_select|nonzero|argwhere|\(b,\)|x\[b\]"
    r"|out=f.empty\(0|out=\(f.empty"
)


def samples() -> dict[str, list[np.ndarray]]:
    """Each input, and others of its kind."""
    rng = np.random.default_rng(3)
    base = inputs()
    found = {}
    for name, a in base.items():
        rows = [a]
        for _ in range(1, SIZE):
            if name in ("s", "e"):
                rows.append(a)
            elif name == "b":
                rows.append(rng.random(a.shape) < 0.5)
            elif a.dtype.kind == "f":
                low, high = {"p": (0.2, 2), "u": (-0.9, 0.9), "o": (0.3, 0.9)}.get(name, (-2, 2))
                rows.append(rng.uniform(low, high, a.shape))
            else:
                low, high = {"i": (-5, 6), "n": (0, 9)}.get(name, (0, 7))
                rows.append(rng.integers(low, high, a.shape))
        found[name] = rows
    return found


SAMPLES = samples()


def names_of(text: str) -> list[str]:
    return sorted(n for n in set(re.findall(r"\b[a-z]\b", text)) if n in SAMPLES)


# Of several updates of one place the last stays, but each of them has a gradient, as in PyTorch.
TWICE = "f.scatter(x, 1, n[:, :2] % 4, y)"
CASES = [t for t in cases.ALL if names_of(t) and not LOOKS.search(t)]
SOME = [t for t in CASES if zlib.crc32(t.encode()) % 4 == 0]
DERIVED = [t for t in CASES if t != TWICE]
FEW = [t for t in DERIVED if zlib.crc32(t.encode()) % 12 == 1]


def tensors(text: str) -> tuple[list[list[Any]], Any]:
    """Samples of the inputs, and the call as a function of them that returns its tensors."""
    names = names_of(text)
    rows = [[fanal.tensor(SAMPLES[n][k]) for n in names] for k in range(SIZE)]

    def function(*values: Any) -> tuple[Any, ...]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = eval(text, {"f": fanal, **dict(zip(names, values))})
        return tuple(x for x in leaves(result))

    return rows, function


def check_values(text: str) -> None:
    rows, function = tensors(text)
    wanted = [function(*row) for row in rows]
    if not wanted[0]:
        return
    rows, function = tensors(text)
    got = vmap(function, randomness="same")(*[fanal.stack(list(c)) for c in zip(*rows)])
    for k in range(SIZE):
        close(tuple(g[k] for g in got), wanted[k], 1e-9, 1e-9)


def check_derivatives(text: str) -> None:
    """⟨u, jvp v⟩ = ⟨vjp u, v⟩, alone and mapped."""
    rows, function = tensors(text)
    moving = [
        i for i, t in enumerate(rows[0])
        if t.is_floating_point() and t.numel() and names_of(text)[i] != "s"
    ]  # fmt: skip
    if not moving:
        return
    rng = np.random.default_rng(1)

    def of(*values: Any, k: int = 0) -> tuple[Any, ...]:
        whole = [t.clone() for t in rows[k]]
        for i, v in zip(moving, values):
            whole[i] = v
        return tuple(y for y in function(*whole) if y.dtype is fanal.float64)

    def random(like: Any) -> tuple[Any, ...]:
        return tuple(fanal.tensor(rng.standard_normal(tuple(t.shape))) for t in like)

    primals = tuple(rows[0][i] for i in moving)
    u, v = random(of(*[t * 1 for t in primals])), random(primals)
    if not u:
        return

    def products(primals: Any, u: Any, v: Any) -> Any:
        own = lambda *values: of(*[t * 1 for t in values])  # calls that write in place write to copies
        _, moved = jvp(own, tuple(primals), tuple(v))
        pulled = vjp(own, *primals)[1](tuple(u))
        left = sum([(a * b).sum() for a, b in zip(u, moved)])
        return left, sum([(a * b).sum() for a, b in zip(pulled, v)])

    left, right = products(primals, u, v)
    assert float(left) == pytest.approx(float(right), rel=1e-8, abs=1e-8)
    pair = [[fanal.stack([t, t]) for t in part] for part in (primals, u, v)]
    lefts, rights = vmap(products, randomness="same")(*pair)
    close((lefts[1], rights[1]), (left, right), 1e-8, 1e-8)


@pytest.mark.parametrize("text", SOME)
def test_values(text: str) -> None:
    check_values(text)


@pytest.mark.parametrize("text", FEW)
def test_derivatives(text: str) -> None:
    check_derivatives(text)


@pytest.mark.slow
@pytest.mark.parametrize("text", CASES)
def test_values_of_all(text: str) -> None:
    check_values(text)


@pytest.mark.slow
@pytest.mark.parametrize("text", DERIVED)
def test_derivatives_of_all(text: str) -> None:
    check_derivatives(text)
