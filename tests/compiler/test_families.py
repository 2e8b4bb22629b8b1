"""One capture, many sizes: the same bits as eager mode, no Python and no lowering for a new size."""

from __future__ import annotations

import copy
import gc
import random
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import fanal
import fanal.nn.functional as F
from fanal import nn
from fanal.backends.native import executable
from fanal.compiler import families, kinds, mark_dynamic, mark_static
from fanal.compiler.capture import Capture

WIDTH = 16
SIZES = [33, 34, 40, 21, 35, 36, 64, 22, 37, 70]


def _families(f: Any) -> list[Any]:
    compiled = getattr(f, "_compiled", f)
    return [x for form in compiled.forms._forms.values() for x in form.families]


def _members(f: Any) -> int:
    """Sizes that are served by the program of another one."""
    compiled = getattr(f, "_compiled", f)
    return sum(r.family is not None for kind in compiled.kinds for r in kind.replays)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, fanal.Tensor):
        return a.shape == b.shape and all(type(n) is int for n in a.shape) and bool(fanal.equal(a, b))
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


def _rows(n: int) -> tuple[Any, ...]:
    return (fanal.randn(n, WIDTH),)


def _sequences(n: int) -> tuple[Any, ...]:
    return (fanal.randn(3, n, WIDTH),)


def _texts(n: int) -> tuple[Any, ...]:
    return (fanal.randint(0, 50, (4, n)),)


def _masked(i: Any) -> Any:
    t = i.shape[1]
    e = i[..., None] * fanal.ones(WIDTH)
    scores = (e @ e.transpose(1, 2)).masked_fill(~fanal.tril(fanal.ones(t, t, dtype=fanal.bool)), -1e9)
    return F.softmax(scores / 100, -1) @ e


FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[[int], tuple[Any, ...]]]] = {
    "mean": (lambda x: (x.mean(), x.mean(0), x.var(0), x.std()), _rows),
    "softmax": (lambda x: F.softmax(x, 0), _rows),
    "size as a number": (lambda x: x.sum(0) / x.shape[0] + x.shape[0] ** -0.5, _rows),
    "product with itself": (lambda x: x @ x.t(), _rows),
    "new tensors": (lambda x: fanal.zeros(x.shape[0], 4) + fanal.arange(x.shape[0])[:, None], _rows),
    "joined": (lambda x: fanal.cat([x, x * 2], 0), _rows),
    "pieces": (lambda x: [p.sum() for p in x.chunk(2, 0)], lambda n: _rows(2 * n)),
    "parts": (lambda x: (x[: x.shape[0] // 2] * 2, x[1:] - x[:-1], x[-1] + 0), _rows),
    "last of a sequence": (lambda x: x[:, -1] + 1, _sequences),
    "running sums": (lambda x: (x.cumsum(0), x.sort(0)[0], x.topk(3, 0)[0]), _rows),
    "moved": (lambda x: (x.roll(1, 0), x.flip(0), x.repeat(2, 1), F.pad(x, (0, 0, 2, 3))), _rows),
    "windows": (lambda x: (x.unfold(0, 4, 2).sum(-1), F.avg_pool1d(x.t()[None], 2)), _rows),
    "scattered": (lambda x: fanal.zeros(x.shape[0], WIDTH).index_add(0, fanal.arange(len(x)).flip(0), x), _rows),
    "dropout": (lambda x: F.dropout(x, 0.3), _rows),
    "masked": (_masked, _texts),
    "einsum": (lambda x: fanal.einsum("bth,bsh->bts", x, x), _sequences),
    "numbers in the result": (lambda x: {"n": x.shape[0] * 2, "mean": x.mean() / len(x)}, _rows),
    "branch on a size": (lambda x: x * 2 if x.shape[0] > 20 else x * 3, _rows),
    "loss": (lambda x: F.cross_entropy(x, fanal.zeros(len(x), dtype=fanal.int64)), _rows),
    "interpolated": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), lambda n: (fanal.randn(2, 4, n, n + 1),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_any_size(name: str) -> None:
    function, arguments = FUNCTIONS[name]
    compiled = fanal.compile(function, dynamic=True)
    for seed, n in enumerate(SIZES):
        given = arguments(n)
        results = []
        for f in (compiled, function):
            fanal.manual_seed(seed)
            results.append(f(*given))
        assert _same(*results), n
    assert _members(compiled) >= 3


MODELS: dict[str, tuple[Callable[[], Any], Callable[[int], tuple[Any, ...]]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(WIDTH, 32), nn.ReLU(), nn.Linear(32, 4)), _rows),
    "normed": (lambda: nn.Sequential(nn.Linear(WIDTH, 32), nn.BatchNorm1d(32), nn.LayerNorm(32)), _rows),
    "images": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(32, 10),
        ),
        lambda n: (fanal.randn(n, 3, 8, 8).to(memory_format=fanal.channels_last),),
    ),
    "attention": (
        lambda: nn.TransformerEncoderLayer(WIDTH, 4, 32, dropout=0.1, batch_first=True), _sequences,
    ),
    "recurrent": (lambda: nn.LSTM(WIDTH, 24, batch_first=True), _sequences),
    "a view is given": (lambda: nn.Linear(WIDTH, 8), lambda n: (fanal.randn(n, 4, 4).view(n, WIDTH),)),
    "a part is given": (lambda: nn.Linear(WIDTH, 8), lambda n: (fanal.randn(100, WIDTH)[3 : 3 + n],)),
    "turned": (lambda: nn.Linear(WIDTH, 8), lambda n: (fanal.randn(WIDTH, n).t(),)),
}  # fmt: skip


@pytest.mark.parametrize("inside", [False, True], ids=["backward outside", "whole steps"])
@pytest.mark.parametrize("name", MODELS)
def test_models_train_at_any_size(name: str, inside: bool) -> None:
    make, arguments = MODELS[name]
    fanal.manual_seed(0)
    model = make()
    runs: list[Any] = []
    for compiled in (False, True):
        m = copy.deepcopy(model)
        optimizer = fanal.optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
        net = fanal.compile(m, dynamic=True) if compiled and not inside else m

        def step(*given: Any, net: Any = net, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            y = net(*given)
            loss = (y[0] if isinstance(y, tuple) else y).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        counted = fanal.compile(step, dynamic=True) if compiled and inside else step
        runs.append((counted, m, counted if inside else net))
    for seed, n in enumerate(SIZES):
        given = arguments(n)
        losses = []
        for step, _, _ in runs:
            fanal.manual_seed(seed)
            losses.append(step(*given))
        assert fanal.equal(*losses), n
    for a, b in zip(runs[0][1].parameters(), runs[1][1].parameters(), strict=True):
        assert fanal.equal(a, b)
    assert _members(runs[1][2]) >= 3


def test_a_new_size_is_neither_captured_nor_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    @fanal.compile(dynamic=True)
    def f(x: Any) -> Any:
        calls.append  # noqa: B018 - only looked at
        return (x * 2).softmax(-1).sum(0)

    for n in (30, 31):
        f(fanal.randn(n, WIDTH))
    monkeypatch.setattr(executable, "outline_of", None)
    monkeypatch.setattr(Capture, "run", None)
    for n in range(32, 60):
        x = fanal.randn(n, WIDTH)
        assert fanal.equal(f(x), (x * 2).softmax(-1).sum(0))
    monkeypatch.undo()
    text = str(f.explain())
    assert "Calls with float32[s0," in text and "in 28 more sizes by the program of float32[30,16]" in text


def test_changing_sizes_are_found_without_being_told() -> None:
    f = fanal.compile(lambda x: x.sum(1) * x.shape[0])
    for n in SIZES:
        x = fanal.randn(n, WIDTH)
        assert fanal.equal(f(x), x.sum(1) * n)
    (family,) = _families(f)
    assert family.arguments == f"float32[s0,{WIDTH}]"  # the width never changed
    assert _members(f) == len(SIZES) - 3


def test_dynamic_false_captures_every_size() -> None:
    f = fanal.compile(lambda x: x.sum(), dynamic=False)
    for n in SIZES:
        f(fanal.ones(n))
    assert not _families(f) and f.kinds.programs == len(SIZES)


def test_marks() -> None:
    f = fanal.compile(lambda x: x.sum(1))
    x = fanal.ones(20, 30)
    mark_dynamic(x, 0, max=50)
    f(x)
    (family,) = _families(f)
    assert family.arguments == "float32[s0,30]"
    f(fanal.ones(21, 30))
    assert fanal.equal(f(fanal.ones(50, 30)), fanal.full((50,), 30.0))
    assert _members(f) == 1
    assert fanal.equal(f(fanal.ones(51, 30)), fanal.full((51,), 30.0))  # beyond the mark: captured anew
    assert _members(f) == 1
    g = fanal.compile(lambda x: x.sum(1), dynamic=True)
    y = fanal.ones(20, 30)
    mark_static(y, 1)
    g(y)
    assert _families(g)[0].arguments == "float32[s0,30]"
    with pytest.raises(IndexError, match="mark_dynamic"):
        mark_dynamic(x, 2)
    with pytest.raises(ValueError, match="out of the given bounds"):
        mark_dynamic(x, 0, min=21)


def test_a_loop_over_a_size_is_captured_for_each() -> None:
    @fanal.compile(dynamic=True)
    def f(x: Any) -> Any:
        h = fanal.zeros(x.shape[0])
        for k in range(x.shape[1]):
            h = fanal.tanh(h + x[:, k])
        return h

    def eager(x: Any) -> Any:
        return f.function(x)

    for n in (2, 3, 4, 5, 3):
        x = fanal.randn(6, n)
        assert fanal.equal(f(x), eager(x))
    g = fanal.compile(lambda x: x * len(list(range(x.shape[0]))), dynamic=True)
    g(fanal.ones(4))
    assert any("used as numbers at test_families.py" in why for why in g.history)


KNOWN: dict[Any, float] = {25: 2.0, "27": 3.0, (28, WIDTH): 4.0, f"fanal.Size([29, {WIDTH}])": 5.0}


@pytest.mark.parametrize(
    "factor",
    [
        lambda x: KNOWN.get(x.shape[0], 1.0), lambda x: KNOWN.get(str(x.shape[0]), 1.0),
        lambda x: KNOWN.get(f"{x.shape[0]}", 1.0), lambda x: 2.0 if len(x) in KNOWN else 1.0,
        lambda x: KNOWN.get(x.shape, 1.0), lambda x: KNOWN.get(str(x.shape), 1.0),
        lambda x: KNOWN.get(repr(x.shape[0] / 1.0)[:2], 1.0),
    ],
)  # fmt: skip
def test_sizes_that_are_looked_up(factor: Callable[[Any], float]) -> None:
    """What a dictionary holds of a size is found, whichever sizes came before."""
    f = fanal.compile(lambda x: x.sum(0) * factor(x), dynamic=True)
    for n in range(20, 32):
        x = fanal.randn(n, WIDTH)
        assert fanal.equal(f(x), x.sum(0) * factor(x)), n


def test_the_second_run_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """Random streams, gradients, versions, prints: all as after one run."""
    model = nn.Linear(WIDTH, 8)
    optimizer = fanal.optim.AdamW(model.parameters(), lr=0.1)

    def step(x: Any) -> Any:
        print("called")
        optimizer.zero_grad()
        loss = F.dropout(model(x), 0.5).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    compiled = fanal.compile(step, dynamic=True)
    fanal.manual_seed(5)
    versions = [p._version for p in model.parameters()]
    compiled(fanal.randn(20, WIDTH))
    assert _families(compiled)
    assert capsys.readouterr().out == "called\n"
    assert [p._version - v for p, v in zip(model.parameters(), versions, strict=True)] == [1, 1]
    after = fanal.rand(3)
    fanal.manual_seed(5)
    fanal.randn(20, WIDTH), F.dropout(fanal.ones(4), 0.5)
    assert fanal.equal(after, fanal.rand(3))
    assert all(type(n) is int for p in model.parameters() for n in p.grad.shape)


def test_gradients_that_are_there_before() -> None:
    runs = []
    for compiled in (False, True):
        fanal.manual_seed(0)
        model = nn.Linear(WIDTH, 8)

        def step(x: Any, model: Any = model) -> None:  # adds to the gradients
            model(x).square().mean().backward()

        f = fanal.compile(step, dynamic=True) if compiled else step
        fanal.manual_seed(1)
        for n in SIZES:
            f(fanal.randn(n, WIDTH))
        runs.append([p.grad for p in model.parameters()])
    assert all(map(fanal.equal, *runs))


def test_state_of_python_counts_in_all_sizes() -> None:
    state = {"scale": 2.0}
    f = fanal.compile(lambda x: x.sum(0) * state["scale"], dynamic=True)
    for n in (*SIZES, 23, 24):
        if n == 23:
            state["scale"] = 3.0
        x = fanal.randn(n, WIDTH)
        assert fanal.equal(f(x), x.sum(0) * state["scale"])


def test_modes_and_hooks_count_in_all_sizes() -> None:
    model = nn.Sequential(nn.Linear(WIDTH, 8), nn.Dropout(0.5))
    compiled = fanal.compile(model, dynamic=True)
    for number, n in enumerate(range(30, 60)):
        if number == 10:
            model.eval()
        if number == 20:
            model.register_forward_hook(lambda m, a, y: y * 2)
        x = fanal.randn(n, WIDTH)
        fanal.manual_seed(number)
        y = compiled(x)
        fanal.manual_seed(number)
        assert fanal.equal(y, model(x))


def test_threads_with_sizes_of_their_own() -> None:
    f = fanal.compile(lambda x: F.gelu(x @ x.t()).sum(0), dynamic=True)
    wrong = []

    def work(seed: int) -> None:
        sizes = random.Random(seed)
        for _ in range(12):
            x = fanal.ones(sizes.randrange(16, 40), WIDTH) * seed
            if not fanal.equal(f(x), F.gelu(x @ x.t()).sum(0)):
                wrong.append(x.shape)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_family_that_another_capture_contradicts_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """No size is served before a capture of its own has agreed with what the family would do."""
    f = fanal.compile(lambda x: x.sum(0), dynamic=True)
    f(fanal.randn(20, WIDTH))
    monkeypatch.setattr(families, "same_program", lambda a, b: False)
    f(fanal.randn(21, WIDTH))
    assert not _families(f) and any("not that of this size" in why for why in f.history)
    x = fanal.randn(22, WIDTH)
    assert fanal.equal(f(x), x.sum(0)) and _members(f) == 0


def test_old_sizes_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "PROGRAMS", 6)
    f = fanal.compile(lambda x: (x * 2).softmax(0), dynamic=True)
    gone: list[Any] = []
    for n in range(20, 60):
        x = fanal.randn(n, WIDTH)
        for _ in range(2):
            assert fanal.equal(f(x), (x * 2).softmax(0))
        gone += [weakref.ref(r.segment) for k in f.kinds for r in k.replays if r.family is not None]
    gc.collect()
    assert len(f.kinds) == 6 and _members(f) <= 6
    assert sum(segment() is not None for segment in {id(w): w for w in gone}.values()) <= 12


def test_what_is_kept_is_shared_by_all_sizes() -> None:
    model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256)).eval()
    compiled = fanal.compile(model, dynamic=True)
    with fanal.no_grad():
        for n in range(40, 60):
            x = fanal.randn(n, 256)
            assert fanal.equal(compiled(x), model(x))
        members = [r for k in compiled._compiled.kinds for r in k.replays if r.family is not None]
        assert len(members) >= 15 and len({id(r.kept) for r in members}) <= 2
        model[0].weight.mul_(2.0)
        for n in (41, 58):
            x = fanal.randn(n, 256)
            assert fanal.equal(compiled(x), model(x))
    gc.collect()
