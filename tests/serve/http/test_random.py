"""Requests made by chance: whatever is sent, the answer is a result or a 4xx, and the server goes on as before."""

from __future__ import annotations

import gzip
import json
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from fanal.serve.settings import Settings
from tests.serve.http.serving import DTYPES, Served, everything
from tests.serve.http.test_connections import split

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 1.5, -0.0, 1e39, 1e308, 1 << 31, 1 << 62, 1 << 63, 1 << 64, -(1 << 63), "", "x", "FP32", "INT64", "é\0", [], {}, [[]],
    [None], [[1, 2], [3]], {"b64": "AA=="}, {"b64": 1}, float("nan"), float("inf"), "x" * 1000, [0] * 33, {"x": 1},
]  # fmt: skip
WORDS = [
    "inputs", "instances", "examples", "outputs", "name", "data", "shape", "datatype", "parameters", "id", "x", "a", "b64", "context",
    "signature_name", "timeout", "priority", "binary_data", "binary_data_size", "binary_data_output", "classification", "shared_memory_region",
]  # fmt: skip


def seeds() -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = [
        ("/v2/models/pair/infer", {"id": "1", "inputs": [{"name": n, "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]} for n in "ab"],
         "outputs": [{"name": "total", "parameters": {"classification": 2}}, {"name": "product", "parameters": {"binary_data": True}}]}),
        ("/v1/models/pair:predict", {"instances": [{"a": [1, 2, 3], "b": [1, 2, 3]}], "signature_name": "predict"}),
        ("/v1/models/shapes:classify", {"context": {"x": [1, 2]}, "examples": [{"x": [1, 2]}, {}]}),
        ("/v1/models/level:regress", {"examples": [{"x": [1, 2, 3, 4]}]}),
        ("/v1/models/uint8:predict", {"inputs": {"x": [{"b64": "AAE="}]}}),
        ("/v1/models/table:predict", {"inputs": [[1, 2, 3], [4, 5, 6]]}),
    ]  # fmt: skip
    for name in DTYPES:
        data = [[True, False]] if name == "BOOL" else [[1, 0]]
        found.append((f"/v2/models/{name.lower()}/infer", {"inputs": [{"name": "x", "shape": [1, 2], "datatype": name, "data": data}]}))
        found.append((f"/v1/models/{name.lower()}:predict", {"instances": data}))
    return found


def changed(value: Any, chance: random.Random) -> Any:
    """The same with something else in some places."""
    if chance.random() < 0.07:
        return chance.choice(ODD)
    if isinstance(value, dict):
        found = {(chance.choice(WORDS) if chance.random() < 0.04 else k): changed(v, chance) for k, v in value.items() if chance.random() > 0.03}
        if chance.random() < 0.1:
            found[chance.choice(WORDS)] = chance.choice(ODD)
        return found
    if isinstance(value, list):
        found = [changed(v, chance) for v in value if chance.random() > 0.03]
        return found * 2 if chance.random() < 0.04 else found
    return value


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 41))])
def test_bodies(served: Served, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)
    starts = seeds()
    found = set()
    with requests.Session() as session:
        for _ in range(1500):
            path, start = chance.choice(starts)
            value = changed(start, chance)
            body = json.dumps(value).encode()
            headers = {}
            if chance.random() < 0.2:
                at = chance.randrange(len(body) + 1)
                body = body[:at] + chance.randbytes(chance.randrange(20)) + (body[at:] if chance.random() < 0.5 else b"")
            if chance.random() < 0.15:
                headers["Inference-Header-Content-Length"] = str(max(0, len(body) + chance.choice([0, 0, 0, -1, 1, 8])))
                body += chance.randbytes(chance.choice([0, 2, 8, 12]))
            if chance.random() < 0.05:
                headers["Content-Encoding"] = chance.choice(["gzip", "deflate"])
                body = gzip.compress(body)
            r = session.post(served.url + path, data=body, headers=headers)
            # 504: a timeout of some microseconds.
            assert r.status_code in (200, 400, 404, 504), (r.status_code, r.text, path, value)
            if r.status_code != 200:
                assert r.json()["error"].startswith("["), r.text
            found.add(r.status_code)
    assert {200, 400} <= found and not [x for x in caplog.records if x.name == "fanal.serve.http"]
    for v in served.engine.versions():
        assert v.statistics.received == v.statistics.success + sum(v.statistics.failures.values())


@pytest.fixture(scope="module")
def hasty(models: dict[str, Path]) -> Iterator[Served]:
    settings = Settings(max_body=20_000, max_header=2048, header_timeout=0.3, body_timeout=0.3, keepalive_timeout=0.3)
    with Served({"shapes": models["shapes"]}, settings) as s:
        yield s


BODY = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'
POST = b"POST /v2/models/shapes/infer HTTP/1.1\r\nHost: a\r\n"
PIECES = [
    b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n", b"HEAD /v2 HTTP/1.1\r\nHost: a\r\n\r\n", b"DELETE /v2 HTTP/1.1\r\nHost: a\r\n\r\n",
    POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY, POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    POST + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(BODY) + BODY, POST + b"Content-Length: 30000\r\n\r\n" + bytes(30000),
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", b"GET /v2 HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 2500 + b"\r\n\r\n",
    POST + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY, b"\r\n", b"\0\0\0", b"GET /\r\n\r\n", b"GET /v2 HTTP/1.0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 3000 + b"\r\n",
]  # fmt: skip


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 41))])
def test_streams(hasty: Served, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)
    for _ in range(150):
        data = b"".join(chance.choices(PIECES, k=chance.randrange(1, 8)))
        for _ in range(chance.choice([0, 0, 0, 1, 3])):
            at = chance.randrange(len(data))
            data = data[:at] + chance.randbytes(1) + data[at + chance.choice([0, 1, 5]) :]
        with hasty.connect() as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while data:
                    n = chance.choice([1, 10, 100, 1000, 1 << 20])
                    s.sendall(data[:n])
                    data = data[n:]
                if chance.random() < 0.7:
                    s.shutdown(socket.SHUT_WR) if chance.random() < 0.3 else None
                    answers = everything(s)
                    if b"HTTP/1.1 100" not in answers:
                        heads = [a[0] for a in split_all(answers)]
                        assert all(h == 200 or 400 <= h < 500 for h in heads), answers
            except OSError:
                pass
    start = time.monotonic()
    while hasty.server.connections and time.monotonic() - start < 5:
        time.sleep(0.02)
    assert not hasty.server.connections and not [x for x in caplog.records if x.name == "fanal.serve.http"]
    r = requests.post(f"{hasty.url}/v2/models/shapes/infer", data=BODY)
    assert r.json()["outputs"][0]["data"] == [2.0, 4.0, -0.5]
    found = hasty.engine.find("shapes").statistics
    assert found.pending == 0 and found.received == found.success + sum(found.failures.values())


def split_all(answers: bytes) -> list[Any]:
    """Answers, of which those to HEAD have no body."""
    found: list[Any] = []
    for part in answers.split(b"HTTP/1.1 ")[1:]:
        found += split(b"HTTP/1.1 " + part.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")[:1]
    return found
