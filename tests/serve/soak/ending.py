"""The end: what comes before it is answered."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.serve import models
from tests.serve.soak.client import Connection, Lost, Pool, get, infer, living
from tests.serve.soak.scale import Scale
from tests.serve.soak.server import Server
from tests.serve.soak.slow import slow

X = np.ones((1, 3), np.float32)


def drain(folder: Path, scale: Scale) -> dict[str, Any]:
    """On SIGTERM ready is 503 at once and live still 200, what is in flight is answered, connections that are kept
    open are closed, the exit code is 0."""
    slow(folder / "models" / "m" / "1.fanal", 0.2)
    (folder / "models" / "m" / "model.toml").write_text("[batch]\nmax = 1\n")
    rounds = scale.count(20, 1)
    seconds = []

    async def main(server: Server) -> None:
        pool = Pool(server.port)
        idle = await Connection.to(server.port)
        assert (await idle.ask(get("/v2/health/ready"))).status == 200
        flying = [asyncio.create_task(pool.ask(infer("m", X))) for _ in range(4)]
        await asyncio.sleep(0.1)
        start = time.monotonic()
        server.signal(signal.SIGTERM)
        while (reply := await pool.ask(get("/v2/health/ready"))).status != 503:
            assert time.monotonic() - start < 0.5 * scale.slack, "ready is still 200"
        seconds.append(time.monotonic() - start)
        assert (await pool.ask(get("/v2/health/live"))).status == 200
        assert reply.headers.get("connection") == "close"
        assert [(await f).status for f in flying] == [200] * 4
        assert await idle.ended()
        idle.close()
        pool.close()

    for _ in range(rounds):
        with Server(folder / "models", folder) as server:
            living(lambda server=server: main(server))
            assert server.process.wait(10) == 0, server.log.read_text()
    return {"rounds": rounds, "ready 503 after ms at most": max(seconds) * 1e3}


def drain_under_load(folder: Path, scale: Scale) -> dict[str, Any]:
    """Clients that ask without pause when the server is told to end get an answer to everything they sent, or find
    nobody to send it to."""
    models.adding(folder / "models" / "m.fanal", 1)
    rounds = scale.count(20, 2)
    answered: dict[int, int] = {}

    async def main(server: Server) -> None:
        async def client() -> None:
            while True:
                try:
                    connection = await Connection.to(server.port)
                except OSError:
                    return  # nobody is there any more
                proved = False
                while connection.open:
                    try:
                        reply = await connection.ask(infer("m", X))
                    except Lost:
                        # A connection that was opened as the listener closed may be reset by the system before
                        # anybody saw it; one that has answered may not.
                        assert not proved, "a request on a connection that was open got no answer"
                        break
                    proved = True
                    answered[reply.status] = answered.get(reply.status, 0) + 1
                    assert reply.status in (200, 503), reply

        clients = [asyncio.create_task(client()) for _ in range(16)]
        await asyncio.sleep(0.5)
        server.signal(signal.SIGTERM)
        await asyncio.gather(*clients)

    for _ in range(rounds):
        with Server(folder / "models", folder) as server:
            living(lambda server=server: main(server))
            assert server.process.wait(10) == 0, server.log.read_text()
    return {"rounds": rounds, "answered": answered.get(200, 0), "refused": answered.get(503, 0), "lost": 0}


def second_signal(folder: Path, scale: Scale) -> dict[str, Any]:
    """A second SIGTERM ends it at once, whatever is in flight."""
    slow(folder / "models" / "m.fanal", 2)

    async def main(server: Server) -> float:
        connection = await Connection.to(server.port)
        flying = asyncio.create_task(connection.ask(infer("m", X)))
        await asyncio.sleep(0.2)
        server.signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        assert server.process.poll() is None
        start = time.monotonic()
        server.signal(signal.SIGTERM)
        try:
            await flying
            raise AssertionError("it was answered")
        except Lost:
            return time.monotonic() - start

    with Server(folder / "models", folder, max_batch=1) as server:
        seconds = living(lambda: main(server))
        assert server.process.wait(2) != 0
    assert seconds < 1 * scale.slack
    return {"ended after ms": seconds * 1e3}
