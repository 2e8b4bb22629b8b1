"""What Prometheus reads. Nothing is counted here: the numbers are those that the engine keeps of each version, taken
when somebody asks. Names that begin with `nv_` are Triton's, so that dashboards made for it go on.

Of each version received = success + failures once nothing is pending. Counts go on where a version is loaded anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from fanal.serve.engine import Engine
from fanal.serve.memory import memory_of
from fanal.serve.statistics import Histogram, Statistics
from fanal.serve.version import Version

_LABELS = ("model", "version")
# Triton's reasons, and which of our statuses they are; all others are OTHER.
_REASONS = {"exhausted": "REJECTED", "deadline": "REJECTED", "cancelled": "CANCELED", "internal": "BACKEND"}
_TRITON = ("REJECTED", "CANCELED", "BACKEND", "OTHER")

Number = Callable[[Statistics], float]


def exposition(engine: Engine, accept: str = "") -> tuple[str, bytes]:
    """All metrics in the format that an Accept header asks for (Prometheus' text or OpenMetrics): its content type,
    and the text. It may be called in any thread."""
    registry = CollectorRegistry()
    registry.register(_Metrics(engine))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    encode, kind = choose_encoder(accept)
    text: bytes = encode(registry)
    if not kind.startswith("application/openmetrics-text"):
        # OpenMetrics has no counters without "_total", which Triton's names lack; the older format may call them so.
        text = re.sub(rb"(?m)^(# TYPE nv_\w+) untyped$", rb"\1 counter", text)
    return kind, text


class _Metrics(Collector):
    def __init__(self, engine: Engine):
        self._engine = engine

    def describe(self) -> Iterable[Metric]:
        """Nothing: otherwise registering this would ask for all numbers once more."""
        return []

    def collect(self) -> Iterable[Metric]:
        # Versions that only finish what they had taken are counted until they are gone, or one of their number is.
        found = {(v.model, v.number): v for v in (*tuple(self._engine.leaving), *self._engine.versions())}
        versions = [found[k] for k in sorted(found)]
        yield from _triton(versions)
        yield from _requests(versions)
        yield from _workers(versions)
        yield from _server(self._engine)


def _labels(version: Version) -> tuple[str, str]:
    return version.model, str(version.number)


# -- Triton's names ------------------------------------------------------------------------------------------


def _triton(versions: Sequence[Version]) -> Iterator[Metric]:
    def counter(name: str, text: str, number: Number) -> Metric:
        made = Metric(name, text, "unknown")
        for v in versions:
            made.add_sample(name, dict(zip(_LABELS, _labels(v), strict=True)), number(v.statistics))
        return made

    yield counter("nv_inference_request_success", "Requests that were answered", lambda s: s.success)
    yield _failures(versions)
    yield counter("nv_inference_count", "Rows that were computed", lambda s: s.inferences)
    yield counter("nv_inference_exec_count", "Batches that were computed", lambda s: s.executions)
    us = "microseconds, summed over requests that were answered"
    yield counter("nv_inference_request_duration_us", f"From arrival to answer, {us}", lambda s: s.succeeded.ns // 1000)
    yield counter("nv_inference_queue_duration_us", f"In the queue, {us}", lambda s: s.queued.ns // 1000)
    yield counter("nv_inference_compute_input_duration_us", f"Bringing inputs together, {us}", lambda s: s.input.ns // 1000)
    yield counter("nv_inference_compute_infer_duration_us", f"Computing, {us}", lambda s: s.infer.ns // 1000)
    yield counter("nv_inference_compute_output_duration_us", f"Taking outputs apart, {us}", lambda s: s.output.ns // 1000)
    pending = GaugeMetricFamily("nv_inference_pending_request_count", "Requests that wait for their answer", labels=_LABELS)
    for v in versions:
        pending.add_metric(_labels(v), v.statistics.pending)
    yield pending


def _failures(versions: Sequence[Version]) -> Metric:
    name = "nv_inference_request_failure"
    made = Metric(name, "Requests without a result, by Triton's reasons", "unknown")
    for v in versions:
        counts = dict.fromkeys(_TRITON, 0)
        for status, n in dict(v.statistics.failures).items():
            counts[_REASONS.get(status, "OTHER")] += n
        for reason, n in counts.items():
            model, version = _labels(v)
            made.add_sample(name, {"model": model, "version": version, "reason": reason}, n)
    return made


# -- ours ----------------------------------------------------------------------------------------------------


def _requests(versions: Sequence[Version]) -> Iterator[Metric]:
    def counter(name: str, text: str, number: Number) -> Metric:
        made = CounterMetricFamily(name, text, labels=_LABELS)
        for v in versions:
            made.add_metric(_labels(v), number(v.statistics))
        return made

    yield counter("fanal_requests_received", "Requests that named this version or meant it", lambda s: s.received)
    failed = CounterMetricFamily("fanal_requests_failed", "Requests without a result, by status", labels=(*_LABELS, "status"))
    for v in versions:
        for status, n in sorted(dict(v.statistics.failures).items()):
            failed.add_metric((*_labels(v), status), n)
    yield failed
    yield counter("fanal_requests_shed", "Requests that were refused because too many waited", lambda s: s.shed)
    yield counter("fanal_requests_missed", "Requests whose deadline passed", lambda s: s.missed)
    yield counter("fanal_requests_cancelled", "Requests whose sender went away", lambda s: s.cancelled)
    yield _histogram("fanal_request_seconds", "From arrival to the end, whatever it was", versions, lambda s: s.request)
    yield _histogram("fanal_queue_seconds", "In the queue, of requests that were computed", versions, lambda s: s.queue)


def _histogram(name: str, text: str, versions: Sequence[Version], of: Callable[[Statistics], Histogram]) -> Metric:
    made = HistogramMetricFamily(name, text, labels=_LABELS)
    for v in versions:
        found = of(v.statistics)
        buckets = [("+Inf" if bound == float("inf") else str(bound), n) for bound, n in found.cumulative()]
        made.add_metric(_labels(v), buckets, found.sum)
    return made


def _workers(versions: Sequence[Version]) -> Iterator[Metric]:
    restarts = CounterMetricFamily("fanal_worker_restarts", "Workers that were lost and replaced", labels=_LABELS)
    there = GaugeMetricFamily("fanal_workers", "Workers that are there", labels=_LABELS)
    wanted = GaugeMetricFamily("fanal_workers_wanted", "Workers that there should be", labels=_LABELS)
    ready = GaugeMetricFamily("fanal_model_ready", "1 where a version answers", labels=_LABELS)
    resident = GaugeMetricFamily(
        "fanal_model_resident_bytes", "Memory of a version's processes; what several share is counted once", labels=_LABELS
    )
    mapped = GaugeMetricFamily(
        "fanal_model_mapped_bytes", "Of the resident bytes, those of files and shared memory", labels=_LABELS
    )
    for v in versions:
        labels, staff = _labels(v), v.staff
        restarts.add_metric(labels, v.statistics.restarts)
        ready.add_metric(labels, v.ready)
        there.add_metric(labels, len(v.executors))
        if staff is None:
            continue
        wanted.add_metric(labels, staff.wanted)
        memory = memory_of(staff.pids)
        resident.add_metric(labels, memory.resident)
        mapped.add_metric(labels, memory.mapped)
    yield from (ready, there, wanted, restarts, resident, mapped)


def _server(engine: Engine) -> Iterator[Metric]:
    yield GaugeMetricFamily("fanal_server_ready", "1 where all models answer", engine.ready)
    yield _by_model("fanal_model_loads", "Versions that were loaded, anew or for the first time", engine.loads)
    yield _by_model("fanal_model_load_failures", "Versions that could not be loaded", engine.failed_loads)


def _by_model(name: str, text: str, counts: Mapping[str, int]) -> Metric:
    made = CounterMetricFamily(name, text, labels=("model",))
    for model, n in sorted(dict(counts).items()):
        made.add_metric((model,), n)
    return made
