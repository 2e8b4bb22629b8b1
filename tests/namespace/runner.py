"""Evaluates a sample call on a library (PyTorch or Fanal): outputs, gradients, second gradients.

The inputs are made anew for each call; those that the expression names and that are floating get
gradients of a sum of the outputs with fixed factors.
"""

from __future__ import annotations

import math
import re
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Library:
    """What the runner needs of a library."""

    f: Any
    from_array: Any  # array -> tensor
    to_array: Any  # tensor -> array


def inputs() -> dict[str, np.ndarray]:
    """x, y (3, 4) normal; p the same, positive; u in (-0.9, 0.9); z with zeros; r (4,); t (3, 3);
    m (4, 4); c (2, 3, 4); v (5,); o 0-d; s special values; e (0, 3); i, n, k integers; b bools."""
    rng = np.random.default_rng(7)
    normal = rng.standard_normal
    z = normal((3, 4))
    z[0, 1] = z[1, 0] = z[1, 2] = 0.0
    return {
        "x": normal((3, 4)), "y": normal((3, 4)), "p": rng.uniform(0.2, 2, (3, 4)),
        "u": rng.uniform(-0.9, 0.9, (3, 4)), "z": z, "r": normal(4), "t": normal((3, 3)),
        "m": normal((4, 4)), "c": normal((2, 3, 4)), "v": normal(5), "o": np.array(0.7),
        "s": np.array([math.nan, 1.5, -math.inf, -0.0, math.inf, 3.0]), "e": np.zeros((0, 3)),
        "i": rng.integers(-5, 6, (3, 4)), "n": rng.integers(0, 9, (3, 4)),
        "k": rng.integers(0, 7, 6), "b": rng.random((3, 4)) < 0.5,
    }  # fmt: skip


def run(text: str, library: Library, floating: Any, order: int) -> tuple[dict[str, Any], list[Any]]:
    """Arrays by name (out0, grad_x, second_x, …), and the plain answers.

    `floating` casts the inputs (np.float64 or np.float32); `order`: of the highest derivative.
    """
    names = set(re.findall(r"\b[a-z]\b", text))
    env: dict[str, Any] = {"f": library.f}
    moving = {}
    for name, array in inputs().items():
        if name in names:
            real = array.dtype.kind == "f"
            env[name] = library.from_array(array.astype(floating) if real else array)
            if real and array.size and name != "s":
                moving[name] = env[name].requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = eval(text, env)
        found: dict[str, Any] = {}
        answers: list[Any] = []
        tensors: list[Any] = []
        collect(result, library, tensors, answers)
        for number, t in enumerate(tensors):
            found[f"out{number}"] = library.to_array(t)
        if order:
            gradients(text, tensors, moving, library, floating, found, order > 1)
    return found, answers


def collect(result: Any, library: Library, tensors: list[Any], answers: list[Any]) -> None:
    """Tensors and other results, in order."""
    if isinstance(result, library.f.Tensor):
        tensors.append(result)
    elif isinstance(result, tuple | list) and not isinstance(result, library.f.Size):
        for part in result:
            collect(part, library, tensors, answers)
    else:
        answers.append(list(result) if isinstance(result, tuple) else result)


def gradients(
    text: str, tensors: list[Any], moving: dict[str, Any], library: Library, floating: Any,
    found: dict[str, Any], second: bool,
) -> None:  # fmt: skip
    rng = np.random.default_rng(zlib.crc32(text.encode()))

    def weighted(parts: list[Any]) -> Any:
        total = None
        for t in parts:
            factors = library.from_array(rng.standard_normal(tuple(t.shape)).astype(floating))
            if t.requires_grad:
                part = (t * factors).sum()
                total = part if total is None else total + part
        return total

    total = weighted(tensors)
    if total is None:
        return
    grad = library.f.autograd.grad
    names, leaves = list(moving), list(moving.values())
    first = grad(total, leaves, create_graph=second, allow_unused=True)
    parts = [g for g in first if g is not None]
    for name, g in zip(names, first, strict=True):
        if g is not None:
            found[f"grad_{name}"] = library.to_array(g)
    again = weighted(parts) if second else None
    if again is None:
        return
    for name, g in zip(names, grad(again, leaves, allow_unused=True), strict=True):
        if g is not None:
            found[f"second_{name}"] = library.to_array(g)
