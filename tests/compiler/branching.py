"""Random programs full of branches, loops, numbers and effects on tensors, for calls that ask for values.

A program is nested tuples drawn from a seed, which `Branching` interprets with ordinary Python: its `if` and
`while` ask for elements, its numbers go from tensors to Python and back.
"""

from __future__ import annotations

import random
from typing import Any

import fanal
from fanal import nn

SIZE = 4
UNARY = (lambda x: x * 1.5, lambda x: -x, lambda x: x.tanh(), lambda x: x - 0.25, lambda x: x.abs())
BINARY = (lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x - y * 0.5, fanal.maximum)
NUMBERS = (
    lambda a, b: a + b, lambda a, b: a * 2 - b, lambda a, b: abs(a), lambda a, b: max(a, b),
    lambda a, b: a / b, lambda a, b: -a, lambda a, b: min(a, 0.5),
)  # fmt: skip
KINDS = ["unary", "binary", "if", "if", "while", "ask", "ask", "compute", "compare", "scale", "write",
         "draw", "count", "raise", "gradient", "update", "more"]  # fmt: skip


def steps(r: random.Random, depth: int = 0) -> tuple[Any, ...]:
    """A block of steps."""
    found = []
    for _ in range(r.randrange(2, 6)):
        kind = r.choice(KINDS)
        inner = ()
        if kind in ("if", "while", "compare"):
            if depth > 2:
                continue
            inner = (steps(r, depth + 1), steps(r, depth + 1) if r.random() < 0.6 else ())
        found.append((kind, r.randrange(3), r.randrange(3), round(r.uniform(-1.5, 1.5), 2), inner))
    return tuple(found)


class Branching:
    """One program and what it writes to."""

    def __init__(self, seed: int):
        r = random.Random(seed)
        self.seed = seed
        self.steps = steps(r)
        self.state = fanal.zeros(SIZE)
        self.w = nn.Parameter(fanal.ones(SIZE))

    def inputs(self, call: int) -> tuple[Any, ...]:
        """Arguments of a call: some calls are alike."""
        g = fanal.Generator().manual_seed(1000 * self.seed + call % 11)
        return tuple(fanal.randn(SIZE, generator=g) for _ in range(3))

    def function(self, *given: Any) -> Any:
        """What is to be run eagerly and compiled."""
        tensors = [*given]
        a, b = self.run(self.steps, tensors, 0.5, 1.0)
        return [t * 1 for t in tensors], a, {"b": b}

    def run(self, some: Any, tensors: Any, a: Any, b: Any) -> Any:
        """Interpret a block; `a` and `b` are two numbers."""
        for kind, i, j, number, inner in some:
            x, y = tensors[i], tensors[j]
            if kind == "unary":
                tensors[i] = UNARY[(i + j) % len(UNARY)](y)
            elif kind == "binary":
                tensors[i] = BINARY[(i + 2 * j) % len(BINARY)](x, y)
            elif kind == "if":
                if x.sum() > number:
                    a, b = self.run(inner[0], tensors, a, b)
                else:
                    a, b = self.run(inner[1], tensors, a, b)
            elif kind == "while":
                turns = 0
                while turns < 4 and tensors[i].abs().max() < 2:
                    tensors[i] = tensors[i] * 1.5 + 0.1
                    a, b = self.run(inner[1], tensors, a, b)
                    turns += 1
            elif kind == "ask":
                a = x.mean().item()
            elif kind == "compute":
                try:
                    a, b = NUMBERS[(i + 3 * j) % len(NUMBERS)](a, b), a
                except ZeroDivisionError:
                    b = number
            elif kind == "compare":
                if a > b if i == 0 else a < number:
                    a, b = self.run(inner[0], tensors, a, b)
                elif b:
                    b, a = self.run(inner[1], tensors, b, a)
            elif kind == "scale":
                tensors[i] = y * a if j else (y - b) / 2
            elif kind == "write":
                if j == 0:
                    self.state.add_(x)
                elif j == 1:
                    self.state[:2].mul_(0.5)
                else:
                    self.state.copy_(x + y)
                tensors[j] = self.state * 1
            elif kind == "draw":
                tensors[i] = nn.functional.dropout(x, 0.3) if j else x + fanal.rand(SIZE)
            elif kind == "count":
                n = int((x > number).sum())
                tensors[i] = x * n if n else x + 1
            elif kind == "raise":
                if x[0] > 1 + abs(number):
                    raise ValueError(f"step {i} {j}")
            elif kind == "gradient":
                self.w.grad = None if j else self.w.grad
                (self.w * x).pow(2).sum().backward()
                tensors[j] = self.w.grad * 1
            elif kind == "update" and self.w.grad is not None:
                with fanal.no_grad():
                    self.w.sub_(self.w.grad * 0.01)
            elif kind == "more":
                tensors[i] = tensors[i].clamp(-3, 3)
        return a, b

    def seen(self) -> Any:
        """What can be seen besides the results."""
        return self.state, self.w, self.w.grad, fanal.get_rng_state()
