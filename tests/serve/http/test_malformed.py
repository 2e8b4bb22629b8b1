"""Everything that is wrong is refused with a 4xx that names the field, and the server goes on."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from fanal.serve.settings import Settings
from tests.serve.http.serving import Served

X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
HUGE = 1 << 62


def with_x(**fields: object) -> dict:
    return {"inputs": [{**X, **fields}]}


def without(field: str) -> dict:
    return {"inputs": [{k: v for k, v in X.items() if k != field}]}


@pytest.fixture(autouse=True)
def goes_on(served: Served) -> Iterator[None]:
    yield
    r = requests.post(f"{served.url}/v2/models/shapes/infer", json={"inputs": [X]})
    assert r.json()["outputs"][0]["data"] == [2.0, 4.0, -0.5]
    s = served.engine.find("shapes").statistics
    assert s.received == s.success + sum(s.failures.values())


REQUESTS = [
    ([], "object"), (None, "object"), ("text", "object"), ({}, "inputs"), ({"inputs": None}, "inputs"),
    ({"inputs": {}}, "inputs"), ({"inputs": []}, "'x' is missing"), ({"inputs": [None]}, "inputs[0]"),
    ({"inputs": [X, X]}, "inputs[1].name"), (with_x(name="y"), "'y'"), (with_x(name=None), "inputs[0].name"),
    ({"inputs": [X, {**X, "name": "z"}]}, "'z'"), (without("name"), "inputs[0].name"),
    (without("shape"), "inputs[0].shape"), (with_x(shape="1"), "inputs[0].shape"), (with_x(shape=[1]), "inputs[0].data"),
    (with_x(shape=[1, -2]), "inputs[0].shape"), (with_x(shape=[1.0, 2]), "inputs[0].shape"),
    (with_x(shape=[True, 2]), "inputs[0].shape"), (with_x(shape=[None, 2]), "inputs[0].shape"),
    (with_x(shape=[1, HUGE]), "inputs[0].shape"), (with_x(shape=[HUGE, HUGE]), "inputs[0].shape"),
    (with_x(shape=[(1 << 64) - 1, 2]), "inputs[0].shape"), (with_x(shape=[0, HUGE], data=[]), "inputs[0].shape"),
    (with_x(shape=[1 << 31, 1 << 20], data=[]), "inputs[0].data"), (with_x(shape=[1] * 100), "inputs[0].shape"),
    (with_x(shape=[0, 2], data=[]), "x"), (with_x(shape=[2, 1]), "inputs.x.shape"), (with_x(shape=[1, 1, 2]), "inputs.x.shape"),
    (with_x(shape=[65, 2], data=[0] * 130), "x"), (with_x(shape=[], data=[1]), "inputs.x.shape"),
    (with_x(shape=[], data=1), "inputs.x.shape"),
    (without("datatype"), "inputs[0].datatype"), (with_x(datatype="FP31"), "inputs[0].datatype"),
    (with_x(datatype=7), "inputs[0].datatype"), (with_x(datatype="FP64"), "inputs.x.datatype"),
    (with_x(datatype="BYTES", data=["a", "b"]), "inputs[0].datatype"), (with_x(datatype="INT32"), "inputs.x.datatype"),
    (without("data"), "inputs[0].data"), (with_x(data=None), "inputs[0].data"), (with_x(data="12"), "inputs[0].data"),
    (with_x(data={"0": 1}), "inputs[0].data"), (with_x(data=[1]), "inputs[0].data"), (with_x(data=[1, 2, 3]), "inputs[0].data"),
    (with_x(data=[1, None]), "inputs[0].data[1]"), (with_x(data=["1", 2]), "inputs[0].data[0]"),
    (with_x(data=[True, 2]), "inputs[0].data[0]"), (with_x(data=[[1, None]]), "inputs[0].data[0][1]"),
    (with_x(data=[{}, 2]), "inputs[0].data[0]"), (with_x(data=[1, [2]]), "inputs[0].data[1]"),
    (with_x(data=[[1], [2]]), "inputs[0].data"), (with_x(data=[[1, 2], 3]), "inputs[0].data"),
    (with_x(data=[[1], [2, 3]], shape=[2, 2]), "inputs[0].data"), (with_x(data=[[[1, 2]]]), "inputs[0].data"),
    (with_x(data=[1e39, 0]), "inputs[0].data[0]"), (with_x(data=[0, 10**400]), "inputs[0].data[1]"), (with_x(data=[0, -(10**300)]), "inputs[0].data[1]"),
    (with_x(parameters=[]), "inputs[0].parameters"), (with_x(parameters={"shared_memory_region": "r"}), "shared"),
    ({**with_x(), "id": 7}, "id"), ({**with_x(), "parameters": "p"}, "parameters"),
    ({**with_x(), "parameters": {"timeout": -1}}, "parameters.timeout"), ({**with_x(), "parameters": {"timeout": "1"}}, "parameters.timeout"),
    ({**with_x(), "parameters": {"timeout": 1.5}}, "parameters.timeout"), ({**with_x(), "parameters": {"priority": None}}, "parameters.priority"),
    ({**with_x(), "parameters": {"binary_data_output": 1}}, "parameters.binary_data_output"),
    ({**with_x(), "outputs": {}}, "outputs"), ({**with_x(), "outputs": [None]}, "outputs[0]"),
    ({**with_x(), "outputs": [{}]}, "outputs[0].name"), ({**with_x(), "outputs": [{"name": "y"}]}, "'y'"),
    ({**with_x(), "outputs": [{"name": "scores"}] * 2}, "'scores'"),
    ({**with_x(), "outputs": [{"name": "scores", "parameters": {"classification": -1}}]}, "outputs[0].parameters.classification"),
    ({**with_x(), "outputs": [{"name": "scores", "parameters": {"binary_data": "yes"}}]}, "outputs[0].parameters.binary_data"),
    ({**with_x(), "outputs": [{"name": "n" * 5000}]}, "outputs[0].name"), ({"inputs": [X, *[{**X, "name": "y" * 10_000}] * 100]}, "inputs[1].name"),
    ({"inputs": [{**X, "name": "n" * 100_000}]}, "inputs[0].name"), ({**with_x(), "outputs": [{"name": "scores"}, *[{}] * 1000]}, "outputs[1].name"),
    (with_x(parameters={"binary_data_size": 8}), "Inference-Header-Content-Length"),
]  # fmt: skip


@pytest.mark.parametrize("request_, field", REQUESTS, ids=range(len(REQUESTS)))
def test_requests(served: Served, request_: object, field: str) -> None:
    r = requests.post(f"{served.url}/v2/models/shapes/infer", data=json.dumps(request_))
    assert r.status_code == 400 and field in r.json()["error"], r.text


@pytest.mark.parametrize("model, datatype, value", [
    ("uint8", "UINT8", 300), ("uint8", "UINT8", -1), ("uint8", "UINT8", 1.0), ("int32", "INT32", 1.5), ("int8", "INT8", 128),
    ("int64", "INT64", 1 << 63), ("uint64", "UINT64", -1), ("uint64", "UINT64", 1 << 64), ("bool", "BOOL", 1), ("bool", "BOOL", "true"),
    ("int32", "INT32", True), ("int32", "INT32", None), ("fp64", "FP64", "NaN"),
])  # fmt: skip
def test_numbers_that_a_datatype_does_not_have(served: Served, model: str, datatype: str, value: object) -> None:
    item = {"name": "x", "shape": [1, 2], "datatype": datatype, "data": [[False if datatype == "BOOL" else 0, value]]}
    r = requests.post(f"{served.url}/v2/models/{model}/infer", json={"inputs": [item]})
    assert r.status_code == 400 and f"inputs[0].data[0][1] is no {datatype}" in r.json()["error"]


DEEP = b"[" * 100_000
BODIES = [
    b"", b" ", b"{", b"nul", b"\xff\xfe", b"{}{}", b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1e400,0]}]}',
    b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[NaN,1e400]}]}', b'{"inputs":[{"name":"x","data":[NaN,]}]}',
    DEEP, b'{"a":' * 100_000, DEEP + b"NaN", DEEP + b"]" * 100_000, b"[" * 65 + b"]" * 65,
    b'{"more":' + b"[" * 70 + b"]" * 70 + b',"inputs":[]}', b'{"id":"\\ud800","inputs":[]}', b'{"id":"\\ud800","inputs":[NaN]}', b'{"inputs":[NaN' + b"9" * 5000 + b"]}",
    b'{"inputs":[NaN,' + b"9" * 5000 + b"]}", '{"inputs":[]}'.encode("utf-16"), b'\xef\xbb\xbf{"inputs":[]}',
]  # fmt: skip


@pytest.mark.parametrize("path", ["/v2/models/shapes/infer", "/v1/models/shapes:predict", "/v1/models/shapes:classify"])
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_texts(served: Served, path: str, body: bytes) -> None:
    r = requests.post(served.url + path, data=body)
    assert r.status_code == 400 and r.json()["error"].startswith("[infer]"), r.text


@pytest.mark.parametrize("text, field", [
    ('{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0,1e400]}]}', "inputs[0].data[1] is no FP32: got the number 1e400"),
    ('{"inputs":[{"name":"x","shape":[1,-1e999],"datatype":"FP32","data":[0,1]}]}', "inputs[0].shape"),
    ('{"parameters":{"timeout":1e400},"inputs":[]}', "parameters.timeout"), ('{"id":1e400,"inputs":[]}', "id"), ("1e400", "no JSON object"),
    ('{"inputs":1e400}', "inputs is no list"), ('{"inputs":' + "[" * 2000 + "]" * 2000 + "}", "nested too deep: expected at most 64 levels"),
])  # fmt: skip
def test_fields_of_numbers_beyond_all_datatypes(served: Served, text: str, field: str) -> None:
    r = requests.post(f"{served.url}/v2/models/shapes/infer", data=text)
    assert r.status_code == 400 and field in r.json()["error"], r.text


def test_a_number_that_nobody_reads_is_no_fault(served: Served) -> None:
    r = requests.post(f"{served.url}/v2/models/shapes/infer", data=json.dumps(with_x()).replace('"name": "x"', '"name": "x", "note": 1e400'))
    assert r.status_code == 200


BINARY = [
    ({"binary_data_size": 8}, b"\0" * 7, "binary_data_size"), ({"binary_data_size": 8}, b"\0" * 9, "goes on"),
    ({"binary_data_size": 4}, b"\0" * 4, "inputs[0]"), ({"binary_data_size": -8}, b"\0" * 8, "binary_data_size"),
    ({"binary_data_size": "8"}, b"\0" * 8, "binary_data_size"), ({"binary_data_size": 1 << 62}, b"\0" * 8, "binary_data_size"),
    ({}, b"\0" * 8, "inputs[0].data"), ({"binary_data_size": 0}, b"", "inputs[0]"),
]  # fmt: skip


@pytest.mark.parametrize("parameters, tail, field", BINARY, ids=range(len(BINARY)))
def test_binary_data(served: Served, parameters: dict, tail: bytes, field: str) -> None:
    head = json.dumps({"inputs": [{**without("data")["inputs"][0], "parameters": parameters}]}).encode()
    r = requests.post(
        f"{served.url}/v2/models/shapes/infer", data=head + tail, headers={"Inference-Header-Content-Length": str(len(head))}
    )
    assert r.status_code == 400 and field in r.json()["error"], r.text


def test_both_forms_of_data_at_once(served: Served) -> None:
    head = json.dumps(with_x(parameters={"binary_data_size": 8})).encode()
    r = requests.post(
        f"{served.url}/v2/models/shapes/infer", data=head + bytes(8), headers={"Inference-Header-Content-Length": str(len(head))}
    )
    assert r.status_code == 400 and "both" in r.json()["error"]


@pytest.mark.parametrize("value", ["100000", "-1", "x", "", "1e2", "0", "9" * 40, "²"])
def test_lengths_of_heads(served: Served, value: str) -> None:
    body = json.dumps(with_x())
    r = requests.post(f"{served.url}/v2/models/shapes/infer", data=body, headers={"Inference-Header-Content-Length": value.encode("latin-1")})
    assert r.status_code == 400, r.text


def test_bytes_that_are_no_bool(served: Served) -> None:
    item = {"name": "x", "shape": [1, 2], "datatype": "BOOL", "parameters": {"binary_data_size": 2}}
    head = json.dumps({"inputs": [item]}).encode()
    r = requests.post(
        f"{served.url}/v2/models/bool/infer", data=head + b"\1\2", headers={"Inference-Header-Content-Length": str(len(head))}
    )
    assert r.status_code == 400 and "BOOL" in r.json()["error"]


@pytest.mark.parametrize("coding, body", [
    ("gzip", b"no gzip"), ("gzip", b""), ("deflate", b"x"), ("gzip", gzip.compress(b"{}", mtime=0)[:-4]), ("deflate", zlib.compress(b"{}")[:-1]),
    ("gzip", gzip.compress(b"{}", mtime=0) + b"more"), ("deflate", zlib.compress(b"{}") + b"more"), ("gzip,gzip,gzip", b""),
])  # fmt: skip
def test_compressed_bodies(served: Served, coding: str, body: bytes) -> None:
    r = requests.post(f"{served.url}/v2/models/shapes/infer", data=body, headers={"Content-Encoding": coding})
    assert r.status_code == 400 and r.json()["error"].startswith("[infer]"), r.text


@pytest.mark.parametrize("headers", [{"Content-Encoding": "br"}, {"Content-Type": "application/xml"}, {"Content-Type": "multipart/form-data; boundary=x"}])
def test_types_that_are_unknown(served: Served, headers: dict[str, str]) -> None:
    assert requests.post(f"{served.url}/v2/models/shapes/infer", data=b"{}", headers=headers).status_code == 415


def test_a_bomb_is_refused_before_it_is_inflated(models: dict[str, Path]) -> None:
    with Served({"shapes": models["shapes"]}, Settings(max_body=1 << 20)) as s:
        for pack in (gzip.compress, zlib.compress):
            bomb = pack(bytes(200 << 20))
            coding = "gzip" if pack is gzip.compress else "deflate"
            r = requests.post(f"{s.url}/v2/models/shapes/infer", data=bomb, headers={"Content-Encoding": coding})
            assert r.status_code == 413 and "inflated" in r.json()["error"]
        many = gzip.compress(b"", mtime=0) * 40_000
        assert requests.post(f"{s.url}/v2/models/shapes/infer", data=many, headers={"Content-Encoding": "gzip"}).status_code == 400


@pytest.mark.parametrize("path, status", [
    ("/v2/models/nothing/infer", 404), ("/v2/models/a%2Fb/infer", 400), ("/v2/models/..%2f..%2fetc%2fpasswd/infer", 400),
    ("/v2/models//infer", 400), ("/v2/models/" + "a" * 129 + "/infer", 400), ("/v2/models/shapes/versions/x/infer", 400),
    ("/v2/models/shapes/versions/-1/infer", 400), ("/v2/models/shapes/versions/" + "9" * 30 + "/infer", 400),
    ("/v2/models/sh%00apes/infer", 400), ("/v2/models/%ff/infer", 400), ("/v2/models/shapes/infer/more", 404),
    ("/v1/models/shapes:explain", 404), ("/v1/models/shapes/labels/none:predict", 404), ("/nothing", 404), ("/v2/models/shape/infer", 404),
])  # fmt: skip
def test_paths(served: Served, path: str, status: int) -> None:
    r = requests.post(served.url + path, json=with_x())
    assert r.status_code == status and r.json()["error"], r.text
    if path == "/v2/models/shape/infer":
        assert "Try: shapes." in r.json()["error"]
