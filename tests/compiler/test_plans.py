"""Calls that native code makes again by itself: what they find changed, and what they leave behind.

The first launches of a program are timed, in Python; so each test calls often enough to come past them.
"""

from __future__ import annotations

import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fanal
from fanal import nn
from fanal.compiler.kinds import PLANS
from fanal.compiler.planned import REWRITES
from fanal.compiler.samples import LAUNCHES

CALLS = LAUNCHES + 3


def quick(compiled: Any, *args: Any) -> Any:
    """Call until native code makes the call by itself; the last result."""
    inner = getattr(compiled, "_compiled", compiled)
    for _ in range(CALLS):
        result = compiled(*args)
    assert inner.kinds.plans
    return result


def captures(compiled: Any) -> int:
    inner = getattr(compiled, "_compiled", compiled)
    return sum(len(k.replays) for k in inner.kinds)


def training(layers: int = 2, **options: Any) -> tuple[nn.Module, Any, Callable[[Any], Any]]:
    fanal.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(layers)])
    optimizer = fanal.optim.AdamW(model.parameters(), **{"lr": 0.1, **options})

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = model(x).pow(2).sum()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, step


# -- gradients ---------------------------------------------------------------------------------------------


def test_a_gradient_that_somebody_holds_stays_what_it_was() -> None:
    model, _, step = training()
    compiled, x = fanal.compile(step), fanal.randn(3, 4)
    quick(compiled, x)
    first, second, *_ = model.parameters()
    held, view, array = first.grad, second.grad[1:], model[1].weight.grad.numpy()
    before = held.clone(), view.clone(), array.copy()
    compiled(x)
    assert first.grad is not held and not fanal.equal(first.grad, before[0])
    assert fanal.equal(held, before[0]) and fanal.equal(view, before[1])
    assert np.array_equal(array, before[2])


def test_a_gradient_that_is_watched_goes_as_in_eager_mode() -> None:
    model, _, step = training()
    compiled, x = fanal.compile(step), fanal.randn(3, 4)
    quick(compiled, x)
    gone = [weakref.ref(p.grad) for p in model.parameters()]
    compiled(x)
    assert [r() for r in gone] == [None] * 4


def test_a_gradient_of_the_users_is_replaced() -> None:
    """Of another class, shared by two parameters, taken away: what was there makes no difference."""
    model, _, step = training()
    compiled, x = fanal.compile(step), fanal.randn(3, 4)
    other, _, eager = training()
    for _ in range(CALLS):
        compiled(x), eager(x)
    (first, *_), (twin, *_) = model.parameters(), other.parameters()
    mine = nn.Parameter(fanal.zeros(4, 4))
    for grad in (mine, mine.detach(), None, fanal.ones(4, 4)):
        first.grad, model[1].weight.grad = grad, grad
        assert fanal.equal(compiled(x), eager(x))
        assert type(first.grad) is fanal.Tensor and first.grad is not grad
        assert fanal.equal(first.grad, twin.grad) and first.grad is not model[1].weight.grad
    assert fanal.equal(mine, fanal.zeros(4, 4))


def test_gradients_add_up() -> None:
    layer, other = nn.Linear(4, 2), nn.Linear(4, 2)
    other.load_state_dict(layer.state_dict())
    compiled = fanal.compile(lambda x: layer(x).pow(2).sum().backward())
    for i in range(CALLS + 3):
        x = fanal.randn(3, 4)
        if i == CALLS:
            layer.zero_grad(), other.zero_grad()
        compiled(x)
        other(x).pow(2).sum().backward()
        assert fanal.equal(layer.weight.grad, other.weight.grad)


# -- arguments ---------------------------------------------------------------------------------------------


def test_kinds_of_calls_in_turn() -> None:
    compiled = fanal.compile(lambda x: x * 2 + 1)
    inputs = [fanal.randn(n, 3) for n in range(1, PLANS + 3)]
    inputs += [fanal.randn(3, 3).t(), fanal.arange(6).reshape(2, 3), fanal.randn(2, 3, dtype=fanal.float64)]
    for _ in range(CALLS):
        for x in inputs:
            assert fanal.equal(compiled(x), x * 2 + 1)
    assert len(compiled.kinds.plans) == PLANS


def test_numbers_and_flags_among_arguments() -> None:
    def f(x: Any, factor: Any, flag: bool, name: str) -> Any:
        return x * factor + (1 if flag else 2) + len(name)

    compiled, x = fanal.compile(f), fanal.randn(4)
    quick(compiled, x, 2.5, True, "a")
    for factor, flag, name in ((2.5, False, "a"), (3.5, True, "a"), (3, True, "a"), (2.5, True, "bc")):
        for again in (factor, type(factor)(str(factor))):  # equal, and another object
            assert fanal.equal(compiled(x, again, flag, name), f(x, factor, flag, name))


def test_arguments_that_share_memory() -> None:
    def f(x: Any, y: Any) -> Any:
        x.add_(1)
        return x * y

    compiled, a, b = fanal.compile(f), fanal.zeros(4), fanal.ones(4)
    for _ in range(CALLS):
        compiled(a, b)
    c = fanal.full((4,), 3.0)
    assert fanal.equal(compiled(c, c), fanal.full((4,), 16.0))
    d = fanal.zeros(5)
    assert fanal.equal(compiled(d[:4], d[1:]), fanal.tensor([1.0, 1.0, 1.0, 0.0]))
    assert fanal.equal(compiled(a, b), a * b)


def test_an_argument_that_is_the_models_own() -> None:
    layer = nn.Linear(4, 4)
    compiled, x = fanal.compile(lambda x: layer(x).sum()), fanal.randn(4, 4)
    with fanal.no_grad():
        quick(compiled, x)
        assert fanal.equal(compiled(layer.weight.data), layer(layer.weight).sum())


def test_more_arguments_than_are_compared_at_once() -> None:
    compiled = fanal.compile(lambda *xs: sum(xs))
    many = [fanal.randn(3) for _ in range(70)]
    for _ in range(CALLS):
        assert fanal.equal(compiled(*many), sum(many))


# -- what is read from outside -----------------------------------------------------------------------------


def test_modes_of_each_thread() -> None:
    layer, x = nn.Linear(4, 4), fanal.randn(2, 4)
    compiled = fanal.compile(layer)
    found: list[bool] = []

    def other() -> None:
        for _ in range(CALLS):
            found.append(compiled(x).requires_grad)

    with fanal.no_grad():
        quick(compiled, x)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        found.append(compiled(x).requires_grad)
    assert found == [True] * CALLS + [False]
    with fanal.inference_mode():
        assert not compiled(x).requires_grad
    assert compiled(x).requires_grad


def test_the_default_dtype() -> None:
    compiled, x = fanal.compile(lambda x: x.to(fanal.get_default_dtype())), fanal.arange(3)
    quick(compiled, x)
    fanal.set_default_dtype(fanal.float64)
    try:
        assert compiled(x).dtype is fanal.float64
    finally:
        fanal.set_default_dtype(fanal.float32)
    assert compiled(x).dtype is fanal.float32


def test_rates_and_other_options_at_every_step() -> None:
    model, optimizer, step = training()
    other, twin, eager = training()
    compiled, x = fanal.compile(step), fanal.randn(3, 4)

    def change(i: int, group: dict[str, Any]) -> None:
        if i % 3 == 0:
            group["lr"] = 0.1 / (i + 1)
        if i == CALLS + 1:
            group["name"] = "mine"  # one more entry
        if i == CALLS + 3:
            group["betas"] = (0.8, 0.9)
        if i == CALLS + 5:
            group["maximize"] = True
        if i == CALLS + 8:
            group["lr"] = fanal.tensor(0.05)
        if i > CALLS + 8:
            group["lr"] *= 0.5  # in place, where it is a tensor
        if i == CALLS + 12:
            group["lr"] = 0.25

    for i in range(CALLS + 15):
        for o in (optimizer, twin):
            change(i, o.param_groups[0])
        assert fanal.equal(compiled(x), eager(x))
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            assert fanal.equal(p, q) and fanal.equal(p.grad, q.grad)
    assert captures(compiled) == 2  # `maximize` is another computation, numbers are not


def test_something_equal_in_anothers_place() -> None:
    settings = types.SimpleNamespace(scale=1000.0, name="a b")
    compiled, x = fanal.compile(lambda x: x * settings.scale if settings.name else x), fanal.ones(2)
    for i in range(3 * REWRITES):
        settings.scale, settings.name = float(str(settings.scale)), " ".join(["a", "b"])
        assert compiled(x)[0] == 1000
        if i % 5 == 4:
            assert captures(compiled) == 1
    settings.scale = 2000.0
    assert compiled(x)[0] == 2000


class Scaled(nn.Module):
    """Reads attributes of its class, defaults, a dict, a set and a slot."""

    factor = 2.0

    def __init__(self, options: Any) -> None:
        super().__init__()
        self.options = options

    def scale(self, x: Any, by: float = 3.0, *, more: float = 1.0) -> Any:
        return x * by * more * self.factor

    def forward(self, x: Any) -> Any:
        for number in self.options.numbers:
            x = x + number
        return self.scale(x) if self.options.on else x


class Options:
    """With slots."""

    __slots__ = ("numbers", "on")

    def __init__(self, numbers: Any) -> None:
        self.numbers, self.on = numbers, True


@pytest.mark.parametrize("numbers", [[1.0, 2.0], {1.0: 0, 2.0: 0}, (1.0, 2.0)])
def test_places_that_are_read(monkeypatch: pytest.MonkeyPatch, numbers: Any) -> None:
    model, x = Scaled(Options(numbers)), fanal.ones(2)
    compiled = fanal.compile(model)

    def same() -> None:
        assert fanal.equal(compiled(x), model(x))

    for _ in range(CALLS):
        same()
    monkeypatch.setattr(Scaled, "factor", 5.0)
    same()
    monkeypatch.setattr(Scaled.scale, "__defaults__", (4.0,))
    same()
    monkeypatch.setitem(Scaled.scale.__kwdefaults__, "more", 3.0)
    same()
    if isinstance(numbers, list):
        numbers.append(5.0)
    elif isinstance(numbers, dict):
        numbers[7.0] = 0
    same()
    model.options.on = False
    same()
    model.options = Options((9.0,))
    same()


def test_modules_elsewhere_make_no_difference() -> None:
    layer, other, x = nn.Linear(4, 4), nn.Linear(2, 2), fanal.randn(2, 4)
    compiled = fanal.compile(layer)
    with fanal.inference_mode():
        quick(compiled, x)
        for i in range(20):
            other.count = i
            assert fanal.equal(compiled(x), layer(x))
        assert captures(compiled) == 1
        layer.weight = nn.Parameter(fanal.zeros(4, 4))
        assert fanal.equal(compiled(x), layer(x))


# -- what is handed out ------------------------------------------------------------------------------------


def test_results_of_many_forms() -> None:
    def f(x: Any) -> Any:
        y = x + 1
        return {"a": y, "b": [y[1:], x, (y * 2, 3)], "c": None}

    compiled = fanal.compile(f)
    for _ in range(CALLS):
        x = fanal.randn(4)
        found, wanted = compiled(x), f(x)
        assert list(found) == ["a", "b", "c"] and found["b"][1] is x and found["b"][2][1] == 3
        assert fanal.equal(found["a"], wanted["a"]) and fanal.equal(found["b"][0], wanted["b"][0])
        assert found["b"][0].data_ptr() == found["a"].data_ptr() + 4
        assert fanal.equal(found["b"][2][0], wanted["b"][2][0])


def test_results_are_memory_of_their_own() -> None:
    compiled, x = fanal.compile(lambda x: x + 1), fanal.zeros(4)
    results = [quick(compiled, x), compiled(x), compiled(x)]
    results[0].fill_(7.0)
    assert [r[0].item() for r in results] == [7.0, 1.0, 1.0]
    assert results[1].grad is None and results[1].is_leaf and not results[1].requires_grad
    results[1].requires_grad_().sum().backward()
    assert results[1].grad[0] == 1


def test_a_failing_call_changes_nothing() -> None:
    fanal.manual_seed(0)
    table, head = nn.Embedding(5, 4), nn.Linear(4, 2)
    optimizer = fanal.optim.SGD([*table.parameters(), *head.parameters()], lr=0.1, momentum=0.9)

    def step(i: Any) -> Any:
        optimizer.zero_grad()
        loss = head(table(i)).sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = fanal.compile(step)
    quick(compiled, fanal.tensor([0, 1]))
    kept = [*table.parameters(), *head.parameters(), *(p.grad for p in head.parameters())]
    before, runs = [t.clone() for t in kept], compiled.kinds
    for _ in range(3):
        with pytest.raises(IndexError, match="index out of range"):
            compiled(fanal.tensor([0, 9]))
    assert all(map(fanal.equal, kept, before)) and captures(compiled) == 1 and runs
    assert head.weight.grad is kept[-2]
    compiled(fanal.tensor([0, 1]))
    assert not fanal.equal(head.weight, before[1])


def test_writes_count_as_writes() -> None:
    """Autograd sees that a saved tensor was written to by a call."""
    weight = fanal.ones(3)
    compiled = fanal.compile(lambda x: weight.mul_(x))
    for _ in range(CALLS):
        compiled(fanal.ones(3))
    x = fanal.ones(3, requires_grad=True)
    y = (x * weight).sum()
    compiled(fanal.ones(3))
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
