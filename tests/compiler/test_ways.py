"""Calls whose Python asks for values: on ways that are known they run without it, and nobody can tell.

Each program is called with data that takes it along its ways in a random order, eagerly and compiled, and
everything that can be seen is compared bit by bit.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import fanal
import fanal.nn as nn
from fanal.backends.native.executable import runtime
from fanal.compiler.tree import Tree
from tests.compiler.against_eager import Program, check, reasons
from tests.compiler.test_threads import at_once

watched = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="calls are not watched on this version: Python runs at each"
)
Make = Callable[[], Program]


def data(seed: int, count: int = 8) -> Any:
    return fanal.randn(count, generator=fanal.Generator().manual_seed(seed))


def one(i: int) -> tuple[Any, ...]:
    return (data(i),)


def without_python(program: Program) -> int:
    """How many calls needed no Python."""
    kinds = program.compiled.kinds
    return sum(r.runs for kind in kinds for r in kind.replays if isinstance(r, Tree))


def network() -> Any:
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))


def training(step: Callable[[Any, Any, Any], Any], scale: int = 5) -> Program:
    """A program that calls `step(model, optimizer, x)`."""
    model = network()
    optimizer = fanal.optim.AdamW(model.parameters(), lr=0.05)
    return Program(
        lambda x: step(model, optimizer, x), lambda i: (data(i) * (i % scale),),
        state=lambda: (model.state_dict(), [p.grad for p in model.parameters()]),
    )  # fmt: skip


# -- branches ----------------------------------------------------------------------------------------------


def nested() -> Program:
    def function(x: Any) -> Any:
        if x[0] > 0:
            y = x * 2
            y = y + 1 if y[1] > 0 else y - 1
        elif x[2] > 0.5:
            y = x / 3
        else:
            y = -x
        if y.sum() > 0:
            return y, 1
        return {"y": y * y}

    return Program(function, one)


def clipping() -> Program:
    def step(model: Any, optimizer: Any, x: Any) -> Any:
        optimizer.zero_grad()
        loss = model(x).pow(2).mean()
        if loss > 0.4:
            loss = loss * 2
        loss.backward()
        norm = fanal.stack([p.grad.norm() for p in model.parameters()]).norm()
        if norm > 0.5:
            for p in model.parameters():
                p.grad.mul_(0.5 / norm)
        optimizer.step()
        return loss

    return training(step)


def clipping_with_floats() -> Program:
    def step(model: Any, optimizer: Any, x: Any) -> Any:
        optimizer.zero_grad()
        loss = model(x).pow(2).mean()
        loss.backward()
        norm = fanal.stack([p.grad.pow(2).sum() for p in model.parameters()]).sum().sqrt().item()
        factor = min(1.0, 0.5 / (norm + 1e-6))
        for p in model.parameters():
            p.grad *= factor
        optimizer.step()
        return loss, norm

    return training(step)


def gradients_across_a_look() -> Program:
    w = nn.Parameter(fanal.ones(8))

    def function(x: Any) -> Any:
        w.grad = None
        y = (w * x).exp()
        largest = y.max().item()
        loss = (y / largest - largest * 0.1 + (2 - largest * w)).sum()
        if loss > 0:
            loss = loss * largest
        loss.backward()
        return loss.detach() > largest, w.grad - largest

    return Program(function, one, state=lambda: w.grad)


def gradients_that_add_up() -> Program:
    w = nn.Parameter(fanal.ones(8))

    def function(x: Any) -> Any:
        loss = (w * x).sum()
        loss.backward()
        if loss > 0:
            (w * x * x).sum().backward()
        return w.grad * 1

    def between(i: int) -> None:
        if i % 5 == 0:
            w.grad = None

    return Program(function, one, between, lambda: w.grad)


def random_draws() -> Program:
    drop = nn.Dropout(0.5)

    def function(x: Any) -> Any:
        y = drop(x)
        if y.sum() > 0:
            y = drop(y)
        z = fanal.rand(3)
        if z[0] > 0.5:
            z = z + fanal.rand(3)
        return y, z

    return Program(function, one, state=fanal.get_rng_state)


def loops() -> Program:
    def function(x: Any) -> Any:
        n = 0
        while x.sum() < 50:
            x = x * 1.5 + 0.1
            n += 1
        return x + n, n

    return Program(function, lambda i: (data(i).abs() * (1 + i % 4),))


def integers() -> Program:
    def function(x: Any) -> Any:
        n = int((x > 0).sum())
        return x[:n] * 2, fanal.zeros(n), list(range(n))

    return Program(function, one)


def masks() -> Program:
    def function(x: Any) -> Any:
        return x[x > 0] * 2, fanal.where(x < 0)[0] + 1

    return Program(function, one)


def windows_and_writes() -> Program:
    buffer = fanal.zeros(4, 4)

    def function(x: Any, y: Any) -> Any:
        x.mul_(2)
        row = buffer[1]
        row.add_(x[:4])
        if row.sum() > 0:
            buffer[2].copy_(row * 2)
        else:
            y.add_(x)
        if buffer[2, 0] > 1:
            return buffer.sum(), row + 0
        return (row + 1, y.sum())

    return Program(function, lambda i: (data(i), data(i + 100)), state=lambda: buffer)


def normalisation() -> Program:
    net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))

    def function(x: Any) -> Any:
        y = net(x)
        if y[0, 0] > 0:
            y = net(y)
        return y.detach()

    return Program(
        function, lambda i: (data(i, 32).reshape(4, 8),), lambda i: net.train(i % 7 < 4) and None,
        net.state_dict,
    )  # fmt: skip


# -- numbers -----------------------------------------------------------------------------------------------


def floats() -> Program:
    def function(x: Any) -> Any:
        s = x.sum().item()
        t = abs(s) * 2 - 1
        if t > 3:
            return x * 2, s, t
        if -t > s:
            return [x - 1, {"a": s + t}]
        m = max(s, 0.25)
        if math.isfinite(m) and 0.3 < m:
            return m
        return x, round(s), s

    return Program(function, one)


def helpers() -> Program:
    def norm(t: Any) -> float:
        return float(t.pow(2).sum().sqrt())

    def both(t: Any) -> Any:
        return t * 2, norm(t)

    def function(x: Any) -> Any:
        y, n = both(x)
        a, b = [norm(v) for v in (x, y)]
        if n > 3:
            return y
        return (x, a) if a + b > 2 else (x - 1, [a, b])

    return Program(function, one)


def errors_of_numbers() -> Program:
    def function(x: Any) -> Any:
        first = x[0].item()
        try:
            inverse = 1 / first
        except ZeroDivisionError:
            return x - 5
        try:
            whole = int(x[1])
        except ValueError:
            return x * 0 + 9
        return x - whole if inverse > 0 else x

    def inputs(i: int) -> tuple[Any, ...]:
        x = data(i) * (i % 3)
        return (x * math.nan if i % 4 == 1 else x,)

    return Program(function, inputs)


def lists_of_numbers() -> Program:
    def function(x: Any, n: Any) -> Any:
        first, second = n.tolist()
        half = x.half().sum().item()
        return x[:first] * second, half, [2 * v for v in n.tolist()]

    return Program(function, lambda i: (data(i), fanal.tensor([i % 3 + 1, 2])))


def policy_gradient() -> Program:
    def step(model: Any, optimizer: Any, x: Any) -> Any:
        optimizer.zero_grad()
        policy = fanal.distributions.Categorical(logits=model(x))
        action = policy.sample()
        loss = -policy.log_prob(action) * x[0]
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5, error_if_nonfinite=True)
        optimizer.step()
        return action, loss.item()

    return training(step)


def packed_sequences() -> Program:
    net = nn.LSTM(2, 3, batch_first=True)

    def function(x: Any, lengths: Any) -> Any:
        with fanal.no_grad():
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
            return nn.utils.rnn.pad_packed_sequence(net(packed)[0], batch_first=True)

    return Program(
        function, lambda i: (data(i, 24).reshape(3, 4, 2), fanal.tensor([4, 1 + i % 3, 2]))
    )


def steps_of_polyak() -> Program:
    w = nn.Parameter(fanal.ones(8))

    def function(x: Any) -> Any:
        w.grad = None
        loss = (w * x).pow(2).sum()
        loss.backward()
        size = loss.item() / (w.grad.pow(2).sum().item() + 1e-3)
        with fanal.no_grad():
            w.add_(w.grad, alpha=-size)
        return size, w.detach().sub(x, alpha=size)

    return Program(function, one, state=lambda: (w, w.grad))


WAYS: list[tuple[Make, int]] = [
    (nested, 7), (clipping, 4), (clipping_with_floats, 2), (gradients_across_a_look, 2),
    (gradients_that_add_up, 4), (random_draws, 4), (loops, 7), (integers, 8), (masks, 8),
    (windows_and_writes, 4), (normalisation, 4), (floats, 6), (helpers, 3), (errors_of_numbers, 12),
    (lists_of_numbers, 6), (policy_gradient, 2), (packed_sequences, 4),
    (steps_of_polyak, 2),
]  # fmt: skip


@watched
@pytest.mark.parametrize(("make", "ways"), WAYS, ids=lambda x: getattr(x, "__name__", ""))
def test_known_ways_need_no_python(make: Make, ways: int) -> None:
    calls = 60
    program = check(make, calls)
    assert not reasons(program)
    assert without_python(program) >= calls - ways


@watched
def test_a_module_that_returns_a_number() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Any) -> Any:
            y = self.inner(x).detach()
            scale = y.abs().max().item()
            return y / scale if scale > 0.5 else y, scale

    model = Scaled()
    compiled: Any = fanal.compile(model)
    for i in range(30):
        (a, b), (c, d) = compiled(data(i)), model(data(i))
        assert fanal.equal(a, c) and b == d
    (kind,) = compiled._compiled.kinds
    assert sum(r.runs for r in kind.replays) >= 28


# -- lists that grow ---------------------------------------------------------------------------------------


def logging() -> Program:
    log: list[Any] = []
    w = nn.Parameter(fanal.ones(8))

    def function(x: Any) -> Any:
        w.grad = None
        loss = (w * x).pow(2).sum()
        loss.backward()
        with fanal.no_grad():
            w.sub_(w.grad * 0.1)
        if loss > 3:
            log.append("large")
        log.append(loss.item())
        log.append(loss.detach())
        return loss

    return Program(function, one, state=lambda: (w, w.grad, list(log)))


@watched
def test_lists_that_are_only_appended_to() -> None:
    program = check(logging, 40)
    assert without_python(program) >= 38


def test_the_very_objects_are_appended() -> None:
    log: list[Any] = []

    @fanal.compile
    def function(x: Any) -> Any:
        y = x * 2
        log.append(y)
        log.append(x)
        log.append(y)
        return y

    for i in range(4):
        x = fanal.full((2,), float(i))
        y = function(x)
        assert log[-1] is y and log[-2] is x and log[-3] is y
    assert len(log) == 12 and [t.tolist() for t in log[0::3]] == [[0, 0], [2, 2], [4, 4], [6, 6]]


def test_lists_that_are_also_read() -> None:
    def make() -> Program:
        log: list[Any] = []
        other: list[Any] = []

        def function(x: Any) -> Any:
            x = x + len(other)
            log.append(x.sum())
            other.append(1)
            return x * len(log), log[-1]

        return Program(function, one, state=lambda: (list(log), list(other)))

    check(make, 6)


def test_appending_to_an_argument() -> None:
    def make() -> Program:
        log: list[Any] = []

        def function(x: Any, some: Any) -> Any:
            some.append(x.sum())
            return x + 1

        return Program(function, lambda i: (data(i), log), state=lambda: list(log))

    check(make, 6)


# -- what stands between -----------------------------------------------------------------------------------


def test_exceptions_between_two_programs() -> None:
    """What was done before it stays, and nothing is done twice."""

    def make() -> Program:
        w = fanal.zeros(8)
        p = nn.Parameter(fanal.ones(8))

        def function(x: Any) -> Any:
            w.add_(x)
            p.grad = None
            (p * w).sum().backward()
            if x[0] > 0.5:
                raise ValueError("too large")
            w.mul_(0.9)
            if x[1] > 0.5:
                try:
                    if w.sum() > 0:
                        raise KeyError("a")
                except KeyError:
                    return w - 1
            return w * 1

        inner = fanal.compile(function)
        run = Program(function, one, state=lambda: (w, p.grad))

        def caught(x: Any) -> Any:
            try:
                return (inner if run.compiled is not None else function)(x)
            except ValueError as error:
                line = error.__traceback__
                while line is not None and line.tb_next is not None:
                    line = line.tb_next
                return str(error), line is not None and line.tb_frame.f_code.co_name

        run.function = caught
        return run

    expected, _ = trail_of(make, 60, False)
    found, _ = trail_of(make, 60, True)
    assert found == expected


def trail_of(make: Make, calls: int, compiled: bool) -> tuple[list[Any], Program]:
    """As `trail`, where a program compiles its function by itself."""
    from tests.compiler.against_eager import seen

    fanal.manual_seed(0)
    program = make()
    program.compiled = True if compiled else None
    found = []
    for i in range(calls):
        program.between(i)
        found.append((seen(program.function(*program.inputs(i))), seen(program.state())))
    return found, program


def test_effects_behind_a_decision_happen_once() -> None:
    def make() -> Program:
        log: list[Any] = []

        def function(x: Any) -> Any:
            y = x * 2
            if y.sum() > 1:
                log.append(float(y.sum()))
            if y[0] > 1:
                log.append("large")
                y = y + len(log)
            return y

        return Program(function, one, state=lambda: list(log))

    check(make, 100)


@watched
def test_an_effect_on_one_way_leaves_the_others_without_python() -> None:
    def make() -> Program:
        log: list[Any] = []

        def function(x: Any) -> Any:
            y = x * 2
            if y.sum() > 5:
                log.append(float(y.sum()))
            return y

        return Program(function, one, state=lambda: list(log))

    program = check(make, 100)
    assert not reasons(program) and without_python(program) > 50


def test_what_is_printed_is_printed_each_time(capsys: Any) -> None:
    @fanal.compile
    def function(x: Any) -> Any:
        if x.sum() > 0:
            print("positive")
        return x * 2

    for i in range(10):
        function(fanal.full((3,), 1.0 if i % 2 else -1.0))
    assert capsys.readouterr().out.count("positive") == 5


def test_globals_and_attributes_that_change_between_calls() -> None:
    def make() -> Program:
        options = {"a": 2, "b": 1}

        def function(x: Any) -> Any:
            if x.sum() > 0:
                return x * options["a"]
            return x - options["b"]

        def between(i: int) -> None:
            options["a"] = i // 10
            options["b"] = i // 25

        return Program(function, one, between)

    check(make, 60)


def test_hooks_and_modes_that_change_between_calls() -> None:
    def make() -> Program:
        net = network()
        handles: list[Any] = []

        def function(x: Any) -> Any:
            y = net(x).detach()
            if y.sum() > 0:
                return net(x).detach() + y
            return y

        def between(i: int) -> None:
            if i == 10:
                handles.append(net.register_forward_hook(lambda m, a, o: o * 3))
            if i == 20:
                handles.pop().remove()
            if i == 30:
                net[2].weight = nn.Parameter(fanal.ones(4, 8))

        return Program(function, one, between)

    check(make, 45)


def test_a_rate_that_changes_between_calls() -> None:
    def make() -> Program:
        model = network()
        optimizer = fanal.optim.SGD(model.parameters(), lr=0.1)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = model(x).pow(2).sum()
            loss.backward()
            if loss < 5:
                optimizer.step()
            return loss

        def between(i: int) -> None:
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + i // 3)

        return Program(step, one, between, model.state_dict)

    program = check(make, 40)
    assert sys.version_info >= (3, 13) or without_python(program) >= 36


def test_a_float_that_goes_anywhere_is_right() -> None:
    """Texts, sorting, containers, functions written in C: its very value counts there."""

    def make() -> Program:
        def function(x: Any) -> Any:
            order = sorted([x[0], x[1], x[2]], key=lambda t: t.item())
            total = sum([t.item() for t in order[:2]])
            text = f"{x[0].item():.3f}"
            found = {"largest": order[2].item()}
            found["twice"] = found["largest"] * 2
            return order[0] + total, text, found, math.hypot(total, 1.0)

        return Program(function, one)

    check(make, 30)


def test_a_float_that_python_gets_by_other_ways() -> None:
    def make() -> Program:
        def function(x: Any) -> Any:
            root = math.sqrt(x[0].abs())  # asks for it by itself
            if root > 1:
                return x * 2
            return fanal.full((2,), x[1].item()), [v for v in (x[2].item(),) if v > 0]

        return Program(function, one)

    check(make, 30)


def test_a_program_that_fails_behind_a_look_leaves_what_was_done() -> None:
    def make() -> Program:
        w = fanal.zeros(8)

        def function(x: Any, i: Any) -> Any:
            w.add_(1)
            if x.sum() > 0:
                return fanal.gather(x, 0, i)
            return fanal.gather(x, 0, i) * 2 + w[0]

        run = Program(function, lambda i: (data(i), fanal.tensor([i % 10])), state=lambda: w)

        inner = fanal.compile(function)

        def caught(x: Any, i: Any) -> Any:
            try:
                return (inner if run.compiled is not None else function)(x, i)
            except IndexError as error:
                return str(error).split(" At ")[0]

        run.function = caught
        return run

    assert trail_of(make, 40, True)[0] == trail_of(make, 40, False)[0]


def test_ways_that_never_come_again_run_their_python() -> None:
    def make() -> Program:
        def function(x: Any) -> Any:
            n = int(x.sum() * 1e6)
            return x + n

        return Program(function, one)

    program = check(make, 120)
    assert reasons(program)


def test_more_looks_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanal.compiler.path.PARTS", 5)
    program = check(loops, 20)
    assert "looks at the values" in " ".join(reasons(program)) or sys.version_info >= (3, 13)


def test_programs_of_a_loop_are_shared() -> None:
    @fanal.compile
    def function(x: Any) -> Any:
        while x.sum() < 1e6:
            x = x * 1.25
        return x

    function(fanal.ones(4))
    function(fanal.full((4,), 7.0))
    assert function.kinds.programs <= 4


def test_another_default_dtype_in_between() -> None:
    def make() -> Program:
        def function(x: Any) -> Any:
            y = x * 0.5
            if y.sum() > 0:
                y = y + 1
            return y.sum().item(), fanal.ones(2)

        def between(i: int) -> None:
            fanal.set_default_dtype(fanal.float64 if i % 6 == 3 else fanal.float32)

        return Program(function, lambda i: (data(i).to(fanal.float32),), between)

    try:
        check(make, 40)
    finally:
        fanal.set_default_dtype(fanal.float32)


def test_threads_that_take_different_ways() -> None:
    w = fanal.ones(8)

    def function(x: Any) -> Any:
        y = x * w
        if y[0] > 0:
            return y + 1 if y[1] > 0 else y - y.sum().item()
        return y * 3

    compiled = fanal.compile(function)
    inputs = [data(i) for i in range(20)]
    expected = [function(x) for x in inputs]

    def work(number: int) -> None:
        for i in range(200):
            k = (7 * number + i) % len(inputs)
            assert fanal.equal(compiled(inputs[k]), expected[k])

    at_once(work)
    assert threading.active_count() < 50


def test_memory_of_long_loops() -> None:
    """What is made on the way is let go on the way."""

    @fanal.compile
    def function(x: Any) -> Any:
        n = 0
        while x[0] < 50:
            x = x + 1
            n += 1
        return x.sum()

    x = fanal.zeros(100_000)
    for _ in range(3):
        function(x)
    before = runtime.memory_stats()["allocated_bytes"]
    runtime.reset_peak_memory_stats()
    function(x)
    assert runtime.memory_stats()["peak_bytes"] - before < 4 * x.nbytes
