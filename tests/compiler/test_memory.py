"""Views, writes in place and shared memory inside of captured functions."""

from __future__ import annotations

from typing import Any

import pytest

import fanal
from tests.compiler.against_eager import Program, check


def views(x: Any) -> Any:
    y = x.reshape(2, 6)
    z = y.t()
    z[0] = 7.0
    y[:, 1:3].mul_(2)
    x[0].add_(1)
    return x * 1, y.sum(0), z.contiguous(), x.stride(), z.stride()


def chain_of_views(x: Any) -> Any:
    y = x.clone()
    a = y[1:, ::2]
    b = a.transpose(0, 1).unsqueeze(1)
    b.copy_(fanal.arange(6.0).reshape(2, 1, 3)[:, :, : b.shape[2]] if b.shape[2] == 3 else b * 2)
    y.diagonal().fill_(9)
    return y, a * 1, b + 0


def strided(x: Any) -> Any:
    y = x.clone().flatten()
    windows = y.unfold(0, 4, 2)
    w = y.as_strided((3, 3), (2, 1), 1)
    w.add_(1) if w._layout.numel == 0 else y.add_(1)
    return windows.sum(1), w * 2, y


def in_place_results(x: Any) -> Any:
    y = fanal.empty_like(x)
    y.zero_()
    y[0] = x[0]
    out = fanal.empty(3, 4)
    fanal.add(x, y, out=out)
    x += 1
    return out, y, x


def same_tensor_twice(x: Any) -> Any:
    y = x.view(-1)
    return x, x, y, {"x": x}


@pytest.mark.parametrize(
    "function", [views, chain_of_views, strided, in_place_results, same_tensor_twice]
)
def test_views_and_writes(function: Any) -> None:
    def make() -> Program:
        kept: list[Any] = []

        def inputs(i: int) -> tuple[Any, ...]:
            kept.append(fanal.arange(12.0).reshape(3, 4) + i)
            return (kept[-1],)

        return Program(function, inputs, state=lambda: list(kept))

    check(make, 4)


def test_results_that_share_memory_share_it() -> None:
    @fanal.compile
    def function(x: Any) -> Any:
        y = x * 2
        return y, y[1:], y.t()

    for _ in range(3):
        y, part, turned = function(fanal.arange(6.0).reshape(2, 3))
        part.fill_(-1)
        assert turned[0].tolist() == [0.0, -1.0]
        assert y[1].tolist() == [-1.0, -1.0, -1.0]


def test_arguments_that_share_memory() -> None:
    def function(a: Any, b: Any) -> Any:
        a.add_(1)
        return a * b, b * 1

    def make() -> Program:
        def inputs(i: int) -> tuple[Any, ...]:
            x = fanal.arange(12.0)
            return ((x[:6], x[3:9]), (x[:6], x[:6]), (x[:6], x[6:]), (x[:6], x.clone()[:6]))[i % 4]

        return Program(function, inputs)

    check(make, 8)


def test_an_argument_that_is_state() -> None:
    def make() -> Program:
        w = fanal.ones(3)

        def function(x: Any) -> Any:
            w.add_(x)
            return x * 2

        return Program(function, lambda i: (w if i % 2 else fanal.ones(3),), state=lambda: w)

    check(make)


def test_flat_parameters() -> None:
    def make() -> Program:
        flat = fanal.zeros(6)
        a, b = flat[:3], flat[3:]

        def function(x: Any) -> Any:
            a.add_(x)
            b.sub_(x * a)
            return a + b

        return Program(function, state=lambda: flat)

    check(make)


def test_overlapping_windows_of_state() -> None:
    def make() -> Program:
        flat = fanal.arange(6.0)
        a, b = flat[:4], flat[2:]

        def function(x: Any) -> Any:
            y = b * 1
            a.mul_(2)
            b.add_(1)
            return y + b, a.sum() + x.sum()

        return Program(function, state=lambda: flat)

    check(make)


def test_state_of_other_layouts() -> None:
    def make() -> Program:
        w = fanal.zeros(4, 3).t()
        wide = fanal.zeros(1, 3).expand(4, 3)

        def function(x: Any) -> Any:
            w[:, 1:].add_(x[:, None])
            return w.sum(), wide + x

        return Program(function, state=lambda: w)

    check(make)


def test_data_made_in_the_function() -> None:
    def make() -> Program:
        def function(x: Any) -> Any:
            t = fanal.tensor([1.0, 2.0, 3.0])
            t.add_(x)
            u = fanal.arange(3) + t
            v = fanal.zeros(3).fill_(2).long()
            return t, u, v, fanal.full((2,), 3), fanal.eye(2)

        return Program(function)

    check(make)


def test_random_numbers_and_their_generators() -> None:
    def make() -> Program:
        own = fanal.Generator().manual_seed(3)

        def function(x: Any) -> Any:
            a = fanal.randn(3) + fanal.nn.functional.dropout(x, 0.5)
            return a, fanal.rand(2, generator=own), fanal.randperm(4), x.clone().normal_()

        return Program(function, state=lambda: (fanal.get_rng_state(), own.get_state()))

    check(make)


def test_seeding_inside() -> None:
    def make() -> Program:
        def function(x: Any) -> Any:
            fanal.manual_seed(1)
            return fanal.randn(3) + x

        return Program(function, state=fanal.get_rng_state)

    check(make, 3)


def test_numpy_inside() -> None:
    def make() -> Program:
        def function(x: Any) -> Any:
            y = x * 2
            a = y.numpy()
            y.add_(1)
            return y, a.copy(), fanal.from_numpy(a) * 3

        def plain(x: Any) -> Any:
            y, a, z = inner(x)
            return y, a.tolist(), z

        inner = fanal.compile(function)
        return Program(plain)

    check(make)


def test_odd_tensors() -> None:
    def make() -> Program:
        def function(a: Any, b: Any, c: Any) -> Any:
            return a.sum(), a + 1, b.abs() * 2, c.flip(0) + c, b.reshape(1, 1), a.reshape(3, 0)

        def inputs(i: int) -> tuple[Any, ...]:
            return fanal.zeros(0, 3), fanal.tensor(-2.5), fanal.arange(10.0)[::3]

        return Program(function, inputs)

    check(make, 3)


@pytest.mark.parametrize("name", ["float64", "float16", "bfloat16", "int64", "int8", "uint8", "bool"])
def test_dtypes(name: str) -> None:
    dtype = getattr(fanal, name)

    def make() -> Program:
        def function(x: Any) -> Any:
            y = x + x
            y[1:] = x[:-1]
            return y, y.to(fanal.float32).mean(), x.sum(), (x == y).any(), x.cumsum(0)

        return Program(function, lambda i: (fanal.arange(5).to(dtype),))

    check(make, 3)
