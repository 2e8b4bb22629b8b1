"""`fanal serve` as its users meet it, in a process of its own: our client, gRPC, load and metrics beside one another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

import fanal
from fanal.export import load
from fanal.serve import Client, RequestError
from fanal.serve.bench import run
from tests.serve import models
from tests.serve.grpc.calls import infer, output, request


class Served:
    """A server that runs: its process, ports, and models' files."""

    def __init__(self, folder: Path):
        self.folder = folder / "models"
        self.net = models.network(self.folder / "net.fanal")
        self.ports: dict[str, int] = {}
        ready = folder / "ready.json"
        command = [sys.executable, "-m", "fanal.cli", "serve", str(self.folder), "--ready-file", str(ready), "--log-level", "warning"]
        for name in ("http", "grpc", "metrics", "admin"):
            command += [f"--{name}-port", "0"]
        self.process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        end = time.monotonic() + 60
        while not ready.exists():
            assert self.process.poll() is None and time.monotonic() < end, "it did not start"
            time.sleep(0.02)
        self.ports = json.loads(ready.read_text())

    def url(self, name: str = "http") -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    found = Served(tmp_path_factory.mktemp("served"))
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.end()


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(served.url()) as found:
        yield found


def test_answers_have_the_program_s_bits_over_all_protocols(served: Served, client: Client) -> None:
    x = models.rows(5, 1, 8, 8)
    wanted = load(served.net)(fanal.from_numpy(x)).numpy()
    for given in (x, fanal.from_numpy(x), x.tolist()):
        assert np.array_equal(client.infer("net", given), wanted)
    with grpc.insecure_channel(f"127.0.0.1:{served.ports['grpc']}") as channel:
        assert np.array_equal(output(infer(channel, request("net", x=x))), wanted)


def test_the_client_s_questions(client: Client) -> None:
    client.wait_until_ready(5, "net")
    assert client.live() and client.ready() and client.ready("net") and not client.ready("other")
    assert client.models() == {"net": ["1"]} and client.config("net")["name"] == "net"
    assert client.metadata("net")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    assert client.stats("net")[0]["inference_stats"]["success"]["count"] > 0


def test_the_client_s_errors(client: Client) -> None:
    x = models.rows(1, 1, 8, 8)
    for call, status, text in (
        (lambda: client.infer("other", {"x": x}), 404, "no model 'other'"),
        (lambda: client.infer("net", {"y": x}), 400, "'y'"),
        (lambda: client.infer("net", {"x": x[0]}), 400, "shape"),
        (lambda: client.infer("net", {"x": x}, version=9), 404, "no version 9"),
        (lambda: client.infer("net", {"x": x}, timeout=1e-6), 504, "deadline"),
    ):
        with pytest.raises(RequestError, match=text) as error:
            call()
        assert error.value.status == status


def test_load_over_all_protocols(served: Served) -> None:
    for protocol in ("binary", "json", "grpc"):
        url = f"127.0.0.1:{served.ports['grpc']}" if protocol == "grpc" else served.url()
        found = run(url, "net", protocol=protocol, concurrency=4, duration=0.4, warm_up=0.1)  # type: ignore[arg-type]
        assert found.succeeded == found.sent > 20 and not found.failed


def test_metrics(served: Served) -> None:
    for path in ("/metrics", "/monitoring/prometheus/metrics"):
        with urllib.request.urlopen(served.url("metrics") + path, timeout=5) as answer:
            text = answer.read().decode()
        found: dict[str, Any] = {s.name: s.value for f in text_string_to_metric_families(text) for s in f.samples}
        assert found["fanal_requests_received_total"] > 20 and found["fanal_workers"] == found["fanal_workers_wanted"] == 1
        assert found["fanal_model_resident_bytes"] > found["fanal_model_mapped_bytes"] > 0


def test_a_version_that_comes_is_answered_by(served: Served, client: Client) -> None:
    assert client.models() == {"net": ["1"]}
    models.adding(served.folder / "plus.fanal", 1.0)
    client.wait_until_ready(30, "plus")
    x = models.rows(2, 3)
    assert np.array_equal(client.infer("plus", x), x + 1)
    models.adding(served.folder / "plus.fanal", 2.0)
    end = time.monotonic() + 30
    while not np.array_equal(found := client.infer("plus", x), x + 2):
        assert np.array_equal(found, x + 1) and time.monotonic() < end
        time.sleep(0.02)


def test_the_end_waits_for_no_watcher(served: Served) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{served.ports['grpc']}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        start = time.monotonic()
        assert served.end() == 0 and time.monotonic() - start < 10
        assert [w.status for w in watch] == [health_pb2.HealthCheckResponse.NOT_SERVING]
