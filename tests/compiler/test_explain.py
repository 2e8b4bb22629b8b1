"""`explain`: what it says of calls, kernels, memory, times, and the page that it writes."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from typing import Any

import pytest

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.backends.native.costs import operations
from fanal.compiler.explain.text import sparkline


def trained(calls: int = 6) -> Any:
    """A compiled step that was called a few times."""
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = fanal.optim.AdamW(model.parameters())

    @fanal.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(calls):
        step(fanal.ones(8, 16), fanal.zeros(8, dtype=fanal.int64))
    return step


def test_the_report_names_operations_lines_and_times() -> None:
    report = trained().explain()
    text = str(report)
    assert repr(report) == text
    assert "replayed without its Python (5 times)" in text
    assert "float32[8,16], int64[8]" in text
    for wanted in ("linear (backward)", "adam", "test_explain.py:", "of peak", "least of 5 launches",
                   "grade A", "FLOP/s", "the least possible"):  # fmt: skip
        assert wanted in text, wanted
    (program,) = report.facts.programs
    assert all(k.seconds is not None and k.runs == 1 for k in program.kernels)
    assert sum(k.seconds for k in program.kernels) <= 3 * program.seconds
    assert program.description.arena_bytes >= program.lower_bound > 0
    assert [k.number for k in report.facts.kernels] == list(range(len(report.facts.kernels)))


def test_nothing_is_run_for_it() -> None:
    step = trained(1)
    before = [t.tolist() for t in _weights(step)]
    step.explain()
    assert [t.tolist() for t in _weights(step)] == before


def _weights(step: Any) -> list[Any]:
    model = step.function.__closure__[0].cell_contents
    return list(model.parameters()) if isinstance(model, nn.Module) else []


def test_before_the_first_call() -> None:
    assert "call it first" in str(fanal.compile(lambda x: x + 1).explain())


def test_why_it_was_captured_again() -> None:
    scale = [1.0]

    @fanal.compile
    def function(x: Any) -> Any:
        return x * scale[0]

    for i in range(3):
        scale[0] = float(i)
        function(fanal.ones(3))
    text = str(function.explain())
    assert "Captured anew, because:" in text and "2 ×" in text
    for _ in range(1000):
        function(fanal.ones(3))
    assert len(function.history) < 5  # reasons are counted, not listed for ever


def test_calls_that_run_their_python_say_why() -> None:
    seen: list[int] = []

    @fanal.compile
    def function(x: Any) -> Any:
        seen.insert(0, 1)
        return x + 1

    function(fanal.ones(3))
    text = str(function.explain())
    assert re.search(r"its Python runs at every call: list\.insert.*test_explain\.py:\d+", text)


def test_programs_of_branches() -> None:
    @fanal.compile
    def function(x: Any) -> Any:
        y = x * 2
        if y.sum() > 0:
            return y + 1
        return y - 1

    function(fanal.ones(3))
    function(-fanal.ones(3))
    report = function.explain()
    assert len(report.facts.programs) == 3
    assert {name for p in report.facts.programs for k in p.kernels for name in k.called} >= {"mul", "add", "sub"}


def test_loops_count_their_runs() -> None:
    @fanal.compile
    def function(x: Any, w: Any) -> Any:
        return fanal.scan(lambda h, v: ((h @ w + v).tanh(),) * 2, fanal.zeros(4, 8), x)

    for _ in range(3):
        function(fanal.ones(10, 4, 8), fanal.eye(8))
    kernels = function.explain().facts.kernels
    assert {k.runs for k in kernels} >= {10}
    products = sum(k.flops for k in kernels if "dot" in k.primitives)
    assert products >= 10 * 2 * 4 * 8 * 8


def test_a_compiled_module_shows_its_backward_pass() -> None:
    model = fanal.compile(nn.Sequential(nn.Linear(8, 8), nn.Tanh()))
    for _ in range(2):
        model(fanal.ones(2, 8)).sum().backward()
    programs = model.explain().facts.programs
    assert [p.name for p in programs][1:] == ["its backward pass"]
    assert "linear (backward)" in {name for k in programs[1].kernels for name in k.called}
    assert "not measured" in str(model.explain())


def test_operations_are_counted_by_definition() -> None:
    @fanal.compile
    def function(x: Any, w: Any, k: Any, image: Any) -> Any:
        return x @ w, F.conv2d(image, k, stride=2, groups=2), (x + 1).sum()

    function(fanal.ones(3, 5), fanal.ones(5, 7), fanal.ones(4, 2, 3, 3), fanal.ones(2, 4, 9, 9))
    (segment,) = [r for step in _steps(function.root) for r in step.runs.values()]
    found: dict[str, int] = {}
    for node in segment.graph.nodes:
        found[node.primitive.name] = found.get(node.primitive.name, 0) + operations([node])
    assert found["dot"] == 2 * 3 * 7 * 5
    assert found["conv"] == 2 * (2 * 4 * 4 * 4) * 2 * 3 * 3
    assert found["add"] == found["reduce_sum"] == 15


def _steps(step: Any) -> Any:
    yield step
    for child in step.children.values():
        yield from _steps(child)


class Reader(HTMLParser):
    """Checks that tags are closed, and collects addresses."""

    VOID = ("meta", "input", "line", "rect", "polyline", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_stands_alone(tmp_path: Any) -> None:
    path = trained().explain().to_html(tmp_path / "step.html")
    text = path.read_text()
    reader = Reader()
    reader.feed(text)
    assert not reader.open and not reader.addresses and "http" not in text
    assert reader.seen.count("svg") == 2 and reader.seen.count("tr") > 10
    assert "linear (backward)" in text and "test_explain.py:" in text
    assert os.listdir(tmp_path) == ["step.html"]
    with pytest.raises(FileNotFoundError):
        trained(1).explain().to_html(tmp_path / "missing" / "step.html")


def test_text_of_the_user_is_escaped(tmp_path: Any) -> None:
    def function(x: Any) -> Any:
        return x + 1

    function.__qualname__ = "<script>alert(1)</script>"
    compiled = fanal.compile(function)
    compiled(fanal.ones(3))
    assert "<script>alert" not in compiled.explain()._repr_html_()


def test_machine_code_of_a_kernel() -> None:
    report = trained().explain()
    number = next(k.number for k in report.facts.kernels if "linear" in k.called)
    assert "define void @kernel" in report.llvm_ir(number)
    assert re.search(r"^\s+ret", report.assembly(number), re.MULTILINE)
    with pytest.raises(IndexError, match=r"\[explain\] no such kernel: got 9999"):
        report.assembly(9999)


def test_sparklines() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([0, 8, 4])[1] == "█"
    assert len(sparkline(list(range(1000)))) == 60


def test_every_kernel_has_lines() -> None:
    block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    optimizer = fanal.optim.AdamW(block.parameters())

    @fanal.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = fanal.scan(lambda h, v: ((h * 0.5 + v).tanh(),) * 2, x[:, 0], block(x))[0].var()
        loss.backward()
        optimizer.step()
        return loss

    step(fanal.randn(5, 5, 16))
    kernels = step.explain().facts.kernels
    assert [k.primitives for k in kernels if not k.origins] == []
    assert all(o.file == __file__ for k in kernels for o in k.origins)


def test_operations_of_attention() -> None:
    q = fanal.randn(2, 4, 64, 16, requires_grad=True)

    @fanal.compile
    def function() -> None:
        q.grad = None
        F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()

    function()
    found = {
        n.primitive.name: operations([n])
        for step in _steps(function.root) for run in step.runs.values() for n in run.graph.nodes
    }  # fmt: skip
    pairs = 2 * 4 * (64 * 65 // 2)
    assert found["attention"] == 2 * pairs * 2 * 16
    assert found["attention_backward"] == 2 * pairs * 5 * 16
