"""A gRPC server in a thread of the test, with models that run in its process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import uvloop

from fanal.serve.access import Gate
from fanal.serve.engine import Engine
from fanal.serve.grpc import Admin, GrpcServer
from fanal.serve.settings import Settings
from fanal.serve.version import Flow, Version
from fanal.serve.workers.model import Limits


class House:
    """A server that runs: where it listens, and its engine, for looking at (and for changing, by `call`)."""

    engine: Engine
    server: GrpcServer
    port: int

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.ended = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def version(self, model: str = "m") -> Version:
        return self.engine.find(model)

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the server's loop."""
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def do(self, work: Callable[[], Any]) -> Any:
        """Call something in the server's loop."""

        async def run() -> Any:
            return work()

        return self.call(run())


@contextmanager
def house(
    models: Mapping[str, Path], admin: Admin | None = None, flow: Flow | None = None, limits: Limits | None = None,
    check: bool = True, **settings: Any,
) -> Iterator[House]:  # fmt: skip
    found, started, failed = House(), threading.Event(), []

    async def main() -> None:
        try:
            found.loop = asyncio.get_running_loop()
            found.engine = Engine()
            for name, path in models.items():
                await found.engine.load_inline(path, name, 1, limits, flow)
            given = Settings(**settings)
            found.server = GrpcServer(found.engine, given, Gate(given), admin)
            found.port = await found.server.start("127.0.0.1", 0)
        except BaseException as error:
            failed.append(error)
            started.set()
            raise
        stopping = asyncio.Event()
        found.stop = lambda: found.loop.call_soon_threadsafe(stopping.set)  # type: ignore
        started.set()
        await stopping.wait()
        await found.server.stop(0.2)
        versions = list(found.engine.versions())
        await found.engine.close()
        for s in (v.statistics for v in versions):
            assert s.pending == 0 and s.received == s.success + sum(s.failures.values())

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(main())
            except BaseException as error:
                failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    started.wait(60)
    if failed:
        raise failed[0]
    try:
        yield found
    finally:
        found.stop()  # type: ignore
        thread.join(30)
        assert not thread.is_alive()
        if check:
            assert not failed, failed


def status(call: Callable[[], Any]) -> tuple[str, str]:
    """The code and text of a call that fails."""
    try:
        found = call()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError(f"it was answered: {found}")
