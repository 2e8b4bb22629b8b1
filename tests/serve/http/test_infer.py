"""POST /v2/models/{m}/infer as clients rely on it: all datatypes, both forms of data, ids, outputs, classes."""

from __future__ import annotations

import gzip
import json
import zlib

import numpy as np
import pytest
import requests

from fanal.serve.datatypes import DATATYPES
from tests.serve.http.serving import DTYPES, LABELS, Served

X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}


def infer(served: Served, model: str, request: dict, path: str = "") -> requests.Response:
    return requests.post(f"{served.url}/v2/models/{model}{path}/infer", json=request)


def test_an_answer_says_who_gave_it(served: Served) -> None:
    r = infer(served, "shapes", {"id": "α-1", "inputs": [X]})
    assert r.status_code == 200 and r.headers["content-type"] == "application/json"
    assert r.json() == {
        "model_name": "shapes", "model_version": "1", "id": "α-1",
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [1, 3], "data": [2.0, 4.0, -0.5]}],
    }  # fmt: skip


def test_a_version_can_be_named_and_paths_may_end_with_a_slash(served: Served) -> None:
    assert infer(served, "shapes", {"inputs": [X]}, "/versions/1").status_code == 200
    assert infer(served, "shapes", {"inputs": [X]}, "/versions/2").status_code == 404
    assert requests.post(f"{served.url}/v2/models/%73hapes/infer/", json={"inputs": [X]}).status_code == 200


def samples(name: str) -> np.ndarray:
    dtype = DATATYPES[name].numpy
    if dtype.kind == "b":
        return np.array([[True, False], [False, True]])
    if dtype.kind in "iu":
        ends = np.iinfo(dtype)
        return np.array([[ends.min, ends.max], [0, 1]], dtype)
    return np.array([[0.1, -2.5], [1e-3, 3.0]]).astype(dtype)


@pytest.mark.parametrize("name", DTYPES)
def test_every_datatype_comes_back_as_it_was_sent(served: Served, name: str) -> None:
    x = samples(name)
    head = json.dumps({
        "inputs": [{"name": "x", "shape": [2, 2], "datatype": name, "parameters": {"binary_data_size": x.nbytes}}],
        "parameters": {"binary_data_output": True},
    }).encode()  # fmt: skip
    r = requests.post(
        f"{served.url}/v2/models/{name.lower()}/infer", data=head + x.tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )  # fmt: skip
    size = int(r.headers["Inference-Header-Content-Length"])
    output = json.loads(r.content[:size])["outputs"][0]
    assert output == {"name": "y", "datatype": name, "shape": [2, 2], "parameters": {"binary_data_size": x.nbytes}}
    assert r.content[size:] == x.tobytes()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", [n for n in DTYPES if n not in ("FP16", "BF16")])
def test_every_datatype_comes_back_from_json(served: Served, name: str, nested: bool) -> None:
    x = samples(name)
    data = x.tolist() if nested else x.reshape(-1).tolist()
    r = infer(served, name.lower(), {"inputs": [{"name": "x", "shape": [2, 2], "datatype": name, "data": data}]})
    assert r.status_code == 200, r.text
    back = np.array(r.json()["outputs"][0]["data"], x.dtype).reshape(2, 2)
    assert back.tobytes() == x.tobytes()


@pytest.mark.parametrize("name", ["FP16", "BF16"])
def test_short_floats_go_as_binary_data_only(served: Served, name: str) -> None:
    item = {"name": "x", "shape": [1, 2], "datatype": name, "data": [1.0, 2.0]}
    r = infer(served, name.lower(), {"inputs": [item], "parameters": {"binary_data_output": True}})
    assert r.status_code == 400 and "inputs[0].data" in r.json()["error"] and "binary" in r.json()["error"]
    r = infer(served, name.lower(), {"inputs": [{**item, "shape": [1, 2]}]})
    assert r.status_code == 400 and "outputs" in r.json()["error"]


def test_numbers_that_json_does_not_have(served: Served) -> None:
    body = '{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[NaN,-Infinity,Infinity,0.1]}]}'.replace("4", "2").replace(",Infinity,0.1", "")
    r = requests.post(f"{served.url}/v2/models/fp32/infer", data=body)
    assert r.status_code == 200 and '"data":[NaN,-Infinity]' in r.text
    assert str(json.loads(r.text)["outputs"][0]["data"]) == "[nan, -inf]"


def test_outputs_can_be_chosen(served: Served) -> None:
    inputs = [{"name": n, "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]} for n in "ba"]
    everything = infer(served, "pair", {"inputs": inputs, "outputs": []}).json()["outputs"]
    assert [o["name"] for o in everything] == ["total", "product"]
    r = infer(served, "pair", {"inputs": inputs, "outputs": [{"name": "product"}]})
    assert [(o["name"], o["data"]) for o in r.json()["outputs"]] == [("product", [1.0, 4.0, 9.0])]


def test_binary_and_json_outputs_side_by_side(served: Served) -> None:
    inputs = [{"name": n, "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]} for n in "ab"]
    wanted = [{"name": "product", "parameters": {"binary_data": True}}, {"name": "total", "parameters": {"binary_data": False}}]
    r = infer(served, "pair", {"inputs": inputs, "outputs": wanted, "parameters": {"binary_data_output": True}})
    size = int(r.headers["inference-header-content-length"])
    first, second = json.loads(r.content[:size])["outputs"]
    assert np.frombuffer(r.content[size:], "f4").tolist() == [1.0, 4.0, 9.0]
    assert first["parameters"] == {"binary_data_size": 12} and "data" not in first
    assert second["data"] == [2.0, 4.0, 6.0]


def test_classes_instead_of_scores(served: Served) -> None:
    x = {**X, "shape": [2, 2], "data": [1, 2, 4, 0]}
    wanted = [{"name": "scores", "parameters": {"classification": 2}}]
    output = infer(served, "shapes", {"inputs": [x], "outputs": wanted}).json()["outputs"][0]
    assert output["datatype"] == "BYTES" and output["shape"] == [2, 2]
    assert output["data"] == [f"4.000000:1:{LABELS[1]}", f"2.000000:0:{LABELS[0]}", f"4.000000:0:{LABELS[0]}", f"0.000000:1:{LABELS[1]}"]
    wanted[0]["parameters"]["classification"] = 100  # more than there are
    assert infer(served, "shapes", {"inputs": [x], "outputs": wanted}).json()["outputs"][0]["shape"] == [2, 3]


def test_a_model_without_rows(served: Served) -> None:
    r = infer(served, "table", {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1] * 6}]})
    assert r.json()["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [], "data": [6.0]}]


def test_a_deadline_is_a_parameter(served: Served) -> None:
    r = infer(served, "shapes", {"inputs": [X], "parameters": {"timeout": 1}})
    assert r.status_code == 504 and "deadline" in r.json()["error"]
    assert infer(served, "shapes", {"inputs": [X], "parameters": {"timeout": 10_000_000, "priority": 3}}).status_code == 200
    assert infer(served, "shapes", {"inputs": [X], "parameters": {"timeout": 0}}).status_code == 200


@pytest.mark.parametrize("parameters", [None, {}, {"my_own": {"deep": [1]}, "sequence_id": 7}])
def test_unknown_parameters_and_members_are_no_fault(served: Served, parameters: object) -> None:
    request = {"inputs": [{**X, "parameters": parameters}], "parameters": parameters, "outputs": None, "more": 1}
    assert infer(served, "shapes", request).status_code == 200


@pytest.mark.parametrize("coding, pack", [("gzip", gzip.compress), ("deflate", zlib.compress), ("gzip, deflate", lambda b: zlib.compress(gzip.compress(b)))])
def test_compressed_requests(served: Served, coding: str, pack) -> None:
    body = pack(json.dumps({"inputs": [X]}).encode())
    r = requests.post(f"{served.url}/v2/models/shapes/infer", data=body, headers={"Content-Encoding": coding})
    assert r.status_code == 200 and r.json()["outputs"][0]["data"] == [2.0, 4.0, -0.5]


@pytest.mark.parametrize("coding, pack", [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_large_bodies_are_coded_beside_others(served: Served, coding: str, pack) -> None:
    x = np.random.default_rng(0).standard_normal((8, 1 << 16)).astype("f4")
    head = json.dumps({
        "inputs": [{"name": "x", "shape": list(x.shape), "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}],
        "parameters": {"binary_data_output": True},
    }).encode()  # fmt: skip
    url, headers = f"{served.url}/v2/models/wide/infer", {"Inference-Header-Content-Length": str(len(head))}
    body = pack(head + x.tobytes())
    with requests.Session() as session:
        for _ in range(3):
            r = session.post(url, data=body, headers={**headers, "Content-Encoding": coding, "Accept-Encoding": coding})
            assert r.status_code == 200 and r.headers["content-encoding"] == coding
            assert r.content[int(r.headers["Inference-Header-Content-Length"]) :] == x.tobytes()
        for wrong in (body[:-1], body + b"x", body[:5000] + bytes(100) + body[5100:]):
            r = session.post(url, data=wrong, headers={**headers, "Content-Encoding": coding})
            assert r.status_code == 400 and coding in r.json()["error"]


@pytest.mark.parametrize("accepts, coding", [
    ("gzip", "gzip"), ("deflate", "deflate"), ("gzip;q=0.5, deflate", "deflate"), ("identity", None),
    ("gzip;q=0", None), ("br", None), ("*", "gzip"), ("gzip;q=x", None),
])  # fmt: skip
def test_compressed_answers(served: Served, accepts: str, coding: str | None) -> None:
    x = {"name": "x", "shape": [64, 2], "datatype": "FP32", "data": [0.1] * 128}
    r = requests.post(f"{served.url}/v2/models/shapes/infer", json={"inputs": [x]}, headers={"Accept-Encoding": accepts})
    assert r.headers.get("content-encoding") == coding
    assert r.json()["outputs"][0]["shape"] == [64, 3]


def test_an_answer_has_the_bits_of_any_batch(served: Served) -> None:
    rows = np.random.default_rng(0).standard_normal((64, 2)).astype("f4")
    ask = lambda x: infer(served, "shapes", {"inputs": [{**X, "shape": list(x.shape), "data": x.reshape(-1).tolist()}]}).json()
    together = np.array(ask(rows)["outputs"][0]["data"], "f4").reshape(64, 3)
    alone = [ask(rows[i : i + 1])["outputs"][0]["data"] for i in range(8)]
    assert np.array(alone, "f4").tobytes() == together[:8].tobytes()


@pytest.mark.parametrize("name", DTYPES)
def test_classes_of_every_datatype(served: Served, name: str) -> None:
    x = samples(name)
    head = json.dumps({
        "inputs": [{"name": "x", "shape": [2, 2], "datatype": name, "parameters": {"binary_data_size": x.nbytes}}],
        "outputs": [{"name": "y", "parameters": {"classification": 1}}],
    }).encode()  # fmt: skip
    r = requests.post(
        f"{served.url}/v2/models/{name.lower()}/infer", data=head + x.tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )  # fmt: skip
    assert r.status_code == 200, r.text
    texts = r.json()["outputs"][0]["data"]
    assert [int(t.split(":")[1]) for t in texts] == x.argmax(1).tolist()


def test_no_rows(served: Served) -> None:
    x = {"name": "x", "datatype": "FP32", "shape": [0, 3], "data": []}
    r = requests.post(f"{served.url}/v2/models/none/infer", json={"inputs": [x]})
    assert r.status_code == 200 and r.json()["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [0, 3], "data": []}]
    r = requests.post(f"{served.url}/v2/models/shapes/infer", json={"inputs": [{**x, "shape": [0, 2]}]})
    assert r.status_code == 400 and "'batch' is out of its range: got 0 in dimension 0 of 'x'; expected 1 to 64" in r.json()["error"]
