"""A listener: routes behind one gate, on a socket, in the event loop that runs already."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterable
from email.utils import formatdate
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from fanal.serve.access import Gate
from fanal.serve.engine import Engine
from fanal.serve.http.bodies import Bodies
from fanal.serve.http.protocol import Connection
from fanal.serve.http.routing import Route, Router
from fanal.serve.settings import Settings

_log = logging.getLogger("fanal.serve.http")


class HttpServer:
    """Serves routes over HTTP/1.1, with TLS if the settings name a certificate.

    It owns neither the event loop nor signals, so several may run in one loop.
    """

    def __init__(self, engine: Engine, settings: Settings, gate: Gate, routes: Iterable[Route]):
        self.engine, self.settings = engine, settings
        self.router = Router(routes, gate)
        self.bodies = Bodies(settings.max_bodies)
        self.date = b""
        self.config = uvicorn.Config(
            _unused, lifespan="off", ws="none", loop="none", log_config=None, interface="asgi3", access_log=False,
            ssl_certfile=settings.tls_cert, ssl_keyfile=settings.tls_key,
            ssl_ca_certs=None if settings.tls_client_ca is None else str(settings.tls_client_ca),
            ssl_cert_reqs=ssl.CERT_NONE if settings.tls_client_ca is None else ssl.CERT_REQUIRED,
        )  # fmt: skip
        self.config.load()
        if self.config.ssl is not None:
            self.config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        self.state = ServerState()
        self.loop: asyncio.AbstractEventLoop
        self._server: asyncio.Server | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None
        shortest = min(settings.header_timeout, settings.body_timeout, settings.keepalive_timeout)
        self._period = max(0.02, min(1.0, shortest / 4))

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self.state.connections)

    async def start(self, sock: socket.socket) -> None:
        """Answer what comes on a bound socket."""
        self.loop = asyncio.get_running_loop()
        self._look_around()
        secure: dict[str, Any] = {}
        if self.config.ssl is not None:
            secure = {"ssl": self.config.ssl, "ssl_handshake_timeout": self.settings.header_timeout}
        self._server = await self.loop.create_server(
            lambda: Connection(self), sock=sock, backlog=1024, **secure
        )

    async def stop(self, grace: float) -> None:
        """Take no new connection, end the idle ones, and wait at most `grace` seconds for the others."""
        if self._server is None:
            return
        self._server.close()
        self._empty = asyncio.Event()
        for connection in self._all():
            connection.shutdown()
        if not await self._emptied(grace):
            _log.warning("%d connections were cut off", len(self.state.connections))
            for connection in self._all():
                connection.transport.abort()
            await self._emptied(1.0)
        for task in list(self.state.tasks):
            task.cancel()
        if self._tick is not None:
            self._tick.cancel()
        self._server = None

    def gone(self) -> None:
        """A connection has ended."""
        if self._empty is not None and not self.state.connections:
            self._empty.set()

    async def _emptied(self, seconds: float) -> bool:
        """Whether no connection is left within a time."""
        if self.state.connections and self._empty is not None:
            try:
                await asyncio.wait_for(self._empty.wait(), seconds)
            except TimeoutError:
                return False
        return True

    def _all(self) -> list[Connection]:
        return list(self.state.connections)  # type: ignore[arg-type]

    def _look_around(self) -> None:
        """Now and then: the date, and connections whose time is over."""
        now = self.loop.time()
        self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        for connection in self._all():
            if connection.due <= now or connection.stalled <= now:
                connection.expired()
        self._tick = self.loop.call_later(self._period, self._look_around)


async def _unused(scope: Any, receive: Any, send: Any) -> None:
    """uvicorn's configuration wants an application; connections here have handlers."""
    raise NotImplementedError
