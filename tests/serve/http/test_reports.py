"""What the server says of itself, its models and what happened to them."""

from __future__ import annotations

import time
from pathlib import Path

import requests

from fanal.serve.http.exposition import metrics_routes
from fanal.serve.version import State
from fanal.version import __version__
from tests.serve.http.serving import Served


def test_the_server(served: Served) -> None:
    report = requests.get(f"{served.url}/v2").json()
    assert report["name"] == "fanal" and report["version"] == __version__
    assert {"classification", "binary_tensor_data", "statistics", "model_configuration"} <= set(report["extensions"])
    assert requests.get(f"{served.url}/v2/health/live").status_code == 200
    assert requests.get(f"{served.url}/v2/health/ready").status_code == 200


def test_a_model(served: Served) -> None:
    for path in ("pair", "pair/versions/1", "pair/"):
        assert requests.get(f"{served.url}/v2/models/{path}").json() == {
            "name": "pair", "versions": ["1"], "platform": "fanal",
            "inputs": [{"name": n, "datatype": "FP32", "shape": [-1, 3]} for n in "ab"],
            "outputs": [{"name": n, "datatype": "FP32", "shape": [-1, 3]} for n in ("total", "product")],
        }  # fmt: skip
    assert requests.get(f"{served.url}/v2/models/pair/ready").status_code == 200
    assert requests.get(f"{served.url}/v2/models/pairs/ready").status_code == 404
    assert requests.get(f"{served.url}/v2/models/pair/versions/3").status_code == 404


def test_a_model_that_does_not_answer_yet(models: dict[str, Path]) -> None:
    with Served({"shapes": models["shapes"]}) as s:
        version = s.engine.find("shapes")
        for state, ready in ((State.LOADING, 400), (State.UNLOADING, 400), (State.READY, 200)):
            version.state = state
            assert requests.get(f"{s.url}/v2/models/shapes/ready").status_code == ready
            assert requests.get(f"{s.url}/v2/models/shapes/versions/1/ready").status_code == ready
            assert requests.get(f"{s.url}/v2/health/ready").status_code == (200 if ready == 200 else 503)
            assert requests.get(f"{s.url}/v2/health/live").status_code == 200
            status = requests.get(f"{s.url}/v1/models/shapes").json()["model_version_status"][0]
            assert status["state"] == state.value
            r = requests.post(f"{s.url}/v1/models/shapes:predict", json={"instances": [[1, 2]]})
            assert r.status_code == (200 if ready == 200 else 503) and ("retry-after" in r.headers) == (ready != 200)


def test_configurations(served: Served) -> None:
    config = requests.get(f"{served.url}/v2/models/shapes/config").json()
    assert config["max_batch_size"] == 4 and config["dynamic_batching"]["preferred_batch_size"] == [1, 2, 4]
    assert config["input"][0]["data_type"] == "TYPE_FP32" and config["input"][0]["dims"] == [2]
    fixed = requests.get(f"{served.url}/v2/models/table/versions/1/config").json()
    assert fixed["max_batch_size"] == 0 and "dynamic_batching" not in fixed and fixed["input"][0]["dims"] == [2, 3]


def test_statistics(models: dict[str, Path]) -> None:
    with Served({"shapes": models["shapes"], "level": models["level"]}) as s:
        requests.post(f"{s.url}/v1/models/shapes:predict", json={"instances": [[1, 2]] * 3})
        requests.post(f"{s.url}/v1/models/shapes:predict", json={"instances": 3})
        everything = requests.get(f"{s.url}/v2/models/stats").json()["model_stats"]
        assert [(m["name"], m["version"]) for m in everything] == [("level", "1"), ("shapes", "1")]
        for path in ("shapes", "shapes/versions/1"):
            (found,) = requests.get(f"{s.url}/v2/models/{path}/stats").json()["model_stats"]
            assert found == everything[1]
        assert found["inference_count"] == 3 and found["execution_count"] == 1
        stats = found["inference_stats"]
        assert stats["success"]["count"] == stats["fail"]["count"] == stats["queue"]["count"] == 1
        assert stats["success"]["ns"] > stats["compute_infer"]["ns"] > 0
        assert abs(found["last_inference"] / 1000 - time.time()) < 60
        assert [b["batch_size"] for b in found["batch_stats"]] == [3]


def test_metrics_are_given_as_they_are_asked_for() -> None:
    given = lambda accept: ("text/plain; version=0.0.4" if "plain" in accept else "application/openmetrics-text", accept.encode())
    with Served({}, routes=lambda engine, settings: metrics_routes(given)) as s:
        for path in ("/metrics", "/monitoring/prometheus/metrics"):
            r = requests.get(s.url + path, headers={"Accept": "text/plain"})
            assert r.text == "text/plain" and r.headers["content-type"] == "text/plain; version=0.0.4"
