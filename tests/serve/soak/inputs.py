"""Whatever is sent, the answer is one that says what is wrong, and the server is the same afterwards."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.serve import models
from tests.serve.soak.client import Connection, Lost, Pool, answer, infer, living, post
from tests.serve.soak.scale import Scale
from tests.serve.soak.server import Server

PATH = "/v2/models/m/infer"
X = np.ones((1, 3), np.float32)


class Bad(NamedTuple):
    """A request that is wrong: what is wrong, its bytes, what the answer must name, which statuses it may have."""

    what: str
    request: bytes
    names: str = ""
    statuses: tuple[int, ...] = (400,)


def _json(value: Any) -> bytes:
    return post(PATH, value if isinstance(value, bytes) else json.dumps(value).encode())


def _one(**changes: Any) -> bytes:
    """A right request with something else in its input."""
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3], **changes}
    return _json({"inputs": [{k: v for k, v in tensor.items() if v is not ...}]})


def _binary(head: Any, raw: bytes, size: str | None = None) -> bytes:
    text = json.dumps(head).encode()
    return post(PATH, text + raw, Content_Type="application/octet-stream", Inference_Header_Content_Length=size or str(len(text)))


def _raw(size: Any, shape: Any = (1, 3)) -> Any:
    return {"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": size}}]}


def bad() -> Iterator[Bad]:
    """All of them."""
    x = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    yield Bad("empty body", _json(b""))
    for text in (b"{", b"nonsense", b'{"inputs": [', b"\xff\xfe", b"[]", b"3", b'"x"', b"null"):
        yield Bad(f"body {text!r}", _json(text))
    yield Bad("no inputs", _json({}), "inputs")
    yield Bad("inputs is a number", _json({"inputs": 3}), "inputs")
    yield Bad("an input is a number", _json({"inputs": [3]}), "inputs[0]")
    yield Bad("unknown input", _json({"inputs": [{**x, "name": "y"}]}), "'y'")
    yield Bad("missing input", _json({"inputs": []}), "x")
    yield Bad("duplicate input", _json({"inputs": [x, x]}), "x")
    yield Bad("unknown output", _json({"inputs": [x], "outputs": [{"name": "z"}]}), "'z'")
    yield Bad("no name", _one(name=...), "name")
    yield Bad("no shape", _one(shape=...), "shape")
    yield Bad("no datatype", _one(datatype=...), "datatype")
    yield Bad("no data", _one(data=...), "data")
    yield Bad("another datatype", _one(datatype="INT32"), "datatype")
    yield Bad("unknown datatype", _one(datatype="FP31"), "datatype")
    for shape in ([1, 4], [3], [1, 1, 3], [1, 2**62], [2**62, 2**62], [2**64, 3], [-1, 3], [1, -3], [0, 3], [1.5, 2], ["1", 3], "1,3", [[1], 3], [True, 3]):
        yield Bad(f"shape {shape}", _one(shape=shape), "shape")
    for data in ([1, 2], [1, 2, 3, 4], [], [[1, 2], [3]], [[1, 2, 3], [4, 5, 6]], [[[1, 2, 3]]]):
        yield Bad(f"data {data}", _one(data=data), "data")
    for data in ([1, None, 3], [1, "2", 3], [1, True, 3], "abc", {"a": 1}, [1, {}, 3]):
        yield Bad(f"data {data}", _one(data=data), "data")
    yield Bad("1e400", _json(json.dumps({"inputs": [x]}).replace("[1, 2, 3]", "[1, 1e400, 3]").encode()))
    deep = b"[" * 100_000 + b"]" * 100_000
    yield Bad("100,000 deep data", _json(b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": ' + deep + b"}]}"))
    yield Bad("100,000 deep body", _json(deep))
    yield Bad("bad gzip", post(PATH, b"no gzip", Content_Encoding="gzip"))
    yield Bad("half a gzip", post(PATH, gzip.compress(json.dumps({"inputs": [x]}).encode())[:-12], Content_Encoding="gzip"))
    yield Bad("bad deflate", post(PATH, b"\0\1\2", Content_Encoding="deflate"))
    bomb = zlib.compressobj(9, wbits=31)
    inflated = b"".join(bomb.compress(b" " * (1 << 20)) for _ in range(200)) + bomb.flush()
    yield Bad("inflate bomb", post(PATH, inflated, Content_Encoding="gzip"), "", (413,))
    yield Bad("unknown coding", post(PATH, b"x", Content_Encoding="br"), "", (400, 415))
    yield Bad("header length beyond the body", _binary(_raw(12), b"\0" * 12, "100000"))
    for size in ("-1", "x", "1e9", "9" * 30):
        yield Bad(f"header length {size}", _binary(_raw(12), b"\0" * 12, size))
    yield Bad("truncated binary", _binary(_raw(12), b"\0" * 8), "x")
    yield Bad("trailing bytes", _binary(_raw(12), b"\0" * 16))
    for size in (8, 16, -1, 2**62, "12", None, True):
        yield Bad(f"binary_data_size {size}", _binary(_raw(size), b"\0" * 12))
    yield Bad("huge binary shape", _binary(_raw(12, [1, 2**62]), b"\0" * 12), "shape")
    yield Bad("deadline in the past", _json({"inputs": [x], "parameters": {"timeout": -5}}), "timeout", (400, 504))
    yield Bad("a timeout of text", _json({"inputs": [x], "parameters": {"timeout": "soon"}}), "timeout")
    yield Bad("unknown model", post("/v2/models/other/infer", b"{}"), "other", (404,))
    yield Bad("unknown version", post("/v2/models/m/versions/7/infer", b"{}"), "7", (404,))
    yield Bad("a version of text", post("/v2/models/m/versions/x/infer", b"{}"), "", (400, 404))
    for name in ("..%2f..%2fetc%2fpasswd", "%00", "a%20b", "x" * 129):
        yield Bad(f"model {name}", post(f"/v2/models/{name}/infer", b"{}"), "", (400, 404))
    yield Bad("another method", b"PUT /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "", (405,))
    yield Bad("another path", post("/v3", b"{}"), "", (404,))
    yield Bad("too large a body", b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", "", (413,))
    yield Bad("too large a header", b"GET /v2 HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200_000 + b"\r\n\r\n", "", (431,))
    yield Bad("too long a target", b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "", (404, 414, 431))
    yield Bad("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    yield Bad("two lengths", b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")
    yield Bad("a length of text", b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n")
    yield Bad("a bad chunk", b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
    for body in ({"instances": 3}, {"instances": []}, {"instances": [[1, 2]]}, {"instances": [["a", 2, 3]]}, {}, {"instances": [{"y": 1}]}, {"inputs": {"x": None}}):
        yield Bad(f"TensorFlow {body}", post("/v1/models/m:predict", json.dumps(body).encode()))
    yield Bad("TensorFlow, unknown signature", post("/v1/models/m:predict", b'{"signature_name": "s", "instances": [[1,2,3]]}'), "s", (400, 404))


def validation(folder: Path, scale: Scale) -> dict[str, Any]:
    """All of these, and as many right requests with some bytes changed: 4xx with a text that names the field, never 5xx;
    the same server and worker are there afterwards, and right."""
    models.adding(folder / "models" / "m.fanal", 1)
    mutations = scale.count(200_000, 1500)
    statuses: dict[int, int] = {}

    async def right(pool: Pool) -> None:
        found, _ = answer(await pool.ask(infer("m", X)))
        assert np.array_equal(found, X + 1)

    async def main(server: Server) -> None:
        pool = Pool(server.port)
        workers = server.workers("m")
        await right(pool)
        for case in bad():
            connection = await Connection.to(server.port)
            reply = await asyncio.wait_for(connection.ask(case.request), 20)
            connection.close()
            assert reply.status in case.statuses, f"{case.what}: {reply.status} {reply.text}"
            error = reply.json()["error"]
            assert error and case.names in error, f"{case.what}: {error}"
            assert str(folder) not in error and "Traceback" not in error, f"{case.what}: {error}"
            await right(pool)
        await mutated(server, mutations, statuses)
        await right(pool)
        pool.close()
        assert server.process.poll() is None and server.workers("m") == workers, "somebody died"

    with Server(folder / "models", folder) as server:
        living(lambda: main(server))
        log = server.log.read_text()
        assert "Traceback" not in log, log
    return {"kinds": sum(1 for _ in bad()), "mutations": mutations, **{str(k): v for k, v in sorted(statuses.items())}}


async def mutated(server: Server, count: int, statuses: dict[int, int]) -> None:
    """Right bodies with bytes changed, put in and left out; the length in the header is right."""
    chance = np.random.default_rng(1)
    text = json.dumps({"id": "1", "inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1.5, -2, 3e3, 4, 5, 6]}]}).encode()
    head = json.dumps(_raw(12)).encode()
    connection = await Connection.to(server.port)
    for number in range(count):
        body = bytearray(text if number % 2 else head + X.tobytes())
        for _ in range(chance.integers(1, 5)):
            at, kind = chance.integers(len(body)), chance.integers(3)
            if kind == 0:
                body[at] = chance.integers(256)
            elif kind == 1:
                body.insert(at, chance.choice(list(b'{}[]",:0123456789eE-.ntf')))
            else:
                del body[at]
        extra = {} if number % 2 else {"Content_Type": "application/octet-stream", "Inference_Header_Content_Length": str(len(head))}
        request = post(PATH, bytes(body), **extra)
        try:
            reply = await asyncio.wait_for(connection.ask(request), 20)
        except Lost:
            raise AssertionError(f"no answer to {request!r}") from None
        assert reply.status < 500, f"{reply.status} {reply.text} to {request!r}"
        statuses[reply.status] = statuses.get(reply.status, 0) + 1
        if not connection.open:
            connection = await Connection.to(server.port)
    connection.close()


def slow_clients(folder: Path, scale: Scale) -> dict[str, Any]:
    """Clients that send a header or a body a byte at a time are sent away; others are answered meanwhile. Requests that
    come in one piece are answered in order."""
    models.adding(folder / "models" / "m.fanal", 1)
    count = scale.count(500, 20)

    async def drip(port: int, start: bytes) -> tuple[float, bytes]:
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begin = loop.time()
        writer.write(start)
        reading = asyncio.create_task(reader.read(4096))
        while not reading.done() and loop.time() - begin < 20:
            try:
                writer.write(b"a")
            except OSError:
                break
            await asyncio.wait([reading], timeout=0.2)
        try:
            said = await reading
        except OSError:
            said = b""
        writer.transport.abort()
        return loop.time() - begin, said

    async def main(server: Server) -> dict[str, Any]:
        heads = [drip(server.port, b"GET /v2 HTTP/1.1\r\nHost: x\r\nA: ") for _ in range(count)]
        bodies = [drip(server.port, b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n{") for _ in range(count)]
        dripping = asyncio.gather(*heads, *bodies)
        await asyncio.sleep(0.3)
        pool = Pool(server.port)
        seconds = [(await pool.ask(infer("m", X))).seconds for _ in range(100)]
        ended = await dripping
        assert max(t for t, _ in ended) < 3.5 * scale.slack, "a slow client was kept"
        assert all(not said or said.startswith(b"HTTP/1.1 408") for _, said in ended), {said[:40] for _, said in ended}
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"".join(infer("m", X * i, id=str(i)) for i in range(50)))
        firsts = []
        for _ in range(50):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"\r\ncontent-length:")[1].split()[0])
            body = await reader.readexactly(length)
            assert head.startswith(b"HTTP/1.1 200"), body
            firsts.append(float(np.frombuffer(body[-12:], np.float32)[0]))
        assert firsts == [i + 1.0 for i in range(50)], firsts
        writer.transport.abort()
        pool.close()
        return {"slow clients": 2 * count, "s until they were sent away, at most": max(t for t, _ in ended), "others' slowest ms": max(seconds) * 1e3}

    with Server(folder / "models", folder, header_timeout=2, body_timeout=2) as server:
        return living(lambda: main(server))
