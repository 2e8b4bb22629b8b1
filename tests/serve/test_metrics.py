"""What Prometheus reads is what happened: names, formats, sums."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as classic

from fanal.serve.engine import Engine
from fanal.serve.errors import ServeError, invalid
from fanal.serve.memory import memory_of
from fanal.serve.metrics import exposition
from fanal.serve.statistics import BUCKETS
from fanal.serve.version import Flow, Version
from tests.serve import models

OPEN = "application/openmetrics-text; version=1.0.0"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine to which all kinds of things have happened. It is closed, but for its numbers."""
    path = models.adding(tmp_path_factory.mktemp("models") / "m.fanal", 1.0)

    async def main() -> Engine:
        engine = Engine()
        for name, number in (("m", 1), ("m", 2), ("other", 1)):
            await engine.load_inline(path, name, number, None, Flow(queue_size=8))
        version = engine.find("m", 2)
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(_ask(engine, version) for _ in range(5)))
        await asyncio.gather(*(_ask(engine, version) for _ in range(30)), return_exceptions=True)  # some are refused
        version.submit(version.description.function(None), {"x": models.rows(1, 3)}).cancel()
        with pytest.raises(ServeError):
            _ask(engine, version, deadline=loop.time() - 1)
        with pytest.raises(ServeError):
            version.submit(version.description.function(None), {})
        version.refused(invalid("no JSON"))
        engine.loads["m"], engine.failed_loads["other"] = 2, 3
        await asyncio.gather(*(v.finished() for v in engine.versions()))
        return engine

    return asyncio.run(main())


def _ask(engine: Engine, version: Version, **options: Any) -> Any:
    try:
        return version.submit(version.description.function(None), {"x": models.rows(2, 3)}, **options).future
    except ServeError as error:
        if "deadline" in options:
            raise
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(error)
        return failed


def samples(engine: Engine, accept: str = "") -> dict[str, dict[tuple[str, ...], float]]:
    """Values by name, then by labels."""
    kind, text = exposition(engine, accept)
    parse = open_metrics if kind.startswith("application/openmetrics") else classic
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in parse(text.decode()):
        for s in family.samples:
            # The parser gives all counters the ending that Triton's do not have.
            values = found.setdefault(s.name.removesuffix("_total") if s.name.startswith("nv_") else s.name, {})
            key = tuple(s.labels[k] for k in sorted(s.labels))
            assert key not in values, (s.name, key)  # no series twice
            values[key] = s.value
    return found


def test_received_is_success_and_failures(engine: Engine) -> None:
    found = samples(engine)
    received, success, failed = (found[n] for n in ("fanal_requests_received_total", "nv_inference_request_success", "nv_inference_request_failure"))
    for (model, version), n in received.items():
        failures = sum(v for (m, _, ver), v in failed.items() if (m, ver) == (model, version))
        ours = sum(v for (m, _, ver), v in found["fanal_requests_failed_total"].items() if (m, ver) == (model, version))
        assert n == success[model, version] + failures + found["nv_inference_pending_request_count"][model, version]
        assert failures == ours
    assert received["m", "2"] == 39 and received["m", "1"] == received["other", "1"] == 0
    assert found["fanal_requests_shed_total"]["m", "2"] == failed["m", "REJECTED", "2"] - found["fanal_requests_missed_total"]["m", "2"] > 0
    assert found["fanal_requests_missed_total"]["m", "2"] == 1 and failed["m", "OTHER", "2"] == 2


def test_triton_s_names_and_types(engine: Engine) -> None:
    _, text = exposition(engine)
    types = dict(line.split()[2:] for line in text.decode().splitlines() if line.startswith("# TYPE nv_"))
    assert types == {
        **dict.fromkeys(
            ("nv_inference_request_success", "nv_inference_request_failure", "nv_inference_count", "nv_inference_exec_count",
             "nv_inference_request_duration_us", "nv_inference_queue_duration_us", "nv_inference_compute_input_duration_us",
             "nv_inference_compute_infer_duration_us", "nv_inference_compute_output_duration_us"), "counter"),
        "nv_inference_pending_request_count": "gauge",
    }  # fmt: skip
    found = samples(engine)
    s = engine.find("m", 2).statistics
    assert found["nv_inference_count"]["m", "2"] == s.inferences >= 2 * s.success > 0
    assert found["nv_inference_exec_count"]["m", "2"] == s.executions
    assert found["nv_inference_compute_infer_duration_us"]["m", "2"] == s.infer.ns // 1000


def test_histograms(engine: Engine) -> None:
    found = samples(engine)
    buckets = {le: v for (le, model, version), v in found["fanal_request_seconds_bucket"].items() if (model, version) == ("m", "2")}
    assert [float(b) for b in buckets] == [*BUCKETS, float("inf")] and list(buckets.values()) == sorted(buckets.values())
    assert buckets["+Inf"] == found["fanal_request_seconds_count"]["m", "2"] == 39
    assert found["fanal_queue_seconds_count"]["m", "2"] >= found["nv_inference_request_success"]["m", "2"] > 0


def test_both_formats_say_the_same(engine: Engine) -> None:
    kind, text = exposition(engine, OPEN)
    assert kind.startswith("application/openmetrics-text") and text.endswith(b"# EOF\n")
    assert exposition(engine, "*/*")[0].startswith("text/plain; version=0.0.4")
    first, second = samples(engine), samples(engine, OPEN)
    ours = {n for n in first if n.startswith(("nv_", "fanal_")) and "bytes" not in n}
    assert len(ours) > 25 and all(first[n] == second[n] for n in ours)


def test_the_server(engine: Engine) -> None:
    found = samples(engine)
    assert found["fanal_server_ready"] == {(): 1.0} and found["fanal_model_loads_total"] == {("m",): 2.0}
    assert found["fanal_model_load_failures_total"] == {("other",): 3.0}
    assert found["fanal_workers"]["m", "1"] == found["fanal_workers_wanted"]["m", "1"] == found["fanal_model_ready"]["m", "1"] == 1
    assert found["fanal_model_resident_bytes"]["m", "1"] > 1e6 and found["process_resident_memory_bytes"][()] > 1e6


def test_versions_that_leave_are_counted_until_they_are_gone(engine: Engine) -> None:
    entry = engine.models["m"]
    old = entry.versions.pop(1)
    engine.leaving.add(old)
    try:
        assert ("m", "1") in samples(engine)["nv_inference_count"]
        again = entry.versions[1] = entry.versions[2]  # any other; its numbers stand for those of version 2
        assert again.number == 2 and ("m", "1") in samples(engine)["nv_inference_count"]
    finally:
        entry.versions[1] = old
        engine.leaving.discard(old)


def test_memory_of_processes() -> None:
    mine = memory_of([os.getpid()])
    assert mine.resident > 1e6 and 0 < mine.mapped <= mine.resident
    assert memory_of([]) == memory_of([2**22 + 1]) == (0, 0)
    assert Path("/proc/self/statm").exists()
