"""Random programs over tensors: functions, views, writes in place, branches on data, gradients.

A program is a list of steps drawn from a seed; running it interprets the steps on a pool of tensors, so
that the same program runs eagerly, compiled, and again with other data.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import fanal

F = fanal.nn.functional
UNARY: list[Callable[[Any], Any]] = [
    fanal.exp, fanal.tanh, fanal.sigmoid, fanal.abs, fanal.neg, fanal.cos, fanal.erf, fanal.square,
    F.relu, F.gelu, F.silu, lambda x: x * 0.5, lambda x: 1.5 - x, lambda x: x / 3, fanal.floor,
    lambda x: x.clamp(-1, 1), lambda x: fanal.log1p(x.abs()), lambda x: fanal.where(x > 0, x, 0.1),
]  # fmt: skip
BINARY: list[Callable[[Any, Any], Any]] = [
    fanal.add, fanal.sub, fanal.mul, fanal.maximum, fanal.minimum,
    lambda x, y: x / (y.abs() + 1), lambda x, y: fanal.where(x < y, x, y * 2), fanal.hypot,
]  # fmt: skip
REDUCE: list[Callable[[Any, int], Any]] = [
    lambda x, d: x.sum(d, keepdim=True), lambda x, d: x.mean(d, keepdim=True),
    lambda x, d: x.amax(d, keepdim=True), lambda x, d: x.softmax(d), lambda x, d: x.cumsum(d),
    lambda x, d: x.var(d, keepdim=True, unbiased=False), lambda x, d: x.log_softmax(d),
    lambda x, d: x - x.mean(d, keepdim=True), lambda x, d: x.flip(d),
]  # fmt: skip
VIEWS: list[Callable[[Any, random.Random], Any]] = [
    lambda x, r: x.transpose(r.randrange(x.ndim), r.randrange(x.ndim)),
    lambda x, r: x.reshape(-1, x.shape[-1]) if x.ndim > 1 else x[None],
    lambda x, r: x[r.randrange(x.shape[0])] if x.ndim > 1 else x,
    lambda x, r: x[..., : max(1, x.shape[-1] // 2)],
    lambda x, r: x[::2], lambda x, r: x[1:] if x.shape[0] > 1 else x, lambda x, r: x.unsqueeze(r.randrange(x.ndim)),
    lambda x, r: x.squeeze(), lambda x, r: x.flatten(), lambda x, r: x.t() if x.ndim == 2 else x,
]  # fmt: skip
SHAPES = [(3, 4), (4,), (1, 4), (3, 1), (2, 3, 4), (5, 17), (17,), (1,), ()]
LIMIT = 4000  # elements of any tensor


class Machine:
    """Interprets the steps of one seed."""

    KINDS = ["unary", "binary", "binary", "reduce", "view", "view", "write", "write", "more"]

    def __init__(self, seed: int, steps: int = 14):
        self.seed, self.steps = seed, steps
        shapes = random.Random(seed)
        self.shapes = [shapes.choice(SHAPES) for _ in range(3)]
        self.state = [fanal.zeros(s) for s in self.shapes]

    def inputs(self, call: int) -> tuple[Any, ...]:
        """Arguments of a call."""
        g = fanal.Generator().manual_seed(1000 * self.seed + call)
        return tuple(fanal.randn(s, generator=g) for s in self.shapes)

    def __call__(self, *tensors: Any) -> Any:
        r = random.Random(self.seed + 1)
        pool = [t.clone() if r.random() < 0.7 else t for t in tensors]
        leaves = []
        for i, t in enumerate(pool):
            if r.random() < 0.4:
                pool[i] = t.detach().clone().requires_grad_()
                leaves.append(pool[i])
        made = [*pool, *self.state]
        for _ in range(self.steps):
            self.step(made, r)
        results = [t for t in made[-4:] if t is not None]
        return results, self.gradients(results, leaves)

    def step(self, pool: list[Any], r: random.Random) -> None:
        kind = r.choice(self.KINDS)
        x = r.choice(pool)
        try:
            y = getattr(self, kind)(x, pool, r)
        except (RuntimeError, IndexError, ValueError, TypeError):
            return  # the same refusal eagerly and compiled
        if isinstance(y, fanal.Tensor) and y._layout.numel <= LIMIT and y.dtype is fanal.float32:
            pool.append(y)

    def unary(self, x: Any, pool: list[Any], r: random.Random) -> Any:
        return r.choice(UNARY)(x)

    def binary(self, x: Any, pool: list[Any], r: random.Random) -> Any:
        return r.choice(BINARY)(x, r.choice(pool))

    def reduce(self, x: Any, pool: list[Any], r: random.Random) -> Any:
        f, d = r.choice(REDUCE), r.random()
        return f(x, int(d * x.ndim)) if x.ndim else x

    def view(self, x: Any, pool: list[Any], r: random.Random) -> Any:
        f = r.choice(VIEWS)
        return f(x, r) if x.ndim else x[None]

    def write(self, x: Any, pool: list[Any], r: random.Random) -> Any:
        other, kind = r.choice(pool), r.randrange(6)
        if x.requires_grad and x.is_leaf:
            return None
        if kind == 0:
            x.add_(other)
        elif kind == 1:
            x.mul_(0.5)
        elif kind == 2:
            x.copy_(other)
        elif kind == 3 and x.ndim:
            x[0] = 0.25
        elif kind == 4 and x.ndim:
            x[..., : x.shape[-1] // 2].add_(1)
        else:
            x.clamp_(-2, 2)
        return None

    def more(self, x: Any, pool: list[Any], r: random.Random) -> Any:
        other, kind = r.choice(pool), r.randrange(7)
        if kind == 0 and x.ndim == 2 and other.ndim == 2:
            return x @ other.t() if x.shape[1] == other.shape[1] else x @ x.t()
        if kind == 1 and x.ndim:
            return fanal.cat([x, x * 2], -1)
        if kind == 2:
            return F.dropout(x, 0.4)
        if kind == 3 and x.ndim:
            return x[fanal.arange(x.shape[0]).flip(0)]
        if kind == 4:
            return fanal.stack([x, x + 1])
        if kind == 5 and float(x.sum()) > 0:  # a branch on data
            return x + 3
        if kind == 6 and x.ndim:
            return x.sort(-1)[0]
        return x.detach() * 1.25

    @staticmethod
    def gradients(results: list[Any], leaves: list[Any]) -> list[Any]:
        roots = [t.sum() for t in results if t.requires_grad]
        if not roots or not leaves:
            return []
        total = roots[0]
        for t in roots[1:]:
            total = total + t
        try:
            return list(fanal.autograd.grad(total, leaves, allow_unused=True))
        except RuntimeError as error:  # a saved value was written to
            return [str(error)]


class SizedMachine(Machine):
    """Programs without branches on data, whose results are tensors of their own, for arguments whose sizes
    change from call to call."""

    KINDS = ["unary", "binary", "binary", "reduce", "reduce", "view", "more", "more"]

    def inputs(self, call: int) -> tuple[Any, ...]:
        g = fanal.Generator().manual_seed(1000 * self.seed + call)
        grown = [tuple(n + call % 5 * (n % 3 + 1) if n > 1 else n for n in s) for s in self.shapes]
        return tuple(fanal.randn(s, generator=g) for s in grown)

    def __call__(self, *tensors: Any) -> Any:
        r = random.Random(self.seed + 1)
        pool = [t * 1.0 if r.random() < 0.7 else t for t in tensors]
        leaves = [t.detach().clone().requires_grad_() for t in pool if r.random() < 0.4]
        made = [*pool, *leaves, self.state[0]]
        for _ in range(self.steps):
            self.step(made, r)
        results = made[-4:]
        return [t.detach() + 1.0 for t in results], self.gradients(results, leaves)

    def more(self, x: Any, pool: list[Any], r: random.Random) -> Any:
        state = r.getstate()
        r.choice(pool)
        if r.randrange(7) == 5:
            return x * (x.shape[0] if x.ndim else 1) + x.numel() ** -0.5
        r.setstate(state)
        return super().more(x, pool, r)
