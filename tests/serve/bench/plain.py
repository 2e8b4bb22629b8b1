"""An HTTP server that does nothing but answer, in the way that a test wants."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

# From the number of a request: what is written, and after how many seconds; None: the connection is closed.
Behaviour = Callable[[int], tuple[bytes | None, float]]


class Plain:
    def __init__(self, behaviour: Behaviour):
        self.behaviour = behaviour
        self.requests = self.connections = 0
        self.port = 0
        self.close: Callable[[], Any] = lambda: None  # goes away before its time

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def plain(behaviour: Behaviour = lambda i: (OK, 0.0)) -> Iterator[Plain]:
    found, started, stopping = Plain(behaviour), threading.Event(), asyncio.Event()
    open_: set[Any] = set()

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            found.connections += 1
            self.transport, self.left = transport, b""
            open_.add(transport)

        def connection_lost(self, error: Exception | None) -> None:
            open_.discard(self.transport)

        def data_received(self, data: bytes) -> None:
            self.left += data
            head, end, rest = self.left.partition(b"\r\n\r\n")
            if not end:
                return
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            if len(rest) < length:
                return
            self.left = rest[length:]
            answer, wait = found.behaviour(found.requests)
            found.requests += 1
            asyncio.get_running_loop().call_later(wait, self.answer, answer) if wait else self.answer(answer)

        def answer(self, data: bytes | None) -> None:
            if data is None:
                self.transport.abort()
            else:
                self.transport.write(data)
                if b"connection: close" in data:
                    self.transport.close()

    async def main() -> None:
        found.loop = asyncio.get_running_loop()  # type: ignore
        server = await found.loop.create_server(Connection, "127.0.0.1", 0)  # type: ignore
        found.port = server.sockets[0].getsockname()[1]
        started.set()
        await stopping.wait()
        server.close()
        for transport in list(open_):
            transport.abort()
        while open_:
            await asyncio.sleep(0.001)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    started.wait(10)
    found.close = lambda: found.loop.call_soon_threadsafe(stopping.set)  # type: ignore
    try:
        yield found
    finally:
        if thread.is_alive():
            found.close()
        thread.join(10)
