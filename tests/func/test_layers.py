"""Every layer and function of nn, mapped over inputs, parameters and buffers: `vmap` is the loop, its
gradients are the loop's, and tangents are adjoint to them. Everyday a part of the cases."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fanal
from fanal import nn
from fanal.func import functional_call, jvp, vjp, vmap
from fanal.nn.utils import rnn
from tests.func.check import close, leaves
from tests.nn import cases
from tests.nn.cases.case import Case, Function, M, X
from tests.nn.runner import Library, fill

LIBRARY = Library(
    nn, lambda array, grad: fanal.tensor(array), lambda t: t.detach().numpy().copy(),
    lambda t: isinstance(t, fanal.Tensor), rnn,
)  # fmt: skip
SIZE = 3
# What looks at elements: lengths, offsets, numbers of classes; and where it leads depends on them.
LOOKS = (
    "AdaptiveLogSoftmaxWithLoss", "BatchNorm1d/5", "EmbeddingBag/1", "EmbeddingBag/2", "EmbeddingBag/4",
    "EmbeddingBag/5", "EmbeddingBag/7", "EmbeddingBag/8", "EmbeddingBag/9", "F.embedding_bag/direct-1",
    "F.one_hot/1", "ctc/3", "ctc/6",
)  # fmt: skip
# Where the mapped lengths are ints of the loop, or a leaf is written to.
NO_GRADIENT = ("ctc/", "F.batch_norm/1", "/inplace", "Threshold/1", "LeakyReLU/2")


def specs(spec: Any) -> list[X]:
    """The tensors that an argument is made of, in order."""
    if isinstance(spec, X):
        return [spec]
    if isinstance(spec, M):
        return specs((spec.args, spec.kwargs))
    if isinstance(spec, dict):
        return specs(tuple(spec.values()))
    return [x for s in spec for x in specs(s)] if isinstance(spec, tuple | list) else []


def made(spec: Any, tensors: Iterator[Any]) -> Any:
    """An argument with these tensors in its places."""
    if isinstance(spec, X):
        return next(tensors)
    if isinstance(spec, M):
        args = made(spec.args, tensors)
        return getattr(nn, spec.name)(*args, **made(spec.kwargs, tensors))
    if isinstance(spec, Function):
        return getattr(nn.functional, spec.name)
    if isinstance(spec, dict):
        return {k: made(s, tensors) for k, s in spec.items()}
    if isinstance(spec, tuple | list) and not hasattr(spec, "_fields"):
        return type(spec)(made(s, tensors) for s in spec)
    return spec


class Mapped:
    """A case as a function of (state, tensors), with `SIZE` samples of both."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.module = None
        if case.body is None and not case.name.startswith("F."):
            arrays = iter([fanal.tensor(x.array(case.rng())) for x in specs((case.args, case.kwargs))])
            self.module = made(M(case.name, case.args, case.kwargs), arrays)
            self.module.train(case.train)
        inputs = specs((case.inputs, case.call))
        self.samples = []
        for k in range(SIZE):
            rng = np.random.default_rng(zlib.crc32(case.key.encode()) + k)
            self.samples.append([fanal.tensor(x.array(rng)) for x in inputs])
        if case.name.startswith("Lazy"):
            self({}, *self.samples[0])
        self.states: list[dict[str, Any]] = [{} for _ in range(SIZE)]
        if self.module is not None:
            for k in range(SIZE):
                fill(self.module, LIBRARY, np.random.default_rng(k), np.float64)
                named = [*self.module.named_parameters(), *self.module.named_buffers()]
                self.states[k] = {n: t.detach().clone() for n, t in named}

    def __call__(self, state: dict[str, Any], *tensors: Any) -> tuple[Any, ...]:
        given = iter(tensors)
        args, call = made(self.case.inputs, given), made(self.case.call, given)
        if self.module is not None:
            return tuple(leaves(functional_call(self.module, state, args, call)))
        if self.case.body is not None:
            return tuple(leaves(self.case.body(LIBRARY, *args, **call)))
        return tuple(leaves(getattr(nn.functional, self.case.name[2:])(*args, **call)))

    def copied(self) -> tuple[list[dict[str, Any]], list[list[Any]]]:
        """State and inputs that may be written to."""
        return (
            [{n: t.clone() for n, t in s.items()} for s in self.states],
            [[t.clone() for t in row] for row in self.samples],
        )


def usable(case: Case) -> bool:
    modules = case.body is not None and any(isinstance(s, M) for s in case.inputs)
    return not case.key.startswith(LOOKS) and not modules and bool(specs((case.inputs, case.call)))


CASES = [c for c in cases.ALL if usable(c)]
SOME = [c for c in CASES if zlib.crc32(c.key.encode()) % 6 == 0]
DERIVED = [c for c in CASES if not any(n in c.key for n in NO_GRADIENT)]
FEW = [c for c in DERIVED if zlib.crc32(c.key.encode()) % 20 == 0]


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    before = fanal.get_default_dtype()
    fanal.set_default_dtype(fanal.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    fanal.set_default_dtype(before)


def stacked(rows: list[list[Any]]) -> list[Any]:
    return [fanal.stack(list(column)) for column in zip(*rows)]


def check_values(case: Case) -> None:
    mapped = Mapped(case)
    states, samples = mapped.copied()
    wanted = [mapped(s, *row) for s, row in zip(states, samples)]
    fresh, rows = mapped.copied()
    state = {n: fanal.stack([s[n] for s in fresh]) for n in fresh[0]}
    got = vmap(mapped, randomness="same")(state, *stacked(rows))
    for k in range(SIZE):
        close([g[k] for g in got], list(wanted[k]), 1e-8, 1e-8)
        close({n: t[k] for n, t in state.items()}, states[k], 1e-8, 1e-8)


def check_derivatives(case: Case) -> None:
    mapped = Mapped(case)
    learned = [] if mapped.module is None else [n for n, _ in mapped.module.named_parameters()]
    learned = [n for n in learned if mapped.states[0][n].is_floating_point()]
    places = [i for i, t in enumerate(mapped.samples[0]) if t.is_floating_point()]
    if not learned and not places:
        return

    def split(k: int) -> tuple[list[Any], list[Any]]:
        states, samples = mapped.copied()
        moving = [samples[k][i] for i in places] + [states[k][n] for n in learned]
        fixed = [t for i, t in enumerate(samples[k]) if i not in places]
        return moving, fixed + [t for n, t in states[k].items() if n not in learned]

    def function(moving: Any, fixed: Any) -> tuple[Any, ...]:
        a, b = iter(moving), iter(fixed)
        tensors = [next(a if i in places else b) for i in range(len(mapped.samples[0]))]
        state = {n: next(a) for n in learned}
        state |= {n: next(b) for n in mapped.states[0] if n not in learned}
        found = mapped(state, *tensors)
        return tuple(y for y in found if y.is_floating_point())

    parts = [split(k) for k in range(SIZE)]
    rng = np.random.default_rng(3)

    def random(like: Any) -> list[Any]:
        return [fanal.tensor(rng.standard_normal(tuple(t.shape))) for t in like]

    us = [random(function(*split(0))) for _ in range(SIZE)]
    vs = [random(parts[0][0]) for _ in range(SIZE)]
    if not us[0]:
        return

    def both(moving: Any, fixed: Any, u: Any, v: Any) -> Any:
        pulled = vjp(lambda *m: function(m, fixed), *moving)[1](tuple(u))
        return pulled, jvp(lambda *m: function(m, fixed), tuple(moving), tuple(v))[1]

    def total(outputs: Any, u: Any) -> Any:
        parts = [(o * w).sum() for o, w in zip(outputs, u) if o.requires_grad]
        return sum(parts) if parts else None

    def gradients(outputs: Any, u: Any, moving: Any) -> list[Any]:
        value = total(outputs, u)
        if value is None:
            return [fanal.zeros_like(m) for m in moving]
        return list(fanal.autograd.grad(value, moving, allow_unused=True, materialize_grads=True))

    wanted = []
    for k in range(SIZE):
        moving, fixed = split(k)
        moving = [m.requires_grad_() for m in moving]
        wanted.append(gradients(function(moving, fixed), us[k], moving))
    moving = [m.requires_grad_() for m in stacked([p[0] for p in parts])]
    fixed = stacked([split(k)[1] for k in range(SIZE)])
    outside = gradients(vmap(function, randomness="same")(moving, fixed), stacked(us), moving)
    moving = [m.detach() for m in moving]
    fixed = stacked([split(k)[1] for k in range(SIZE)])
    inside, pushed = vmap(both, randomness="same")(moving, fixed, stacked(us), stacked(vs))
    scale = max([1.0, *(float(w.abs().max()) for row in wanted for w in row if w.numel())])
    for k in range(SIZE):
        close([g[k] for g in inside], wanted[k], 1e-7, 1e-8 * scale)
        close([g[k] for g in outside], wanted[k], 1e-7, 1e-8 * scale)
        left = sum([float((u * t[k]).sum()) for u, t in zip(us[k], pushed)])
        right = sum([float((w * v).sum()) for w, v in zip(wanted[k], vs[k])])
        assert left == pytest.approx(right, rel=1e-6, abs=1e-7 * scale)


@pytest.mark.parametrize("case", SOME, ids=[c.key for c in SOME])
def test_values(case: Case) -> None:
    check_values(case)


@pytest.mark.parametrize("case", FEW, ids=[c.key for c in FEW])
def test_derivatives(case: Case) -> None:
    check_derivatives(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[c.key for c in CASES])
def test_values_of_all(case: Case) -> None:
    check_values(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", DERIVED, ids=[c.key for c in DERIVED])
def test_derivatives_of_all(case: Case) -> None:
    check_derivatives(case)
