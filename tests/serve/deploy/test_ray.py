"""Ray Serve on this machine, where Ray is installed (`pip install "fanal[ray]"`): requests over HTTP and by handles."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fanal
from fanal.export import load
from tests.serve import models

ray = pytest.importorskip("ray")
pytest.importorskip("ray.serve")

# Ray's own warnings are Ray's.
pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.timeout(300),
]
ROOT = Path(__file__).parents[3]


class Running:
    """An application on a local Ray."""

    def __init__(self, handle: Any, port: int, path: Path):
        self.handle, self.port, self.path = handle, port, path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from fanal.serve import ray as fanal_ray
    from tests.serve.soak.server import until

    path = models.network(tmp_path_factory.mktemp("ray") / "m.fanal")
    ray.init(num_cpus=3, include_dashboard=False, logging_level="ERROR", runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})

    from ray import serve

    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    application = fanal_ray.app(path, num_replicas=2, settings={"max_batch": 16}, health_check_period_s=1)
    handle = serve.run(application, name="m", route_prefix="/served")
    until(lambda: serve.status().applications["m"].status == "RUNNING", 60, "the application does not run")
    try:
        yield Running(handle, port, path)
    finally:
        serve.shutdown()
        ray.shutdown()


def wanted(path: Path, x: np.ndarray) -> bytes:
    return load(path)(fanal.from_numpy(x)).numpy().tobytes()


def test_handles_get_the_programs_bits_alone_and_in_batches(running: Running) -> None:
    x = models.rows(40, 1, 8, 8)
    alone = running.handle.infer.remote({"x": x[:1]}).result()
    assert alone["y"].tobytes() == wanted(running.path, x[:1])
    replies = [running.handle.infer.remote({"x": x[i : i + 1]}) for i in range(40)]
    assert b"".join(r.result()["y"].tobytes() for r in replies) == wanted(running.path, x)
    assert running.handle.metadata.remote().result()["inputs"][0]["shape"] == [-1, 1, 8, 8]
    assert running.handle.infer.remote({"x": x[:2].tolist()}).result()["y"].shape == (2, 10)


def test_handles_are_told_what_is_wrong(running: Running) -> None:
    with pytest.raises(ValueError, match=r"inputs\.x\.shape does not fit"):
        running.handle.infer.remote({"x": np.zeros((1, 3), np.float32)}).result()
    with pytest.raises(ValueError, match="no input 'z'"):
        running.handle.infer.remote({"x": models.rows(1, 1, 8, 8), "z": np.zeros(3)}).result()
    with pytest.raises(ValueError, match=r"inputs\.x is no array"):
        running.handle.infer.remote({"x": ["a"]}).result()
    with pytest.raises(TimeoutError, match="deadline"):
        running.handle.infer.remote({"x": models.rows(1, 1, 8, 8)}, timeout=0.0).result()


def test_clients_of_the_protocols(running: Running) -> None:
    """A client that knows nothing of Ray; JSON, TensorFlow's paths, errors, health."""
    from fanal.serve.client import Client

    base = f"http://127.0.0.1:{running.port}/served"
    x = models.rows(3, 1, 8, 8)
    with Client(base) as client:
        found = client.infer("m", {"x": x})
        y = found["y"] if isinstance(found, dict) else found
        assert np.asarray(y).tobytes() == wanted(running.path, x)

    def ask(path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(base + path, data, {"Content-Type": "application/json"})) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    assert ask("/v2/health/ready")[0] == 200
    status, predictions = ask("/v1/models/m:predict", {"instances": x.tolist()})
    assert status == 200 and np.array(predictions["predictions"], np.float32).tobytes() == wanted(running.path, x)
    status, body = ask("/v2/models/m/infer", {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]})
    assert status == 400 and "inputs" in body["error"]
    assert ask("/v2/models/other")[0] == 404 and ask("/v2/models/m/infer")[0] == 405
    assert ask("/v2/models/m/stats")[1]["model_stats"][0]["inference_stats"]["success"]["count"] > 0


def test_many_at_once_over_http_share_batches(running: Running) -> None:
    from tests.serve.soak.client import answer, connections, infer

    x = models.rows(64, 1, 8, 8)

    async def main() -> list[np.ndarray]:
        async with connections(running.port, 16) as clients:

            async def some(number: int) -> list[np.ndarray]:
                found = []
                for i in range(number, 64, 16):
                    request = infer("m", x[i : i + 1]).replace(b"POST /v2", b"POST /served/v2")
                    found.append(answer(await clients[number].ask(request))[0])
                return found

            parts = await asyncio.gather(*(some(n) for n in range(16)))
        return [parts[i % 16][i // 16] for i in range(64)]

    assert np.concatenate(asyncio.run(main())).tobytes() == wanted(running.path, x)


def test_a_replica_that_dies_is_replaced(running: Running) -> None:
    from tests.serve.soak.server import descendants, until

    ours = {pid: name for pid, name in descendants(os.getpid()).items() if name.startswith("ray::ServeRepl")}
    assert len(ours) == 2, ours
    os.kill(min(ours), signal.SIGKILL)
    x = models.rows(1, 1, 8, 8)

    def answers() -> bool:
        try:
            return bool(running.handle.infer.remote({"x": x}).result(timeout_s=10)["y"].size)
        except Exception:
            return False

    until(lambda: all(answers() for _ in range(10)), 60, "it does not answer again")


def test_the_end_answers_what_has_come(running: Running, tmp_path: Path) -> None:
    from ray import serve

    from fanal.serve import ray as fanal_ray
    from tests.serve.soak.slow import slow

    slow(tmp_path / "slow.fanal", 0.5)
    application = fanal_ray.app(tmp_path / "slow.fanal", settings={"max_batch": 1}, max_ongoing_requests=4, graceful_shutdown_timeout_s=30)
    handle = serve.run(application, name="slow", route_prefix="/slow")
    x = np.ones((1, 3), np.float32)
    handle.infer.remote({"x": x}).result()
    flying = [handle.infer.remote({"x": x * i}) for i in range(4)]
    time.sleep(0.2)
    serve.delete("slow")
    # (What Ray itself still held back, beyond max_ongoing_requests, would wait for a replica that never comes.)
    assert [r.result(timeout_s=30)["y"][0, 0] for r in flying] == [0, 1, 2, 3]


def test_what_is_given_is_checked_here(tmp_path: Path) -> None:
    from fanal.serve import ray as fanal_ray

    path = models.adding(tmp_path / "m.fanal", 1)
    with pytest.raises(ValueError, match="max_batch"):
        fanal_ray.app(path, settings={"max_batch": 0})
    with pytest.raises(ValueError, match="no name of a model"):
        fanal_ray.app(path, name="a/b")
    deployment = fanal_ray.deployment(path, num_replicas=3, ray_actor_options={"num_cpus": 2}, settings={"max_batch": 8})
    assert deployment.name == "m" and deployment.num_replicas == 3 and deployment.max_ongoing_requests == 16
    scaled = fanal_ray.deployment(path, autoscaling_config={"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 16})
    assert scaled.name == "m"
