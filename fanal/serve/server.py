"""The whole server: listeners, models, signals, from the first breath to the last."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

import uvloop

from fanal.core.atomic import write_atomically
from fanal.core.errors import message
from fanal.serve.access import Gate
from fanal.serve.addresses import address
from fanal.serve.engine import Engine
from fanal.serve.grpc import GrpcServer
from fanal.serve.http.exposition import metrics_routes
from fanal.serve.http.repository import repository_routes
from fanal.serve.http.routes import rest_routes
from fanal.serve.http.server import HttpServer
from fanal.serve.http.v2 import health_routes
from fanal.serve.listening import listening
from fanal.serve.metrics import exposition
from fanal.serve.repository.keeper import Keeper
from fanal.serve.repository.layout import check
from fanal.serve.settings import LOOPBACK, Settings, misspelt
from fanal.serve.workers.processes import Nursery

log = logging.getLogger("fanal.serve")
# After the signal connections that are open may still bring what was on its way.
_LINGER_SECONDS = 0.3
# Who wraps a command passes signals on that it got from the terminal, too (`timeout` does): one signal, twice.
_SAME_SECONDS = 0.1


class Server:
    """A server of the models at a path. `run` returns the exit code."""

    def __init__(self, path: Path, settings: Settings, ready_file: Path | None = None):
        check(path, settings.name)
        settings.try_files()
        if ready_file is not None:
            if not ready_file.parent.is_dir():
                raise ValueError(message("serve", "the ready file has no folder to be in", str(ready_file), hint="--ready-file with another"))
            ready_file.unlink(missing_ok=True)  # of an earlier run
        self.path, self.settings, self._ready_file = path, settings, ready_file
        self.ports: dict[str, int | None] = {"http": None, "grpc": None, "metrics": None, "admin": None}
        self._stopping = asyncio.Event()
        self._signalled: float | None = None  # when

    async def run(self) -> int:
        settings = self.settings
        self.engine = Engine(settings.concurrency or len(os.sched_getaffinity(0)))
        self.engine.starting = True
        gate = Gate(settings)
        nursery = Nursery()
        keeper = Keeper(self.engine, nursery, self.path, settings)
        self._watch_signals(keeper)
        health = health_routes(self.engine)
        tables = {
            "http": lambda: rest_routes(self.engine, settings),
            "metrics": lambda: health + metrics_routes(lambda accept: exposition(self.engine, accept)),
            "admin": lambda: health + repository_routes(keeper, settings),
        }
        listeners = {
            name: listening(settings.host, port, name)
            for name in tables
            if (port := getattr(settings, f"{name}_port")) is not None
        }
        servers: list[HttpServer] = []
        grpc: GrpcServer | None = None
        code = 0
        try:
            for name, listener in listeners.items():
                server = HttpServer(self.engine, settings, gate, tables[name]())
                await server.start(listener)
                servers.append(server)
                self.ports[name] = listener.getsockname()[1]
            if settings.grpc_port is not None:
                grpc = GrpcServer(self.engine, settings, gate, keeper if settings.admin_port is not None else None)
                self.ports["grpc"] = await grpc.start(settings.host, settings.grpc_port)
            self._say()
            code = await self._serve(keeper)
            await self._drain(servers, grpc)
        finally:
            await keeper.close()
            nursery.close()
        return code

    async def _serve(self, keeper: Keeper) -> int:
        """Until a signal comes, or there is nothing to serve."""
        starting = asyncio.create_task(keeper.start())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            return 0
        starting.result()
        if self.path.is_file() and not any(e.versions for e in self.engine.models.values()):
            return 1  # the log says why
        if not self.engine.models:
            log.warning("the repository has no models yet: %s", self.path)
        # What is there now stays: a collection of garbage need not look at it, and takes no time from a request.
        gc.collect()
        gc.freeze()
        announced = asyncio.create_task(self._announce())
        await stopping
        announced.cancel()
        return 0

    async def _announce(self) -> None:
        """Say it when all models answer, also in the file that somebody may wait for."""
        while not self.engine.ready:
            await asyncio.sleep(0.02)
        log.info("ready: %s", ", ".join(f"{v.model} {v.number}" for v in self.engine.versions()) or "no models yet")
        if self._ready_file is not None:
            try:
                write_atomically(self._ready_file, json.dumps({"pid": os.getpid(), **self.ports}).encode())
            except OSError as why:
                log.error("the ready file can't be written: %s: %s", self._ready_file, why.strerror)

    async def _drain(self, servers: list[HttpServer], grpc: GrpcServer | None) -> None:
        """Not ready any more, but alive; what has come is answered; then everything is closed."""
        engine, patience = self.engine, self.settings.drain_timeout
        engine.draining = True
        start = time.monotonic()
        log.info("draining")
        closing = None if grpc is None else asyncio.create_task(grpc.stop(patience))
        while time.monotonic() - start < patience:
            waiting = sum(v.statistics.pending for v in (*engine.versions(), *engine.leaving))
            if not waiting and time.monotonic() - start > _LINGER_SECONDS:
                break
            await asyncio.sleep(0.01)
        left = max(0.1, patience - (time.monotonic() - start))
        await asyncio.gather(*(s.stop(left) for s in servers), *([closing] if closing is not None else []))
        await engine.close()
        log.info("ended after %.1f s", time.monotonic() - start)

    # -- what it says and hears ------------------------------------------------------------------------

    def _say(self) -> None:
        scheme = "https" if self.settings.tls_cert else "http"
        for name, port in self.ports.items():
            if port is not None:
                where = address(self.settings.host, port)
                log.info("%-8s %s", name, where if name == "grpc" else f"{scheme}://{where}")
        if self.settings.host not in LOOPBACK and self.settings.insecure:
            log.warning("anybody who reaches %s can use the models: there are no keys", self.settings.host)

    def _watch_signals(self, keeper: Keeper) -> None:
        loop = asyncio.get_running_loop()

        def stop(number: int) -> None:
            now, before = loop.time(), self._signalled
            if before is not None and now - before < _SAME_SECONDS:
                return
            self._signalled = now
            if before is not None:
                log.warning("%s again: ended at once", signal.Signals(number).name)
                logging.shutdown()
                os._exit(128 + number)
            log.info("%s", signal.Signals(number).name)
            self._stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number)
        looks: set[asyncio.Task[None]] = set()

        def look() -> None:
            task = asyncio.create_task(keeper.look())
            looks.add(task)
            task.add_done_callback(looks.discard)

        loop.add_signal_handler(signal.SIGHUP, look)


def serve(path: str | os.PathLike[str], settings: Settings | None = None, ready_file: str | os.PathLike[str] | None = None) -> int:
    """Serve the models at a path until SIGTERM or Ctrl-C; what `fanal serve` does. Returns the exit code.

    path: a .fanal file, or a folder of them (docs/serve.md). ready_file: written when all models answer: JSON with
    the process's number and the listeners' ports. Raises ValueError where it can't begin.
    """
    if not os.fspath(path):  # a variable of a shell that was not set; a path would be the current folder
        raise ValueError(message("serve", "there is no path", "''", "a .fanal file, or a folder of them"))
    settings = settings or Settings()
    _log(settings)
    for text in misspelt(os.environ):
        log.warning("%s", text)
    file = None if ready_file is None else Path(ready_file)

    async def main() -> int:
        return await Server(Path(path), settings, file).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _log(settings: Settings) -> None:
    logger = logging.getLogger("fanal.serve")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(settings.log_level.upper())


__all__ = ["Server", "serve"]
