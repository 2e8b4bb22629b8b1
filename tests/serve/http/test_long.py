"""Long texts are read in pieces: the same numbers, the same refusals, and others are not kept waiting."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from fanal.serve.datatypes import DATATYPES
from fanal.serve.errors import ServeError
from fanal.serve.http.long import Long, read
from fanal.serve.http.tensors import from_json, shape_of
from fanal.serve.http.text import numbers, parsed
from tests.serve.http.serving import Served

SHAPES = [(60_000,), (1, 60_000), (60_000, 1), (300, 200), (3, 20_000), (2, 3, 10_000), (40, 1, 1500), (20_000, 1, 3), (1, 1, 1, 60_000)]


def dense(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def seen(text: str, use: Callable[[Any], Any]) -> tuple[list[Any], Any]:
    """What a function gets of a text: each time, the kind of its member `data`; and what it makes of it."""
    kinds: list[Any] = []

    def noted(value: Any) -> Any:
        kinds.append(type(value["data"]))
        return use(value)

    return kinds, read(text.encode(), 64, noted)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["FP64", "FP32", "INT64", "BOOL", "BF16"])
@pytest.mark.parametrize("write", [dense, json.dumps])
def test_numbers_are_those_of_the_whole(shape: tuple[int, ...], name: str, write: Callable[[Any], str]) -> None:
    chance = np.random.default_rng(len(shape))
    kind = DATATYPES[name]
    values = chance.standard_normal(shape) if kind.numpy.kind in "fV" else chance.integers(-(2**62), 2**62, shape) if name == "INT64" else chance.random(shape) < 0.5
    data = values.tolist()
    text = write({"before": [1, "[{,"], "data": data, "after": {"x": "]}"}})
    kinds, found = seen(text, lambda v: (v["before"], v["data"].array(kind), v["after"]))
    wanted = from_json(data, kind, shape_of(data), "")
    assert kinds == [Long] and found[0] == [1, "[{,"] and found[2] == {"x": "]}"}
    assert found[1].shape == shape and found[1].dtype == wanted.dtype and found[1].tobytes() == wanted.tobytes()


def test_words_that_json_does_not_have() -> None:
    values = np.random.default_rng(0).standard_normal((400, 100)).astype("f4")
    values[::7, 3], values[5, 5], values[6, 6] = np.nan, np.inf, -np.inf
    text = json.dumps({"data": values.tolist()})
    kinds, found = seen(text, lambda v: v["data"].array(DATATYPES["FP32"]))
    assert kinds == [Long] and found.tobytes() == values.tobytes()


def test_flat_numbers_take_the_shape_that_is_said() -> None:
    values = list(range(40_000))
    _, found = seen(dense({"data": values}), lambda v: v["data"].array(DATATYPES["INT32"], (200, 200)))
    assert found.shape == (200, 200) and found.ravel().tolist() == values


NUMBERS = dense([1.5] * 60_000)[1:-1]
ROWS = dense([[1.5, 2.5]] * 30_000)[1:-1]
WRONG = [
    f'{{"data":[{NUMBERS},]}}', f'{{"data":[{NUMBERS},,1]}}', f'{{"data":[{NUMBERS},null]}}', f'{{"data":[{NUMBERS},"a"]}}', f'{{"data":[{NUMBERS},1e400]}}',
    f'{{"data":[{NUMBERS}', f'{{"data":[{NUMBERS}]]}}', f'{{"data":[{NUMBERS}],[1]}}', f'{{"data":[{NUMBERS}]}} x', f'{{"data":[{NUMBERS},[1]]}}',
    f'{{"data":[{ROWS},[1]]}}', f'{{"data":[{ROWS},1]}}', f'{{"data":[{ROWS},]}}', f'{{"data":[{ROWS},[[1,2]]]}}', f'{{"data":[{ROWS}],[1,2]]}}',
    f'{{"data":[{ROWS},[1,2}}', f'{{"data":[[{NUMBERS}],[1,2]]}}', f'{{"data":[[{NUMBERS}] ,[{NUMBERS},1]]}}', '{"data":' + "[" * 70_000 + "]" * 70_000 + "}",
    f'{{"data":[{{"a":[{NUMBERS}]}},{{"a":[{NUMBERS}]}}]}}',
]  # fmt: skip


def array(value: Any) -> np.ndarray:
    data = value["data"]
    return data.array(DATATYPES["FP32"]) if type(data) is Long else from_json(data, DATATYPES["FP32"], shape_of(data), "data")


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_said_as_of_short_texts(text: str) -> None:
    """Also where it is far from the beginning."""

    def said(use: Callable[[], Any]) -> str:
        with pytest.raises(ServeError) as caught:
            use()
        return caught.value.text

    assert said(lambda: read(text.encode(), 64, array)) == said(lambda: array(parsed(text.encode(), 64)))


@pytest.mark.parametrize("text", [
    f'{{"data":[{NUMBERS}],"more":"\\""}}', f'{{"data":[{NUMBERS}],"more":"\\u0000"}}', f'{{"data" : [ {NUMBERS} ] }}', f'{{"data":\n[\n[{NUMBERS}]\n,\n[{NUMBERS}]\n]}}',
    f'{{"data":[[{NUMBERS}]\n,[{NUMBERS}]]}}', '{"data":[' + dense([[]] * 40_000)[1:-1] + "]}", f'{{"more":"{NUMBERS} [ ] {{","data":[{NUMBERS}]}}',
])  # fmt: skip
def test_texts_that_are_written_otherwise(text: str) -> None:
    wanted = np.array(json.loads(text)["data"], "f4")
    found = read(text.encode(), 64, array)
    assert found.shape == wanted.shape and found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("shape", [(100_000,), (1, 100_000), (100_000, 1), (7, 30_000), (2, 3, 20_000), (1000, 50, 2)])
def test_long_answers_are_written_as_short_ones(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).standard_normal(shape).astype("f4")
    values.reshape(-1)[::999] = np.nan
    assert np.array(json.loads(numbers(values)), "f4").tobytes() == values.tobytes()
    assert json.loads(numbers(values[..., :0])) == values[..., :0].tolist()


def test_long_requests_of_all_kinds(served: Served) -> None:
    x = np.random.default_rng(2).standard_normal((5, 1 << 16)).astype("f4")
    item = {"name": "x", "datatype": "FP32", "shape": [5, 1 << 16]}
    ask = lambda path, body: requests.post(f"{served.url}{path}", json=body)
    for data in (x.tolist(), x.ravel().tolist()):
        r = ask("/v2/models/wide/infer", {"id": "a", "inputs": [{**item, "data": data}]})
        assert r.json()["id"] == "a" and np.array(r.json()["outputs"][0]["data"], "f4").tobytes() == x.tobytes()
    for body, key in (
        ({"instances": x.tolist()}, "predictions"), ({"instances": [{"x": row} for row in x.tolist()]}, "predictions"), ({"inputs": x.tolist()}, "outputs"),
        ({"inputs": {"x": x.tolist()}, "signature_name": "serving_default"}, "outputs"),
    ):  # fmt: skip
        r = ask("/v1/models/wide:predict", body)
        assert np.array(r.json()[key], "f4").tobytes() == x.tobytes()
    for body, words in (
        ({"inputs": [{**item, "data": [*x.ravel().tolist()[:-1], None]}]}, f"inputs[0].data[{x.size - 1}] is no FP32"),
        ({"inputs": [{**item, "data": x[:4].tolist()}]}, "inputs[0].data"), ({"inputs": x.ravel().tolist()}, "inputs[0] is no object"),
        ({"inputs": [{**item, "data": x.T.tolist()}]}, "inputs[0].data is not nested as its shape"),
        ({"inputs": [{**item, "shape": [1] * 100_000, "data": []}]}, "inputs[0].shape has too many dimensions"), ({"inputs": [], "id": [1] * 100_000}, "id is no string: got a list"),
        ({"inputs": [], "parameters": {"timeout": [1] * 100_000}}, "parameters.timeout is out of range: got a list"), ({"inputs": [[1] * 100_000]}, "inputs[0] is no object: got a list"),
    ):  # fmt: skip
        r = ask("/v2/models/wide/infer", body)
        assert r.status_code == 400 and words in r.json()["error"]
    r = ask("/v1/models/wide:predict", {"instances": [*x.tolist(), x[0, :-1].tolist()]})
    assert r.status_code == 400 and "instances" in r.json()["error"]
    for path, body, words in (
        ("shapes:predict", {"instances": [[1.0, 2.0]] * 50_000}, "50000 rows"), ("shapes:predict", {"inputs": [[1.0, 2.0]] * 50_000}, "inputs: 'batch' is out of its range"),
        ("shapes:classify", {"examples": [1] * 100_000}, "rows"), ("shapes:classify", {"examples": [{"x": [1] * 100_000}]}, "examples[0].x"),
        ("shapes:predict", {"instances": [{"x": [1, 2]}, [1] * 100_000]}, "instances[1] is no object"), ("shapes:predict", {"signature_name": [1] * 100_000}, "signature_name is no string"),
    ):  # fmt: skip
        r = ask(f"/v1/models/{path}", body)
        assert r.status_code == 400 and words in r.json()["error"], r.text
    for name in ("wide", "shapes"):
        s = served.engine.find(name).statistics
        assert s.received == s.success + sum(s.failures.values())


def test_others_are_answered_while_a_long_request_is_read(models: dict[str, Path]) -> None:
    body = dense({"instances": np.random.default_rng(3).random((50, 1 << 16)).round(5).tolist()}).encode()
    with Served({"wide": models["wide"]}) as s:
        whole = time.perf_counter()
        json.loads(body)
        whole = time.perf_counter() - whole
        delays: list[float] = []
        done = threading.Event()

        async def watch() -> None:
            while not done.is_set():
                start = time.perf_counter()
                await asyncio.sleep(0.001)
                delays.append(time.perf_counter() - start)

        watching = threading.Thread(target=lambda: s.run(watch()))
        watching.start()
        assert requests.post(f"{s.url}/v1/models/wide:predict", data=body).status_code == 200
        done.set()
        watching.join()
    # Before, it took longer than reading the whole text does here. Machines are busy: that is a wide margin.
    assert len(delays) > 50 and sorted(delays)[-3] < whole / 2, (sorted(delays)[-5:], whole)
