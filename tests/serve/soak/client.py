"""A client that keeps connections open and tells everything that happens to a request."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import numpy as np
import uvloop


class Reply(NamedTuple):
    """What came back, and the seconds since the request was due."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


class Lost(Exception):
    """A connection ended without an answer to what was sent on it."""


class Connection:
    """One connection of HTTP/1.1; one request at a time. It ends with the loop at the latest (`living`)."""

    _all: set[Connection] = set()

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader, self._writer = reader, writer
        self.open = True
        self._all.add(self)

    @classmethod
    async def to(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes, due: float | None = None) -> Reply:
        """Send a request as it is; Lost if no whole answer comes."""
        due = time.perf_counter() if due is None else due
        try:
            self._writer.write(request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            line, *rest = head.decode("latin-1").split("\r\n")[:-2]
            headers = {k.lower(): v.strip() for k, _, v in (text.partition(":") for text in rest)}
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Lost(type(error).__name__) from None
        reply = Reply(int(line.split()[1]), headers, body, time.perf_counter() - due)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return reply

    @property
    def idle(self) -> bool:
        """Whether it can take a request: the server closes connections that were idle for long."""
        return self.open and not self._reader.at_eof()

    async def ended(self) -> bool:
        """Whether the other side closes it without a word."""
        return not await self._reader.read(1)

    def close(self) -> None:
        """Be gone, also in the middle of a request."""
        self.open = False
        self._all.discard(self)
        self._writer.transport.abort()

    @classmethod
    def close_all(cls) -> None:
        for connection in list(cls._all):
            connection.close()


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[Connection]]:
    """So many, closed at the end."""
    found = [await Connection.to(port) for _ in range(count)]
    try:
        yield found
    finally:
        for connection in found:
            connection.close()


class Pool:
    """Connections that are opened when one is wanted and none is idle."""

    def __init__(self, port: int):
        self.port = port
        self._idle: list[Connection] = []

    async def ask(self, request: bytes, due: float | None = None) -> Reply:
        connection = None
        while self._idle and connection is None:
            found = self._idle.pop()
            if found.idle:
                connection = found
            else:
                found.close()
        connection = connection or await Connection.to(self.port)
        reply = await connection.ask(request, due)
        if connection.open:
            self._idle.append(connection)
        return reply

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


# -- requests ----------------------------------------------------------------------------------------------


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, body: bytes, **headers: str) -> bytes:
    """A POST of JSON, if `Content_Type` says nothing else."""
    found = {"Content_Type": "application/json", **headers, "Content_Length": str(len(body))}
    lines = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in found.items())
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode() + body


def infer(model: str, x: np.ndarray, name: str = "x", version: int | None = None, **parameters: Any) -> bytes:
    """An inference with a binary tensor, in and out."""
    raw = x.tobytes()
    kind = {"f": "FP32", "i": "INT64"}[x.dtype.kind]
    head: dict[str, Any] = {
        "inputs": [{"name": name, "shape": x.shape, "datatype": kind, "parameters": {"binary_data_size": len(raw)}}],
        "parameters": {"binary_data_output": True, **parameters},
    }
    text = json.dumps(head).encode()
    path = f"/v2/models/{model}{'' if version is None else f'/versions/{version}'}/infer"
    return post(path, text + raw, Content_Type="application/octet-stream", Inference_Header_Content_Length=str(len(text)))


def answer(reply: Reply) -> tuple[np.ndarray, str]:
    """The only output of an inference, and the version that gave it."""
    assert reply.status == 200, (reply.status, reply.text)
    size = int(reply.headers["inference-header-content-length"])
    head = json.loads(reply.body[:size])
    (output,) = head["outputs"]
    kind = {"FP32": np.float32, "INT64": np.int64}[output["datatype"]]
    return np.frombuffer(reply.body[size:], kind).reshape(output["shape"]), head["model_version"]


# -- load --------------------------------------------------------------------------------------------------


async def at_rate(pool: Pool, request: Callable[[int], bytes], rate: float, seconds: float) -> list[Reply | Lost]:
    """Requests that are due evenly, whatever the server does; latencies count from then."""
    start, tasks = time.perf_counter() + 0.01, []

    async def one(number: int, due: float) -> Reply | Lost:
        try:
            return await pool.ask(request(number), due)
        except (Lost, OSError) as error:
            return error if isinstance(error, Lost) else Lost(str(error))

    for number in range(int(rate * seconds)):
        due = start + number / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(number, due)))
    return list(await asyncio.gather(*tasks))


async def while_doing(work: Awaitable[Any], port: int, count: int, once: Callable[[Connection, int], Awaitable[None]]) -> Any:
    """`once` again and again on so many connections, until some other work is done; its result. A connection that was
    closed in good order is opened again."""
    done = asyncio.Event()

    async def client(number: int) -> None:
        connection = await Connection.to(port)
        try:
            while not done.is_set():
                if not connection.open:
                    connection = await Connection.to(port)
                await once(connection, number)
        finally:
            connection.close()

    clients = [asyncio.create_task(client(n)) for n in range(count)]
    working = asyncio.ensure_future(work)
    try:
        # A client that fails ends everything.
        await asyncio.wait([working, *clients], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        for c in clients:
            if c.done():
                c.result()
        raise AssertionError("a client ended by itself")
    finally:
        done.set()
        working.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


def percentile(values: list[float], share: float) -> float:
    """The least value that so many per cent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))]


def living(main: Callable[[], Any]) -> Any:
    """Run a coroutine in a loop that is fast enough to be no bottleneck."""

    async def whole() -> Any:
        try:
            return await main()
        finally:
            Connection.close_all()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(whole())


async def statistics(pool: Pool, model: str) -> dict[str, Any]:
    """What the server counted for a model's newest version."""
    reply = await pool.ask(get(f"/v2/models/{model}/stats"))
    return reply.json()["model_stats"][-1]
