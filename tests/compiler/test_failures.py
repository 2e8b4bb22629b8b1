"""Errors inside of a program: they name the operation and the user's line, and change nothing."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.backends.native.runtime import PROGRAM_WORDS


def line_of(function: Any, text: str) -> int:
    """The number of the line of a function that contains a text."""
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if text in line)


def at(function: Any, text: str, name: str | None = None) -> str:
    return f"At {__file__}:{line_of(function, text)}, in {name or function.__name__}."


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 8)
        self.norm = nn.BatchNorm1d(8)
        self.out = nn.Linear(8, 4)

    def forward(self, words: Any) -> Any:
        h = self.table(words)
        h = F.relu(self.norm(h.mean(1)))
        return self.out(h)


class Training:
    """A model with state of all kinds, and its compiled step."""

    def __init__(self) -> None:
        fanal.manual_seed(0)
        self.model = Tagger()
        self.optimizer = fanal.optim.AdamW(self.model.parameters())
        self.step = fanal.compile(self.once)

    def once(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def state(self) -> list[Any]:
        """All that can be seen of it."""
        moments = [s for p in self.model.parameters() for s in self.optimizer.state[p].values()]
        grads = [p.grad for p in self.model.parameters()]
        tensors = [*self.model.state_dict().values(), *moments]
        found = [None if t is None else t.tolist() for t in (*tensors, *grads)]
        return [*found, fanal.get_rng_state().tolist()]


x = fanal.arange(20).reshape(4, 5) % 10
y = fanal.tensor([0, 1, 2, 3])


@pytest.mark.parametrize("calls", [0, 1, 4])
def test_a_wrong_index_is_named_at_the_users_line(calls: int) -> None:
    training = Training()
    for _ in range(calls):
        training.step(x, y)
    with pytest.raises(IndexError, match=r"^\[embedding\] index out of range: got 12; expected") as found:
        training.step(x + 3, y)
    assert str(found.value).endswith(at(Tagger.forward, "self.table(words)", "forward"))
    with pytest.raises(IndexError, match=r"^\[cross_entropy\] index out of range: got 4") as found:
        training.step(x, y + 1)
    assert str(found.value).endswith(at(Training.once, "F.cross_entropy", "once"))


@pytest.mark.parametrize("calls", [0, 1, 4])
def test_a_failed_step_changes_nothing(calls: int) -> None:
    training, other = Training(), Training()
    for _ in range(calls):
        training.step(x, y)
        other.step(x, y)
    if calls == 0:  # the moments are made at the first step, whatever comes of it
        training.optimizer.prepare()
    before = training.state() if calls else None
    for bad in ((x + 3, y), (x, y + 1)):
        with pytest.raises(IndexError):
            training.step(*bad)
        assert before is None or training.state() == before
        assert calls or all(p.grad is None for p in training.model.parameters())
    for _ in range(2):
        assert training.step(x, y).item() == other.step(x, y).item()
    assert training.state() == other.state()


def test_what_ran_before_a_look_at_elements_stays() -> None:
    counter = fanal.zeros(2)

    @fanal.compile
    def function(i: Any) -> Any:
        counter.add_(1)
        if counter[0] > 100:
            return counter
        counter.mul_(2)
        return counter[i]

    with pytest.raises(IndexError):
        function(fanal.tensor([5]))
    assert counter.tolist() == [1.0, 1.0]  # eager mode gets as far as the second write
    assert function(fanal.tensor([0])).tolist() == [4.0]


def test_new_values_of_state_that_may_fail_are_computed_apart() -> None:
    a, b = fanal.zeros(40_000), fanal.zeros(40_000, dtype=fanal.int64)

    @fanal.compile
    def function(table: Any, i: Any, d: Any) -> None:
        a.copy_(table[i])
        b.add_(7 // d)

    table, i = fanal.ones(5), fanal.zeros(40_000, dtype=fanal.int64)
    function(table, i, i + 1)
    assert a.sum().item() == 40_000 and b[0].item() == 7
    for _ in range(3):
        bad = i.clone()
        bad[39_999] = 5
        with pytest.raises(IndexError):
            function(table * 2, bad, i + 1)
        with pytest.raises(RuntimeError, match="division by zero"):
            function(table * 3, i, bad)  # b's divisor is zero nearly everywhere
        assert a.sum().item() == 40_000 and b.sum().item() == 7 * 40_000


def test_division_by_zero_names_its_line() -> None:
    def function(a: Any, b: Any) -> Any:
        c = a + 1
        d = c % b
        return d * 2

    compiled = fanal.compile(function)
    for _ in range(3):
        with pytest.raises(RuntimeError, match=r"^\[remainder\] integer division by zero") as found:
            compiled(fanal.arange(4), fanal.arange(4))
        assert str(found.value).endswith(at(function, "c % b"))


def test_an_error_of_a_host_call_gets_a_note() -> None:
    def function(a: Any) -> Any:
        return fanal.linalg.cholesky(a + 0)

    compiled = fanal.compile(function)
    for _ in range(3):
        with pytest.raises(RuntimeError) as found:
            compiled(-fanal.eye(3))
        notes = " ".join(getattr(found.value, "__notes__", [])) + str(found.value)
        assert at(function, "cholesky") in notes


def test_tensors_that_never_came_to_be_say_so() -> None:
    kept = []

    def function(i: Any) -> Any:
        kept.append(i * 2.0)
        return fanal.ones(3)[i]

    with pytest.raises(IndexError):
        fanal.compile(function)(fanal.tensor([7]))
    with pytest.raises(RuntimeError, match="never computed"):
        kept[0].tolist()
    with pytest.raises(RuntimeError, match="never computed"):
        (kept[0][0] + 1).item()


def test_no_signal_is_answered_between_writes_to_state() -> None:
    training = Training()
    training.step(x, y)
    (segment,) = [run for kind in [training.step] for run in _runs(kind.root)]
    table = segment.executable.memory[0]
    commit = table[PROGRAM_WORDS["commit"]] - 1
    count = table[PROGRAM_WORDS["n_phases"]]
    assert 0 < commit < count
    names = [
        {n.origin.operation for n in segment.executable.description.phases[i].nodes if n.origin}
        for i in range(commit, count)
    ]
    assert all(found <= {"adam", "_batch_norm_train", "add_"} for found in names), names


def _runs(step: Any) -> Any:
    for child in step.children.values():
        yield from _runs(child)
    yield from step.runs.values()


def test_lines_of_backward_and_updates() -> None:
    training = Training()
    training.step(x, y)
    (segment,) = _runs(training.step.root)
    origins = {n.origin for n in segment.graph.nodes}
    assert None not in origins
    places = {(o.called, o.line) for o in origins}
    forward, once = Tagger.forward, Training.once
    for called, function, text in (
        ("linear", forward, "self.out(h)"),
        ("linear (backward)", forward, "self.out(h)"),
        ("relu (backward)", forward, "F.relu"),
        ("embedding (backward)", forward, "self.table"),
        ("cross_entropy (backward)", once, "F.cross_entropy"),
        ("adam", once, "optimizer.step()"),
    ):
        assert (called, line_of(function, text)) in places, called


def test_lines_of_a_compiled_module() -> None:
    model = fanal.compile(Tagger())
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    (segment,) = _runs(model._compiled.root)
    assert all(n.origin and n.origin.file == __file__ for n in segment.graph.nodes)
    with pytest.raises(IndexError) as found:
        model(x + 5)
    assert str(found.value).endswith(at(Tagger.forward, "self.table(words)", "forward"))


def test_identical_layers_share_their_kernels() -> None:
    def deep(x: Any) -> Any:
        x = fanal.tanh(x @ x + 1)
        x = fanal.tanh(x @ x + 1)

        x = fanal.tanh(x @ x + 1)
        return x

    compiled = fanal.compile(deep)
    compiled(fanal.eye(16))
    (segment,) = _runs(compiled.root)
    facts = segment.executable.description
    keys = [facts.phases[numbers[-1]].kernel.key for _, numbers in facts.units()]
    assert len(keys) - len(set(keys)) >= 4
