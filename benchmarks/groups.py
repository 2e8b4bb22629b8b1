"""What is compared: each group is a list of cases, a case builds the same callable for a library.

`build(m, F)` gets the library (`fanal` or `torch`) and its `nn.functional`, and returns a callable
and the tensors it works on, which are filled with the same numbers for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import pairs
from benchmarks.pairs import Pair

Build = Callable[[Any, Any], Callable[[], object]]


@dataclass
class Group:
    """Cases with their targets."""

    name: str
    cases: list[tuple[str, Build]]
    each: float
    mean: float | None = None
    special: dict[str, float] = field(default_factory=dict)
    flops: dict[str, float] = field(default_factory=dict)
    grad: bool = False

    def target(self, name: str) -> float | None:
        """The ratio that a case should reach."""
        return self.special.get(name, self.each)

    def measure(self, threads: int, rounds: int, chosen: Sequence[str]) -> list[Pair]:
        """Run the cases whose name (or whose group's) holds one of the chosen texts."""
        import torch

        import fanal

        fanal.set_num_threads(threads)
        torch.set_num_threads(threads)
        found = []
        for name, build in self.cases:
            if chosen and not any(text in f"{self.name}/{name}" for text in chosen):
                continue
            with fanal.set_grad_enabled(self.grad), torch.set_grad_enabled(self.grad):
                ours = build(fanal, fanal.nn.functional)
                theirs = build(torch, torch.nn.functional)
                flops = self.flops.get(name, 0.0)
                found.append(pairs.measure(name, ours, theirs, rounds, flops))
        return found


def numbers(m: Any, *shape: int, seed: int = 0) -> Any:
    """A float32 tensor of normal numbers, the same for both libraries, in memory of their own."""
    return m.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32)).clone()


def matmul(a: tuple[int, ...], b: tuple[int, ...]) -> Build:
    def build(m: Any, F: Any) -> Callable[[], object]:
        x, y = numbers(m, *a), numbers(m, *b, seed=1)
        return lambda: m.matmul(x, y)

    return build


def _matmuls() -> Group:
    sizes = [(512, 512, 512), (1024, 1024, 1024), (64, 768, 768), (512, 3072, 768),
             (8, 4096, 1024), (1, 4096, 4096)]  # fmt: skip
    cases = [(f"{m}x{k}x{n}", matmul((m, k), (k, n))) for m, k, n in sizes]
    flops = {f"{m}x{k}x{n}": 2.0 * m * k * n for m, k, n in sizes}
    cases.append(("32x(128x64x128)", matmul((32, 128, 64), (32, 64, 128))))
    flops["32x(128x64x128)"] = 2.0 * 32 * 128 * 64 * 128
    return Group("matmul", cases, 1.0, special={"1024x1024x1024": 1.2}, flops=flops)


def conv(n: int, c: int, size: int, o: int, k: int, stride: int, groups: int, back: bool) -> Build:
    def build(m: Any, F: Any) -> Callable[[], object]:
        x, w = numbers(m, n, c, size, size), numbers(m, o, c // groups, k, k, seed=1)
        if not back:
            return lambda: F.conv2d(x, w, None, stride, k // 2, 1, groups)
        x.requires_grad_(), w.requires_grad_()
        y = F.conv2d(x, w, None, stride, k // 2, 1, groups)
        grad = numbers(m, *y.shape, seed=2)
        return lambda: m.autograd.grad(y, (x, w), grad, retain_graph=True)

    return build


CONVOLUTIONS = [
    ("7x7 s2 3->64/224", 3, 224, 64, 7, 2, 1), ("3x3 64/32", 64, 32, 64, 3, 1, 1),
    ("3x3 128/16", 128, 16, 128, 3, 1, 1), ("3x3 s2 256->512/16", 256, 16, 512, 3, 2, 1),
    ("1x1 64->256/32", 64, 32, 256, 1, 1, 1), ("depthwise 3x3 64/32", 64, 32, 64, 3, 1, 64),
]  # fmt: skip


def _convolutions(back: bool) -> Group:
    cases: list[tuple[str, Build]] = []
    flops = {}
    for batch in (1, 8):
        for name, c, size, o, k, stride, groups in CONVOLUTIONS:
            title = f"n{batch} {name}"
            cases.append((title, conv(batch, c, size, o, k, stride, groups, back)))
            side = (size + 2 * (k // 2) - k) // stride + 1
            flops[title] = 2.0 * batch * o * side * side * (c // groups) * k * k * (1 + back)
    name = "conv2d backward (both gradients)" if back else "conv2d forward"
    return Group(name, cases, 0.9, mean=1.1, flops=flops, grad=back)


def unary(function: Callable[[Any, Any, Any], object], *shape: int) -> Build:
    def build(m: Any, F: Any) -> Callable[[], object]:
        x = numbers(m, *shape)
        return lambda: function(m, F, x)

    return build


def _attention(m: Any, F: Any) -> Callable[[], object]:
    q, k, v = (numbers(m, 2, 8, 1024, 64, seed=i) for i in range(3))
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)


# (batch, heads, length, width), causal: those of small models, of long sequences, and odd ones.
ATTENTIONS = [
    ((8, 4, 128, 64), True), ((32, 3, 65, 64), False), ((1, 4, 128, 64), True),
    ((1, 12, 512, 64), False), ((1, 12, 512, 64), True), ((2, 8, 1024, 64), False),
    ((2, 8, 1024, 64), True), ((3, 5, 77, 40), False), ((3, 5, 77, 40), True),
]  # fmt: skip


def attention(b: int, h: int, length: int, width: int, causal: bool, back: bool) -> Build:
    """Heads as models have them: inside of one projection to queries, keys and values."""

    def build(m: Any, F: Any) -> Callable[[], object]:
        x = numbers(m, b, length, 3, h, width).permute(2, 0, 3, 1, 4)
        q, k, v = (x[i].detach().requires_grad_(back) for i in range(3))
        grad = numbers(m, b, h, length, width, seed=1)

        def run() -> object:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            return m.autograd.grad(y, (q, k, v), grad) if back else y

        return run

    return build


def _attentions(back: bool) -> Group:
    cases: list[tuple[str, Build]] = []
    flops = {}
    for shape, causal in ATTENTIONS:
        title = "x".join(map(str, shape)) + (" causal" if causal else "")
        cases.append((title, attention(*shape, causal, back)))
        b, h, length, width = shape
        flops[title] = (14.0 if back else 4.0) * b * h * length * length * width / (1 + causal)
    name = "attention forward and backward" if back else "attention forward"
    return Group(name, cases, 1.2, flops=flops, grad=back)


def _embedding(m: Any, F: Any) -> Callable[[], object]:
    table = numbers(m, 10_000, 256)
    rows = m.from_numpy(np.random.default_rng(0).integers(0, 10_000, 4096))
    return lambda: F.embedding(rows, table)


def _layer_norm(m: Any, F: Any) -> Callable[[], object]:
    x, w, b = numbers(m, 1000, 1024), numbers(m, 1024, seed=1), numbers(m, 1024, seed=2)
    return lambda: F.layer_norm(x, (1024,), w, b)


def _million() -> Group:
    side = (1000, 1000)
    cases = [
        ("softmax", unary(lambda m, F, x: F.softmax(x, -1), *side)),
        ("softmax dim 0", unary(lambda m, F, x: F.softmax(x, 0), *side)),
        ("softmax rows of 100", unary(lambda m, F, x: F.softmax(x, -1), 10_000, 100)),
        ("layer_norm", _layer_norm),
        ("gelu", unary(lambda m, F, x: F.gelu(x), *side)),
        ("gelu tanh", unary(lambda m, F, x: F.gelu(x, approximate="tanh"), *side)),
        ("exp", unary(lambda m, F, x: m.exp(x), *side)),
        ("tanh", unary(lambda m, F, x: m.tanh(x), *side)),
        ("sum dim 0", unary(lambda m, F, x: x.sum(0), *side)),
        ("sum dim 1", unary(lambda m, F, x: x.sum(1), *side)),
        ("sum", unary(lambda m, F, x: x.sum(), *side)),
        ("transposed copy", unary(lambda m, F, x: x.t().contiguous(), 1024, 1024)),
        ("causal attention", _attention),
        ("embedding", _embedding),
    ]
    return Group("a million elements", cases, 1.0, mean=1.3)


def _small(code: Callable[[Any, Any, Any], object]) -> Build:
    """Small tensors a, b (constants) and w (wants a gradient)."""

    def build(m: Any, F: Any) -> Callable[[], object]:
        class T:
            a, b = numbers(m, 8, 8), numbers(m, 8, 8, seed=1)
            w = numbers(m, 8, 8, seed=2).requires_grad_()

        return lambda: code(m, F, T)

    return build


def _five(m: Any, F: Any, t: Any) -> None:
    (F.relu((t.w @ t.b) + t.a) * t.b).sum().backward()
    t.w.grad = None


def _overhead() -> Group:
    cases = [
        ("a + b", _small(lambda m, F, t: t.a + t.b)),
        ("w + b, gradient", _small(lambda m, F, t: t.w + t.b)),
        ("a @ b", _small(lambda m, F, t: t.a @ t.b)),
        ("w @ b, gradient", _small(lambda m, F, t: t.w @ t.b)),
        ("five operations, forward and backward", _small(_five)),
        ("a * 2.0", _small(lambda m, F, t: t.a * 2.0)),
        ("tanh(a)", _small(lambda m, F, t: m.tanh(t.a))),
        ("a.sum()", _small(lambda m, F, t: t.a.sum())),
        ("a.add_(b)", _small(lambda m, F, t: t.a.add_(t.b))),
        ("a.reshape(64)", _small(lambda m, F, t: t.a.reshape(64))),
        ("a.t()", _small(lambda m, F, t: t.a.t())),
        ("a[0]", _small(lambda m, F, t: t.a[0])),
        ("a[2:4, 1]", _small(lambda m, F, t: t.a[2:4, 1])),
        ("softmax(a, -1)", _small(lambda m, F, t: F.softmax(t.a, -1))),
        ("linear(a, w, bias), gradient", _small(lambda m, F, t: F.linear(t.a, t.w, t.b[0]))),
    ]
    return Group("small operations", cases, 1.0, grad=True)


GROUPS = [_matmuls(), _convolutions(False), _convolutions(True), _attentions(False), _attentions(True),
          _million(), _overhead()]  # fmt: skip
