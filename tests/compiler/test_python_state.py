"""Python's state counts: each line of what a captured function may read, change or call gives the
eager answer, once a call."""

from __future__ import annotations

import dataclasses
import random
import sys
import time
from typing import Any

import pytest

import fanal
import fanal.nn as nn
from tests.compiler.against_eager import Program, check, reasons, replays

watched = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="calls are not watched on this version: Python runs at each"
)
factor = 1.0


def test_a_global_number() -> None:
    def between(i: int) -> None:
        global factor
        factor = float(i // 2)

    check(lambda: Program(lambda x: x * factor, between=between))


def test_a_variable_of_an_enclosing_function() -> None:
    def make() -> Program:
        scale = 1

        def bump(i: int) -> None:
            nonlocal scale
            scale += i % 2

        return Program(lambda x: x * scale, between=bump)

    check(make)


@watched
def test_variables_of_its_own_that_inner_functions_use() -> None:
    def function(x: Any) -> Any:
        rows, total = x.shape[0], x * 0

        def split(t: Any) -> Any:
            return t.view(rows, -1)

        def add(t: Any) -> None:
            nonlocal total
            total = total + t.sum()

        for y in [split(x) * k + rows for k in range(3)]:
            add(y)
        return total, sum(split(x)[i] for i in range(rows))

    program = check(lambda: Program(function))
    assert replays(program) == 1


@watched
def test_a_function_that_is_returned_keeps_its_variables() -> None:
    def function(x: Any) -> Any:
        count = 0

        def step(t: Any) -> Any:
            nonlocal count
            count += 1
            return t * count

        return step(step(x)), step

    def first_of(x: Any) -> Any:
        y, step = function(x)
        return y, step(y)

    check(lambda: Program(first_of))
    check(lambda: Program(lambda x: (lambda y, step: (y, step(y)))(*function(x))))


@dataclasses.dataclass
class Options:
    factor: float = 1.0
    mode: str = "times"
    flag: bool = True


def test_attributes_numbers_strings_and_flags() -> None:
    def make() -> Program:
        options = Options()

        def function(x: Any) -> Any:
            y = x * options.factor if options.mode == "times" else x - options.factor
            return y if options.flag else -y

        def between(i: int) -> None:
            options.factor, options.mode = float(i // 2), ("times", "minus")[i % 2]
            options.flag = i != 4

        return Program(function, between=between)

    check(make, 8)


class Counter:
    def __init__(self) -> None:
        self.n = 0


def test_an_attribute_that_is_counted_up() -> None:
    def make() -> Program:
        counter = Counter()

        def function(x: Any) -> Any:
            counter.n += 1
            return x * counter.n

        return Program(function, state=lambda: counter.n)

    program = check(make)
    assert "attribute n" in reasons(program)[0]
    assert "test_python_state.py" in reasons(program)[0]  # and the user's line


def test_a_list_that_grows() -> None:
    def make() -> Program:
        losses: list[Any] = []

        def function(x: Any) -> Any:
            loss = (x * x).sum()
            losses.append(loss)
            return loss

        return Program(function, state=lambda: list(losses))

    check(make)


def test_random_numbers_of_pythons() -> None:
    check(lambda: Program(lambda x: x * random.random() + random.gauss(0, 1)))


@pytest.mark.parametrize("kind", ["next", "for"])
def test_an_iterator_is_advanced_once_a_call(kind: str) -> None:
    def make() -> Program:
        numbers = iter([float(i) for i in range(9)])

        def function(x: Any) -> Any:
            if kind == "next":
                return x * next(numbers)
            for v in numbers:
                return x * v
            return x

        return Program(function, state=lambda: numbers.__length_hint__())

    check(make)


def test_a_generator_is_advanced_once_a_call() -> None:
    def make() -> Program:
        def numbers() -> Any:
            n = 0.0
            while True:
                n += 1
                yield n

        source = numbers()
        return Program(lambda x: x * next(source))

    check(make)


def linear() -> tuple[Any, Program]:
    layer = nn.Linear(3, 2)
    return layer, Program(lambda x: layer(x))


def test_a_weight_changed_by_hand() -> None:
    def make() -> Program:
        layer, program = linear()

        def between(i: int) -> None:
            with fanal.no_grad():
                layer.weight.fill_(float(i))

        program.between = between
        return program

    check(make)


def test_a_parameter_swapped() -> None:
    def make() -> Program:
        layer, program = linear()

        def between(i: int) -> None:
            if i == 2:
                layer.weight = nn.Parameter(fanal.ones(2, 3))
            if i == 3:
                layer._parameters["weight"] = nn.Parameter(fanal.ones(2, 3) * 3)
            if i == 4:
                layer.weight.data = fanal.ones(2, 3) * 5
            if i == 5:
                layer.weight.requires_grad_(False)

        program.between = between
        return program

    check(make, 7)


def test_train_and_eval() -> None:
    def make() -> Program:
        net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 2))
        return Program(
            lambda x: net(x).detach(), lambda i: (fanal.ones(5, 3) * (i + 1),),
            lambda i: net.train(i % 3 != 0), lambda: net.state_dict(),
        )  # fmt: skip

    program = check(make, 9)
    assert not reasons(program)


def test_hooks_that_come_and_go() -> None:
    def make() -> Program:
        net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        handles: list[Any] = []

        def between(i: int) -> None:
            if i == 2:
                handles.append(net[0].register_forward_hook(lambda m, a, out: out * 2))
            if i == 3:
                handles.append(net.register_forward_pre_hook(lambda m, a: (a[0] + 1,)))
            if i == 5:
                handles.pop(0).remove()

        return Program(lambda x: net(x), between=between)

    check(make, 8)


def test_hooks_of_tensors() -> None:
    def make() -> Program:
        p = fanal.ones(3, requires_grad=True)
        handles: list[Any] = []

        def function(x: Any) -> Any:
            p.grad = None
            (x * p).sum().backward()
            return p.grad * 1

        def between(i: int) -> None:
            if i == 3:
                handles.append(p.register_hook(lambda g: g * 3))
            if i == 5:
                handles.pop().remove()

        return Program(function, between=between, state=lambda: p.grad)

    check(make, 8)


def test_gradients_that_accumulate() -> None:
    def make() -> Program:
        p = fanal.ones(3, requires_grad=True)

        def function(x: Any) -> Any:
            (x * p).sum().backward()
            return p.grad * 1

        def between(i: int) -> None:
            if i % 3 == 2:
                p.grad = None

        return Program(function, between=between, state=lambda: p.grad)

    check(make, 9)


def test_a_gradient_kept_by_the_caller_keeps_its_values() -> None:
    def make() -> Program:
        p = fanal.ones(3, requires_grad=True)
        kept: list[Any] = []

        def function(x: Any) -> Any:
            p.grad = None
            (x * p * p).sum().backward()
            return p.grad.sum()

        def between(i: int) -> None:
            if i:
                kept.append(p.grad)

        return Program(function, between=between, state=lambda: list(kept))

    check(make)


def test_results_of_earlier_calls_keep_their_values() -> None:
    def make() -> Program:
        kept: list[Any] = []
        w = fanal.zeros(3)

        def function(x: Any) -> Any:
            w.add_(x)
            return w * 2, x + 1

        compiled = fanal.compile(function)

        def keeping(x: Any) -> Any:
            kept.append(compiled(x))
            return kept[-1]

        return Program(keeping, state=lambda: list(kept))

    check(make)


def test_containers_that_change() -> None:
    def make() -> Program:
        factors, table = [1.0, 2.0], {"a": 1.0}

        def function(x: Any) -> Any:
            for v in factors:
                x = x * v
            return x + sum(table.values()) + len(table)

        def between(i: int) -> None:
            if i % 3 == 1:
                factors.append(float(i))
            if i % 3 == 2:
                table["ab"[i % 2]] = float(i)

        return Program(function, between=between)

    check(make, 8)


def test_a_mutable_default() -> None:
    def make() -> Program:
        def function(x: Any, count: list[int] = [0]) -> Any:
            count[0] += 1
            return x * count[0]

        return Program(function)

    check(make)


def test_containers_given_to_functions_of_the_package() -> None:
    """Lists that only they look into, also within other lists."""

    def make() -> Program:
        numbers, shape, some = [1.0, 2.0, 3.0], [3], [fanal.ones(3), fanal.zeros(3)]

        def function(x: Any) -> Any:
            made = fanal.tensor(numbers) + fanal.zeros(shape)
            return x * made, fanal.cat([x, *some]), fanal.tensor([numbers, numbers])

        def between(i: int) -> None:
            numbers[1] = float(i // 2)
            if i == 4:
                shape[0] = 1
                some[1] = fanal.ones(3)

        return Program(function, between=between)

    check(make, 8)


def test_what_is_told_of_tensors_without_their_elements() -> None:
    def make() -> Program:
        class Holder:
            tensor = fanal.zeros(3)

        held = Holder()
        layer = nn.Linear(3, 3)

        def function(x: Any) -> Any:
            if held.tensor.requires_grad:
                x = x * 2
            if next(iter(layer.parameters())).requires_grad:
                x = x - 3
            return x * held.tensor.shape[0]

        def between(i: int) -> None:
            if i == 2:
                held.tensor.requires_grad_()
            if i == 4:
                held.tensor.data = fanal.zeros(5)
            if i == 6:
                layer.weight.requires_grad_(False)

        return Program(function, between=between)

    check(make, 8)


def test_the_clock() -> None:
    before = time.perf_counter()
    compiled = fanal.compile(lambda x: x * 0 + (time.perf_counter() - before))
    found = [compiled(fanal.zeros(1, dtype=fanal.float64)).item() for _ in range(4)]
    assert found == sorted(set(found))


def test_a_function_that_is_replaced() -> None:
    def make() -> Program:
        holder = Counter()
        holder.call = lambda x: x * 2

        def between(i: int) -> None:
            if i == 3:
                holder.call = lambda x: x - 7

        return Program(lambda x: holder.call(x), between=between)

    check(make)


def test_a_schedule_in_the_step() -> None:
    def make() -> Program:
        layer = nn.Linear(3, 1)
        optimizer = fanal.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
        schedule = fanal.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = layer(x).pow(2).sum()
            loss.backward()
            optimizer.step()
            schedule.step()
            return loss

        def state() -> Any:
            return layer.state_dict(), optimizer.param_groups[0]["lr"], schedule.last_epoch

        return Program(step, state=state)

    program = check(make, 8)
    if sys.version_info < (3, 13):
        assert not reasons(program) and replays(program) == 1


def test_options_of_the_optimiser_changed_by_hand() -> None:
    def make() -> Program:
        layer = nn.Linear(3, 1)
        optimizer = fanal.optim.AdamW(layer.parameters(), lr=0.1)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = layer(x).pow(2).sum()
            loss.backward()
            optimizer.step()
            return loss

        def between(i: int) -> None:
            group = optimizer.param_groups[0]
            group["lr"] = 0.1 / (i + 1)
            if i == 3:
                group["weight_decay"] = 0.0
            if i == 4:
                group["betas"] = (0.8, 0.9)

        return Program(step, between=between, state=layer.state_dict)

    program = check(make, 8)
    if sys.version_info < (3, 13):
        assert replays(program) == 2  # a new rate is no new program, no decay is another one


def test_a_learning_rate_that_changes_compiles_nothing() -> None:
    from fanal.compiler.segments import Segment

    layer = nn.Linear(3, 1)
    optimizer = fanal.optim.SGD(layer.parameters(), lr=0.1)
    made = []
    before = Segment.__init__

    def counted(self: Any, *args: Any) -> None:
        made.append(1)
        before(self, *args)

    @fanal.compile
    def step(x: Any, lr: float) -> Any:
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        loss = (layer(x) * lr).pow(2).sum()
        loss.backward()
        optimizer.step()
        return loss

    Segment.__init__ = counted  # type: ignore[method-assign]
    try:
        for i in range(12):
            step(fanal.ones(2, 3), 0.1 / (i + 1))
    finally:
        Segment.__init__ = before  # type: ignore[method-assign]
    assert len(made) == 1


def test_a_branch_on_data() -> None:
    def make() -> Program:
        def function(x: Any) -> Any:
            if x.sum() > 9:
                return x * 2
            return x - 1

        return Program(function, lambda i: (fanal.full((3,), float(i % 4 * 2)),))

    check(make, 9)


def test_loops_on_data_with_effects() -> None:
    def make() -> Program:
        log: list[Any] = []

        def function(x: Any) -> Any:
            n = 0
            while x.sum() < 100:
                x = x * 2
                n += 1
                log.append(n)
            total = x.sum().item()
            for row in x:
                total += float(row)
            return x + n, total, int(x[0])

        return Program(function, state=lambda: list(log))

    check(make, 6)


def test_an_exception_leaves_what_was_done_before_it() -> None:
    def make() -> Program:
        w = fanal.zeros(3)

        def function(x: Any) -> Any:
            w.add_(x)
            if x[0] > 2:
                raise ValueError("too large")
            return w * 1

        def caught(x: Any) -> Any:
            try:
                return inner(x)
            except ValueError as error:
                return str(error)

        inner = fanal.compile(function)
        return Program(caught, state=lambda: w)

    check(make)


def test_print_may_happen_at_capture_only(capsys: Any) -> None:
    @fanal.compile
    def function(x: Any) -> Any:
        print("hello")
        return x + 1

    for _ in range(3):
        function(fanal.ones(2))
    assert capsys.readouterr().out.count("hello") in (1, 3)


def training_step() -> Program:
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = fanal.optim.AdamW(net.parameters())

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return {"loss": loss, "names": ["a", 1, None]}

    return Program(
        step, lambda i: (fanal.full((4, 3), float(i)), fanal.tensor([0, 1, 0, 1])),
        state=lambda: (net.state_dict(), [p.grad for p in net.parameters()]),
    )  # fmt: skip


@watched
def test_what_only_computes_is_replayed() -> None:
    program = check(training_step)
    assert replays(program) == 1 and not reasons(program)


def test_a_function_in_c_that_is_not_known_runs_at_every_call() -> None:
    def make() -> Program:
        program = training_step()
        inner = program.function

        def step(x: Any, y: Any) -> Any:
            sys.getrefcount(x)
            return inner(x, y)

        program.function = step
        return program

    program = check(make)
    assert "sys.getrefcount()" in reasons(program)[0] or sys.version_info >= (3, 13)


def test_a_step_that_runs_its_python_takes_one_path() -> None:
    block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    optimizer = fanal.optim.AdamW(block.parameters())
    losses: list[Any] = []

    @fanal.compile
    def step(x: Any) -> None:
        optimizer.zero_grad()
        loss = block(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss)

    for _ in range(12):
        step(fanal.ones(2, 5, 16))
    assert step.kinds.programs <= 2  # with and without gradients at the beginning
