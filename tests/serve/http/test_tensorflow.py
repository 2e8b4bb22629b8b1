"""TensorFlow Serving's paths, with plain `requests`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from fanal.serve.engine import Trouble
from fanal.serve.version import State
from tests.serve.http.serving import LABELS, Served


def ask(served: Served, path: str, request: object) -> requests.Response:
    return requests.post(f"{served.url}/v1/models/{path}", json=request)


@pytest.fixture(scope="module")
def labelled(served: Served) -> Iterator[Served]:
    served.engine.models["shapes"].labels["stable"] = 1
    yield served
    served.engine.models["shapes"].labels.clear()


@pytest.mark.parametrize("path", ["shapes", "shapes/versions/1", "shapes/labels/stable"])
@pytest.mark.parametrize("name", [{}, {"signature_name": "serving_default"}, {"signature_name": "predict"}, {"signature_name": ""}])
def test_predict_rows_and_columns(labelled: Served, path: str, name: dict) -> None:
    row, answer = [1, 2], [2.0, 4.0, -0.5]
    for request, expected in [
        ({"instances": [row, row]}, {"predictions": [answer, answer]}),
        ({"instances": [{"x": row}]}, {"predictions": [answer]}),
        ({"inputs": [row]}, {"outputs": [answer]}),
        ({"inputs": {"x": [row]}}, {"outputs": [answer]}),
    ]:
        r = ask(labelled, f"{path}:predict", {**request, **name})
        assert r.status_code == 200 and r.json() == expected


def test_several_inputs_and_outputs(served: Served) -> None:
    a, b = [1, 2, 3], [2, 2, 2]
    r = ask(served, "pair:predict", {"instances": [{"a": a, "b": b}, {"b": a, "a": a}]})
    assert r.json() == {"predictions": [
        {"total": [3.0, 4.0, 5.0], "product": [2.0, 4.0, 6.0]}, {"total": [2.0, 4.0, 6.0], "product": [1.0, 4.0, 9.0]},
    ]}  # fmt: skip
    r = ask(served, "pair:predict", {"inputs": {"a": [a], "b": [b]}})
    assert r.json() == {"outputs": {"total": [[3.0, 4.0, 5.0]], "product": [[2.0, 4.0, 6.0]]}}


def test_one_output_without_rows(served: Served) -> None:
    x = [[1, 2, 3], [4, 5, 6]]
    assert ask(served, "table:predict", {"inputs": x}).json() == {"outputs": 21.0}
    r = ask(served, "table:predict", {"instances": x})
    assert r.status_code == 400 and '{"inputs": …}' in r.json()["error"]


def test_bytes(served: Served) -> None:
    b64 = lambda data: {"b64": base64.b64encode(data).decode()}
    assert ask(served, "uint8:predict", {"instances": [b64(b"\0\1"), b64(b"\xff\2")]}).json() == {"predictions": [[0, 1], [255, 2]]}
    assert ask(served, "uint8:predict", {"instances": [{"x": b64(b"\7\10")}]}).json() == {"predictions": [[7, 8]]}
    assert ask(served, "uint8:predict", {"inputs": {"x": [b64(b"\7\10")]}}).json() == {"outputs": [[7, 8]]}
    for wrong, word in [({"b64": "?"}, "base64"), ({"b64": 1}, "b64"), (b64(b"abc"), "inputs.x.shape"), (b64(b""), "inputs.x.shape"), ({"b64": "AA==", "x": 1}, "x")]:
        r = ask(served, "uint8:predict", {"instances": [wrong]})
        assert r.status_code == 400 and word in r.json()["error"], r.text
    assert ask(served, "fp32:predict", {"instances": [b64(b"ab")]}).status_code == 400
    r = ask(served, "uint8:predict", {"instances": [b64(b"ab"), b64(b"a")]})
    assert r.status_code == 400 and "equally" in r.json()["error"]


@pytest.mark.parametrize("model, row", [("fp16", [0.5, -2]), ("bf16", [0.5, 3]), ("bool", [True, False]), ("int64", [-(1 << 63), 1]), ("uint64", [(1 << 64) - 1, 1]), ("fp64", [0.1, 1e300])])
def test_datatypes(served: Served, model: str, row: list) -> None:
    assert ask(served, f"{model}:predict", {"instances": [row]}).json() == {"predictions": [row]}


def test_numbers_that_json_does_not_have(served: Served) -> None:
    r = requests.post(f"{served.url}/v1/models/fp32:predict", data='{"instances": [[NaN, -Infinity], [1.5, Infinity]]}')
    assert r.text == '{"predictions":[[NaN,-Infinity],[1.5,Infinity]]}'


def test_classify(served: Served) -> None:
    r = ask(served, "shapes:classify", {"examples": [{"x": [1, 2]}, {"x": [0, 1]}]})
    assert r.json() == {"result": [[[n, s] for n, s in zip(LABELS, scores)] for scores in ([2.0, 4.0, -0.5], [0.5, 2.0, 0.25])]}


def test_regress_and_context(served: Served) -> None:
    r = ask(served, "level:regress", {"context": {"x": [1, 2, 3, 4]}, "examples": [{}, {"x": [1, 1, 1, 1]}]})
    assert r.json() == {"result": [10.0, 4.0]}


@pytest.mark.parametrize("path, request_, words", [
    ("level:classify", {"examples": [{"x": [1, 1, 1, 1]}]}, "classes"), ("shapes:regress", {"examples": [{"x": [1, 1]}]}, "one number"),
    ("shapes:classify", {}, "examples is missing"), ("shapes:classify", {"examples": []}, "examples has 0 rows"), ("shapes:classify", {"examples": {}}, "examples is no list"),
    ("shapes:classify", {"examples": [[1, 2]]}, "examples[0]"), ("shapes:classify", {"examples": [{}]}, "examples[0].x is missing"),
    ("shapes:classify", {"examples": [{"x": [1, 2], "y": 1}]}, "'y'"), ("shapes:classify", {"examples": [{"x": [1, 2, 3]}]}, "examples[0].x"),
    ("shapes:classify", {"examples": [{"x": [1, "2"]}]}, "examples[0].x[1]"), ("shapes:classify", {"examples": [{"x": None}]}, "examples[0].x"),
    ("shapes:classify", {"examples": [{"x": [1, 2]}], "context": []}, "context"),
    ("shapes:predict", {}, "neither"), ("shapes:predict", {"instances": [[1, 2]], "inputs": [[1, 2]]}, "both"),
    ("shapes:predict", {"instances": {}}, "instances"), ("shapes:predict", {"instances": None}, "instances"), ("shapes:predict", {"instances": []}, "0 rows"), ("shapes:predict", {"instances": [[1, 2]] * 65}, "65 rows"), ("shapes:classify", {"examples": [{"x": [1, 2]}] * 65}, "65 rows"),
    ("shapes:predict", {"instances": [[1, 2], [1]]}, "instances"), ("shapes:predict", {"instances": [[1, 2], 3]}, "instances"),
    ("shapes:predict", {"instances": [[1, None]]}, "instances[0][1]"), ("shapes:predict", {"instances": [["1", 2]]}, "instances[0][0]"),
    ("shapes:predict", {"instances": [[1e39, 2]]}, "instances[0][0]"), ("shapes:predict", {"instances": [[1, 2, 3]]}, "inputs.x.shape"),
    ("shapes:predict", {"instances": [1, 2]}, "inputs.x.shape"), ("shapes:predict", {"instances": [[[1, 2]]]}, "inputs.x.shape"),
    ("shapes:predict", {"instances": [{"x": [1, 2]}, [1, 2]]}, "instances[1]"), ("shapes:predict", {"instances": [{"x": [1, 2]}, {"y": [1, 2]}]}, "instances[1]"),
    ("shapes:predict", {"instances": [{"y": [1, 2]}]}, "'y'"), ("shapes:predict", {"instances": [{}]}, "'x' is missing"),
    ("shapes:predict", {"inputs": None}, "inputs"), ("shapes:predict", {"inputs": {"x": [[1, 2]], "y": 1}}, "'y'"), ("shapes:predict", {"inputs": {}}, "'x' is missing"),
    ("shapes:predict", {"inputs": 1}, "inputs.x.shape"), ("shapes:predict", {"inputs": "text"}, "inputs"),
    ("pair:predict", {"instances": [[1, 2, 3]]}, "several inputs"), ("pair:predict", {"instances": [{"a": [1, 2, 3]}]}, "'b' is missing"),
    ("pair:predict", {"inputs": {"a": [[1, 2, 3]], "b": [[1, 2, 3]] * 2}}, "b"),
    ("pair:predict", {"instances": [{"a": [1, 2, 3], "b": [1, 2, 3]}, {"a": [1, 2, 3], "b": [1, 2, None]}]}, "instances[1].b[2] is no FP32"),
    ("shapes:predict", {"instances": [[1, 2]], "signature_name": 7}, "signature_name"), ("shapes:predict", [], "object"),
    ("shapes:predict", {"instances": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}, "dimensions"),
])  # fmt: skip
def test_what_is_wrong_is_named(served: Served, path: str, request_: object, words: str) -> None:
    r = ask(served, path, request_)
    assert r.status_code == 400 and words in r.json()["error"], r.text
    s = served.engine.find("shapes").statistics
    assert s.received == s.success + sum(s.failures.values())


def test_signatures_that_are_not_there(served: Served) -> None:
    r = ask(served, "shapes:predict", {"instances": [[1, 2]], "signature_name": "train"})
    assert r.status_code == 404 and "predict" in r.json()["error"]


def test_status(labelled: Served) -> None:
    entry = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("shapes", "shapes/versions/1", "shapes/labels/stable", "shapes/"):
        assert requests.get(f"{labelled.url}/v1/models/{path}").json() == {"model_version_status": [entry]}
    for path in ("circles", "shapes/versions/7", "shapes/labels/none"):
        assert requests.get(f"{labelled.url}/v1/models/{path}").status_code == 404


def test_status_of_versions_that_do_not_answer(models: dict[str, Path]) -> None:
    def states(path: str) -> list[tuple[str, str, str, str]]:
        report = requests.get(f"{s.url}/v1/models/{path}").json()["model_version_status"]
        return [(v["version"], v["state"], v["status"]["error_code"], v["status"]["error_message"]) for v in report]

    with Served({"shapes": models["shapes"]}) as s:
        entry, version = s.engine.entry("shapes"), s.engine.find("shapes")
        entry.troubles.update({
            2: Trouble(State.LOADING, ""), 3: Trouble(State.ENDED, "it is damaged"),
            1: Trouble(State.ENDED, "the file that came after it is damaged"),
        })  # fmt: skip
        loading, failed, there = ("2", "LOADING", "OK", ""), ("3", "END", "INVALID_ARGUMENT", "it is damaged"), ("1", "AVAILABLE", "OK", "")
        assert states("shapes") == [failed, loading, there]
        assert states("shapes/versions/3") == [failed] and states("shapes/versions/1") == [there]
        assert requests.get(f"{s.url}/v1/models/shapes/versions/4").status_code == 404
        # It goes, and is the last of its model to.
        entry.troubles.clear()
        version.state = State.UNLOADING
        s.engine.leaving.add(s.engine.models.pop("shapes").versions[1])
        assert states("shapes") == states("shapes/versions/1") == [("1", "UNLOADING", "OK", "")]
        assert requests.get(f"{s.url}/v1/models/shapes/versions/4").status_code == 404
        s.engine.leaving.clear()
        version.state, s.engine.models["shapes"] = State.READY, entry


def test_metadata(served: Served) -> None:
    report = requests.get(f"{served.url}/v1/models/shapes/metadata").json()
    assert report["model_spec"] == {"name": "shapes", "signature_name": "", "version": "1"}
    signature = report["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"] == {
        "dtype": "DT_FLOAT", "name": "x",
        "tensor_shape": {"dim": [{"size": "-1", "name": "batch"}, {"size": "2", "name": ""}], "unknown_rank": False},
    }  # fmt: skip
    assert json.dumps(signature["outputs"]).count("DT_FLOAT") == 1


@pytest.mark.parametrize("model", ["fp16", "bf16", "fp32", "fp64"])
@pytest.mark.parametrize("value", [1 << 63, 1 << 64, 10**18, 1e39, 1e308, -(10**300), 65536])
def test_large_numbers_fit_or_are_refused(served: Served, model: str, value: float) -> None:
    r = requests.post(f"{served.url}/v1/models/{model}:predict", data=json.dumps({"instances": [[value, 0]]}))
    fits = abs(value) < {"fp16": 65520, "bf16": 3.39e38, "fp32": 3.4e38, "fp64": 1.8e308}[model]
    assert r.status_code == (200 if fits else 400), r.text
    assert fits or "instances[0][0] is no" in r.json()["error"] or "JSON" in r.json()["error"]
