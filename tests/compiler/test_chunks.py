"""Losses over large vocabularies: the matrix of logits is never whole in memory, and no bit changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.backends.native import executable
from fanal.backends.native.lower import chunks
from tests.compiler.against_eager import Program, check, replays

VOCABULARY, WIDTH = 1025, 24


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 256 rows of small matrices; programs on disk are made with other constants."""
    monkeypatch.setattr(chunks, "LARGE", 1 << 19)
    monkeypatch.setattr(chunks, "CHUNK", 1 << 19)
    monkeypatch.setattr(chunks, "FEW_BLOCKS", 1)
    monkeypatch.setattr(chunks, "_SHARE", 1.0)
    monkeypatch.setattr(executable.saved, "recalled", lambda place: None)
    monkeypatch.setattr(executable.saved, "keep", lambda place, listings: None)


class Model(nn.Module):
    def __init__(self, tied: bool = False, bias: bool = False, dtype: Any = fanal.float32):
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, WIDTH, dtype=dtype)
        self.hidden = nn.Linear(WIDTH, WIDTH, dtype=dtype)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=bias, dtype=dtype)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, tokens: Any) -> Any:
        return self.head(F.gelu(self.hidden(self.table(tokens))))


def mean(logits: Any, y: Any) -> Any:
    return F.cross_entropy(logits.view(-1, VOCABULARY), y.view(-1))


def smoothed(logits: Any, y: Any) -> Any:
    return F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum", label_smoothing=0.1)


def each(logits: Any, y: Any) -> Any:
    losses = F.cross_entropy(
        logits.view(-1, VOCABULARY), y.view(-1), reduction="none", ignore_index=3
    )
    return losses.view(y.shape).mean(1).square().mean() * 0 + losses.mean()


def weighted(logits: Any, y: Any) -> Any:
    weight = fanal.linspace(0.5, 1.5, VOCABULARY, dtype=logits.dtype)
    return F.cross_entropy(logits.view(-1, VOCABULARY), y.view(-1), weight)


def with_logsumexp(logits: Any, y: Any) -> Any:
    """The loss of some language models, and how often the largest logit is right."""
    flat = logits.view(-1, VOCABULARY)
    right = (flat.argmax(-1) == y.view(-1)).float().mean()
    return mean(logits, y) + 1e-4 * flat.logsumexp(-1).square().mean() + 0 * right


Loss = Callable[[Any, Any], Any]


def training(loss: Loss, shape: tuple[int, int] = (5, 250), **options: Any) -> Program:
    model = Model(**options)
    optimizer = fanal.optim.AdamW(model.parameters(), lr=1e-2)
    x, y = (fanal.randint(0, VOCABULARY, shape) for _ in range(2))
    y = fanal.where(fanal.rand(shape) < 0.2, fanal.full_like(y, -100), y)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        found = loss(model(x), y)
        found.backward()
        optimizer.step()
        return found

    def state() -> Any:
        return [(p, p.grad) for p in model.parameters()]

    return Program(step, lambda i: (x, y), state=state)


def evaluation(loss: Loss, shape: tuple[int, int] = (5, 250), **options: Any) -> Program:
    model = Model(**options)
    x, y = (fanal.randint(0, VOCABULARY, shape) for _ in range(2))

    def step(x: Any, y: Any) -> Any:
        with fanal.no_grad():
            return loss(model(x), y)

    return Program(step, lambda i: (x, y))


def of_logits(program: Program, count: int = 1250, itemsize: int = 4) -> float:
    """The arena, in matrices of logits."""
    (facts,) = program.compiled.explain().facts.programs
    return float(facts.description.arena_bytes / (count * VOCABULARY * itemsize))


@pytest.mark.parametrize("loss", [mean, smoothed, weighted, with_logsumexp])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_training(loss: Loss, tied: bool, bias: bool) -> None:
    program = check(lambda: training(loss, tied=tied, bias=bias), 3)
    assert replays(program) == 1
    assert of_logits(program) < 0.8  # two chunks of a fifth each, the sums of a bias, and all else


def test_gradients_that_depend_on_the_loss_keep_the_matrix() -> None:
    assert of_logits(check(lambda: training(lambda x, y: mean(x, y).square()), 3)) > 1


@pytest.mark.parametrize("loss", [mean, smoothed, each, weighted, with_logsumexp])
@pytest.mark.parametrize("bias", [False, True])
def test_evaluation(loss: Loss, bias: bool) -> None:
    assert of_logits(check(lambda: evaluation(loss, bias=bias), 3)) < 0.5


def test_other_extents() -> None:
    """Rows that are no multiple of anything, more than a block of additions; doubles."""
    for shape in ((1, 1111), (3, 257), (9, 521)):
        check(lambda s=shape: training(mean, s, bias=True), 2)
    program = check(lambda: training(mean, bias=True, dtype=fanal.float64), 2)
    assert of_logits(program, itemsize=8) < 0.8


def test_many_sizes() -> None:
    """A function that is called with one number of tokens after the other."""
    lengths = [250, 249, 130, 240, 40, 250]

    def make() -> Program:
        program = training(mean, bias=True)
        x, y = program.inputs(0)
        pieces = [(x[:, :n].contiguous(), y[:, :n].contiguous()) for n in lengths]
        return Program(program.function, lambda i: pieces[i], state=program.state)

    check(make, 6)


def test_logits_that_are_returned_are_whole() -> None:
    def both(logits: Any, y: Any) -> Any:
        return mean(logits, y), logits

    check(lambda: evaluation(both), 3)


def test_threads_and_rows_beside() -> None:
    fanal.manual_seed(0)
    model = Model(bias=True)
    x, y = (fanal.randint(0, VOCABULARY, (1, 1300)) for _ in range(2))

    @fanal.compile
    def losses(x: Any, y: Any) -> Any:
        with fanal.no_grad():
            return F.cross_entropy(model(x)[0], y[0], reduction="none")

    before = fanal.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 4):
            fanal.set_num_threads(threads)
            found.append(losses(x, y).clone())
    finally:
        fanal.set_num_threads(before)
    assert all(fanal.equal(found[0], f) for f in found)
    assert fanal.equal(losses(x[:, :700].contiguous(), y[:, :700].contiguous()), found[0][:700])


def test_gradients_with_any_number_of_threads() -> None:
    found = []
    before = fanal.get_num_threads()
    try:
        for threads in (1, 2, 4):
            fanal.set_num_threads(threads)
            fanal.manual_seed(0)
            program = training(mean, tied=True, bias=True)
            step = fanal.compile(program.function)
            for _ in range(3):
                step(*program.inputs(0))
            found.append([t.clone() for p in program.state() for t in p])
    finally:
        fanal.set_num_threads(before)
    for other in found[1:]:
        assert all(map(fanal.equal, found[0], other))


def test_softmax_between_two_products() -> None:
    """No loss at all: any rows that are reduced."""
    a, b, c = fanal.randn(1200, 16), fanal.randn(16, 600), fanal.randn(600, 8)

    def mixed(a: Any, b: Any, c: Any) -> Any:
        return ((a @ b) * 0.3).softmax(-1) @ c

    program = check(lambda: Program(mixed, lambda i: (a, b, c)), 3)
    (facts,) = program.compiled.explain().facts.programs
    assert facts.description.arena_bytes < 1200 * 600 * 4 / 2


def test_labels_out_of_range() -> None:
    program = training(mean)
    x, y = program.inputs(0)
    step = fanal.compile(program.function)
    step(x, y)
    weights = [p.clone() for p, _ in program.state()]
    wrong = y.clone()
    wrong[4, 200] = VOCABULARY
    with pytest.raises(IndexError, match=r"cross_entropy.*test_chunks\.py"):
        step(x, wrong)
    assert all(fanal.equal(a, p) for a, (p, _) in zip(weights, program.state(), strict=True))
