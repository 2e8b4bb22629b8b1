"""The profiler: what is recorded, of eager operations and of compiled programs, and what it looks like."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from typing import Any

import pytest

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.profiler import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)


def work(n: int = 1) -> None:
    a = fanal.ones(32, 32)
    for _ in range(n):
        a = fanal.tanh(a @ a)


def trained() -> tuple[Any, Any]:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = fanal.optim.SGD(model.parameters(), lr=0.1)

    @fanal.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    data = fanal.ones(8, 16), fanal.zeros(8, dtype=fanal.int64)
    for _ in range(3):
        step(*data)
    return step, data


def names(p: Any) -> list[str]:
    return [e.name for e in p.events()]


def test_eager_operations() -> None:
    work()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, with_flops=True) as p:
        work(3)
    found = {e.key: e for e in p.key_averages()}
    assert found["matmul"].count == found["tanh"].count == 3
    assert found["matmul"].flops == 3 * 2 * 32**3
    assert found["tanh"].cpu_time_total >= found["tanh"].self_cpu_time_total > 0
    assert found["tanh"].cpu_time == pytest.approx(found["tanh"].cpu_time_total / 3)
    event = next(e for e in p.events() if e.name == "matmul")
    assert event.input_shapes == ((32, 32), (32, 32))
    assert event.time_range.elapsed_us() == event.cpu_time_total
    work()
    assert {e.key: e for e in p.key_averages()}["matmul"].count == 3, "nothing is recorded afterwards"


def test_gradients_are_told_apart() -> None:
    x = fanal.ones(4, requires_grad=True)
    with profile() as p:
        (x * x).tanh().sum().backward()
    assert {"mul", "mul (backward)", "tanh", "tanh (backward)", "sum"} <= set(names(p))


def test_kernels_of_a_compiled_program() -> None:
    step, data = trained()
    with profile() as p:
        step(*data)
        step(*data)
    events = p.events()
    programs = [e for e in events if e.name.startswith("compiled ")]
    assert len(programs) == 2 and programs[0].name.endswith("step")
    kernels = programs[0].cpu_children
    assert len(kernels) == len(programs[1].cpu_children) > 3
    assert {k.kind for k in kernels} == {"kernel"} and all(k.cpu_parent is programs[0] for k in kernels)
    found = {k.name for k in kernels}
    assert any("linear (backward)" in n for n in found) and any("sgd" in n for n in found)
    assert all(any(__file__ in line for line in k.stack) for k in kernels)
    inside = sum(k.cpu_time_total for k in kernels)
    assert programs[0].self_cpu_time_total == pytest.approx(programs[0].cpu_time_total - inside)
    assert all(programs[0].time_range.start <= k.time_range.start for k in kernels)


def test_the_first_call_is_recorded_too() -> None:
    compiled = fanal.compile(lambda x: (x @ x).exp())
    with profile() as p:
        compiled(fanal.eye(8))
    assert any("matmul" in n for n in names(p))


def test_named_ranges_nest() -> None:
    @record_function("inner")
    def inner() -> None:
        work()

    with profile() as p, record_function("outer"):
        inner()
        inner()
    (outer,) = [e for e in p.events() if e.name == "outer"]
    assert [c.name for c in outer.cpu_children] == ["inner", "inner"]
    assert {c.name for c in outer.cpu_children[0].cpu_children} >= {"matmul", "tanh"}
    assert outer.self_cpu_time_total < outer.cpu_time_total
    with record_function("outside of a profile"):
        pass


def test_a_named_range_in_a_compiled_function_is_no_effect() -> None:
    @fanal.compile
    def function(x: Any) -> Any:
        with record_function("a part"):
            y = x * 2
        return y + 1

    for _ in range(3):
        assert function(fanal.ones(2)).tolist() == [3.0, 3.0]
    assert "replayed without its Python" in str(function.explain()), function.explain()
    other = fanal.compile(lambda x: inner(x))

    @record_function("in front")
    def inner(x: Any) -> Any:
        return x - 1

    with profile() as p:
        other(fanal.ones(2))
    assert "in front" in names(p)


def test_threads_have_names(tmp_path: Any) -> None:
    with profile() as p:
        thread = threading.Thread(target=work, name="a worker")
        thread.start()
        thread.join()
        work()
    assert len({e.thread for e in p.events()}) == 2
    p.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    threads = {e["args"]["name"]: e["tid"] for e in events if e["name"] == "thread_name"}
    assert {"MainThread", "a worker"} <= set(threads)
    assert {e["tid"] for e in events if e["name"] == "matmul"} == set(threads.values())


def test_chrome_traces(tmp_path: Any) -> None:
    step, data = trained()
    with profile(record_shapes=True) as p, record_function("all"):
        step(*data)
        work()
    p.add_metadata("model", "tiny")
    p.add_metadata_json("sizes", "[1, 2]")
    for name in ("trace.json", "trace.json.gz"):
        p.export_chrome_trace(str(tmp_path / name))
    plain = (tmp_path / "trace.json").read_bytes()
    assert gzip.decompress((tmp_path / "trace.json.gz").read_bytes()) == plain
    trace = json.loads(plain)
    assert trace["model"] == "tiny" and trace["sizes"] == [1, 2]
    spans = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert {e["cat"] for e in spans} == {"cpu_op", "kernel", "user_annotation"}
    assert all(e["dur"] >= 0 and {"ts", "pid", "tid", "args"} <= set(e) for e in spans)
    now = time.perf_counter_ns() / 1e3
    assert all(now - 60e6 < e["ts"] < now for e in spans)
    whole = next(e for e in spans if e["name"] == "all")
    assert all(whole["ts"] <= e["ts"] + 0.01 and e["ts"] + e["dur"] <= whole["ts"] + whole["dur"] + 0.01 for e in spans)
    assert sorted(os.listdir(tmp_path)) == ["trace.json", "trace.json.gz"]


def test_tables() -> None:
    with profile(record_shapes=True, profile_memory=True) as p:
        work(2)
    text = p.key_averages().table(sort_by="self_cpu_time_total", row_limit=10)
    for wanted in ("Name", "Self CPU %", "CPU time avg", "# of Calls", "CPU Mem", "matmul", "8.00 Kb",
                   "Self CPU time total:"):  # fmt: skip
        assert wanted in text, wanted
    grouped = p.key_averages(group_by_input_shape=True)
    assert "Input Shapes" in str(grouped) and "[[32, 32], [32, 32]]" in str(grouped)
    one = p.key_averages().table(sort_by="count", row_limit=1, header="a header")
    assert "a header" in one and "more row" in one
    assert "matmul" in p.table()
    averages = p.key_averages()
    assert averages.total_average().count == sum(e.count for e in averages)
    with pytest.raises(AttributeError, match=r"\[table\] cannot sort by this: got 'cpu_tim'.*Try: cpu_time"):
        p.table(sort_by="cpu_tim")


def test_memory_of_results() -> None:
    fanal.ones(1000) + 1
    with profile(profile_memory=True) as p:
        a = fanal.ones(1000) + 1
        a.add_(1)
    found = {e.key: e for e in p.key_averages()}
    assert found["add"].cpu_memory_usage == 4000 and found["add_"].cpu_memory_usage == 0


def test_stacks(tmp_path: Any) -> None:
    def caller() -> None:
        work(2)

    with profile(with_stack=True) as p:
        caller()
    event = next(e for e in p.events() if e.name == "tanh")
    assert event.stack[0].startswith(__file__) and event.stack[0].endswith(": work")
    assert event.stack[1].endswith(": caller")
    assert {e.stack for e in p.key_averages(group_by_stack_n=1) if e.key == "tanh"} == {event.stack[:1]}
    p.export_stacks(tmp_path / "stacks.txt")
    lines = (tmp_path / "stacks.txt").read_text().splitlines()
    assert all(line.rsplit(" ", 1)[1].isdigit() for line in lines)
    assert any("caller;" in line and "work;" in line for line in lines)
    with pytest.raises(ValueError, match="unknown metric"):
        p.export_stacks(tmp_path / "x", "self_cuda_time_total")


def test_schedules() -> None:
    plan = schedule(wait=1, warmup=1, active=2, repeat=2, skip_first=1)
    none, warm, record, save = ProfilerAction
    cycle = [none, warm, record, save]
    assert [plan(i) for i in range(11)] == [none, *cycle, *cycle, none, none]
    eager = schedule(wait=1, warmup=0, active=1, skip_first=2, skip_first_wait=1)
    assert [eager(i) for i in range(6)] == [none, none, save, none, save, none]
    with pytest.raises(ValueError, match="active is too small: got 0"):
        schedule(wait=0, warmup=0, active=0)


def test_steps_and_handlers(tmp_path: Any) -> None:
    ready: list[list[str]] = []
    with profile(
        schedule=schedule(wait=1, warmup=1, active=2, repeat=2), on_trace_ready=lambda p: ready.append(names(p))
    ) as p:
        for i in range(10):
            (fanal.exp if i % 4 == 2 else fanal.sin)(fanal.ones(3))
            p.step()
    assert p.step_num == 10 and p.current_action is ProfilerAction.NONE
    assert len(ready) == 2
    for first, found in ((2, ready[0]), (6, ready[1])):
        assert {f"ProfilerStep#{first}", f"ProfilerStep#{first + 1}"} == {n for n in found if "Step" in n}
        assert found.count("exp") == found.count("sin") == 1
    with profile(on_trace_ready=tensorboard_trace_handler(str(tmp_path / "log"), "w", use_gzip=True)):
        work()
    (name,) = os.listdir(tmp_path / "log")
    assert name.startswith("w.") and name.endswith(".pt.trace.json.gz")


def test_start_and_stop() -> None:
    p = profile()
    with pytest.raises(RuntimeError, match=r"\[profile\] nothing was recorded"):
        p.events()
    p.start()
    work()
    p.stop()
    assert "tanh" in names(p)


def test_one_profile_at_a_time() -> None:
    with profile() as p:
        with pytest.raises(RuntimeError, match="another profile is being taken"):
            profile().start()
        work()
    assert "tanh" in names(p)
    with profile():
        pass
    with pytest.raises(ZeroDivisionError), profile():
        1 / 0  # noqa: B018
    with profile() as p:
        work()
    assert "tanh" in names(p)


def test_activities() -> None:
    assert supported_activities() == {ProfilerActivity.CPU}
    with pytest.raises(TypeError, match="not an activity: got 'cpu'"):
        profile(activities=["cpu"])  # type: ignore[list-item]


def test_loops_show_each_run_of_their_kernels() -> None:
    @fanal.compile
    def function(x: Any, w: Any) -> Any:
        return fanal.scan(lambda h, v: ((h @ w + v).tanh(),) * 2, fanal.zeros(4, 8), x)

    data = fanal.ones(10, 4, 8), fanal.eye(8)
    function(*data)
    with profile() as p:
        function(*data)
    assert max(e.count for e in p.key_averages() if e.kind == "kernel") >= 10


def test_times_of_launches_are_right() -> None:
    x = fanal.ones(1 << 20)
    fanal.exp(x)
    with profile() as p:
        start = time.perf_counter()
        for _ in range(5):
            fanal.exp(x)
        elapsed = 1e6 * (time.perf_counter() - start)
    (exp,) = [e for e in p.key_averages() if e.key == "exp"]
    assert 0.2 * elapsed < exp.cpu_time_total <= elapsed
