"""Small models of all kinds, and a server with them in a thread of the test's process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

import fanal
from fanal.export import Dim, export, save
from fanal.serve.access import Gate
from fanal.serve.engine import Engine
from fanal.serve.http.routes import rest_routes
from fanal.serve.http.routing import Route
from fanal.serve.http.server import HttpServer
from fanal.serve.settings import Settings
from fanal.serve.version import Flow
from fanal.serve.workers.model import Limits

LABELS = ["circle", "square", "star"]
# One input and one output of each, passed through: what arrives is what is sent back.
DTYPES = {
    "BOOL": fanal.bool, "UINT8": fanal.uint8, "UINT16": fanal.uint16, "UINT32": fanal.uint32, "UINT64": fanal.uint64,
    "INT8": fanal.int8, "INT16": fanal.int16, "INT32": fanal.int32, "INT64": fanal.int64, "FP16": fanal.float16,
    "BF16": fanal.bfloat16, "FP32": fanal.float32, "FP64": fanal.float64,
}  # fmt: skip


def write_models(folder: Path) -> dict[str, Path]:
    """Files of models by name."""
    n = lambda: Dim("batch", max=64)
    found: dict[str, Path] = {}

    def keep(name: str, function: Any, args: tuple[Any, ...], shapes: dict[str, Any], outputs: list[str], **more: Any) -> None:
        found[name] = folder / f"{name}.fanal"
        save(export(function, args, dynamic_shapes=shapes, output_names=outputs, **more), found[name])

    def shapes(x):
        return x @ fanal.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 0.25]])

    batch = n()
    keep("shapes", shapes, (fanal.zeros(2, 2),), {"x": {0: batch}}, ["scores"], labels={"scores": LABELS})

    def pair(a, b):
        return a + b, a * b

    batch = n()
    two = (fanal.zeros(2, 3), fanal.zeros(2, 3))
    keep("pair", pair, two, {"a": {0: batch}, "b": {0: batch}}, ["total", "product"])

    def level(x):
        return x.sum(1)

    keep("level", level, (fanal.zeros(2, 4),), {"x": {0: n()}}, ["y"])

    def table(x):
        return x.sum()

    keep("table", table, (fanal.zeros(2, 3),), {}, ["y"])

    def wide(x):
        return x.clone()

    keep("wide", wide, (fanal.zeros(2, 1 << 16),), {"x": {0: n()}}, ["y"])

    def none(x):
        return x * 2

    keep("none", none, (fanal.zeros(2, 3),), {"x": {0: Dim("batch", min=0, max=64)}}, ["y"])

    def single(x):
        return x[:, 0] * 2

    keep("single", single, (fanal.zeros(2, 1),), {"x": {0: n()}}, ["y"])

    for name, dtype in DTYPES.items():
        def same(x):
            return x.clone()

        keep(name.lower(), same, (fanal.zeros(2, 2, dtype=dtype),), {"x": {0: n()}}, ["y"])
    return found


class Served:
    """A server on a free port of loopback; its engine, to look at."""

    def __init__(
        self, models: dict[str, Path], settings: Settings | None = None, limits: Limits | None = None,
        flow: Flow | None = None, routes: Callable[[Engine, Settings], list[Route]] = rest_routes,
    ):  # fmt: skip
        self.settings = settings or Settings()
        self._given = models, limits or Limits(4), flow or Flow(), routes
        self._up, self._failed = threading.Event(), None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            uvloop.run(self._main())
        except BaseException as error:
            self._failed = error
            self._up.set()

    async def _main(self) -> None:
        models, limits, flow, routes = self._given
        self.loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self.engine = Engine()
        for name, path in models.items():
            await self.engine.load_inline(path, name, limits=limits, flow=flow)
        self.server = HttpServer(self.engine, self.settings, Gate(self.settings), routes(self.engine, self.settings))
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        await self.server.start(sock)
        self._up.set()
        await self._end.wait()
        await self.server.stop(5.0)
        await self.engine.close()

    def __enter__(self) -> Served:
        self._thread.start()
        self._up.wait(120)
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(self, *error: object) -> None:
        self.call(self._end.set)
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._failed is not None:
            raise self._failed

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, function: Callable[[], Any]) -> None:
        """Call something in the server's loop."""
        self.loop.call_soon_threadsafe(function)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await something in the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    # -- raw connections ------------------------------------------------------------------------------

    def connect(self, timeout: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def raw(self, data: bytes, timeout: float = 10.0) -> bytes:
        """Send bytes; everything that comes until the server closes the connection."""
        with self.connect(timeout) as s:
            try:
                s.sendall(data)
            except OSError:
                pass  # it may have answered and closed before all was sent
            return everything(s)


def everything(s: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    while True:
        try:
            part = s.recv(1 << 16)
        except ConnectionResetError:
            return found
        if not part:
            return found
        found += part
