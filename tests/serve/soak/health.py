"""What the server says of itself is so, and what breaks stays where it was."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.serve import models
from tests.serve.soak.client import Connection, Lost, Pool, answer, get, infer, living, while_doing
from tests.serve.soak.scale import Scale
from tests.serve.soak.server import Server, until
from tests.serve.soak.slow import slow

X = np.ones((1, 3), np.float32)


async def _health(port: int) -> tuple[int, int]:
    """Statuses of ready and live, each asked on a connection of its own."""
    found = []
    for what in ("ready", "live"):
        connection = await Connection.to(port)
        found.append((await connection.ask(get(f"/v2/health/{what}"))).status)
        connection.close()
    return found[0], found[1]


async def _turns(port: int, ready: bool, seconds: float, what: str) -> float:
    """Wait for readiness to be so; live must be 200 all the time."""
    start = time.monotonic()
    while True:
        status, live = await _health(port)
        assert live == 200, "it is not alive"
        if (status == 200) is ready:
            return time.monotonic() - start
        assert time.monotonic() - start < seconds, what
        await asyncio.sleep(0.01)


def truthful(folder: Path, scale: Scale) -> dict[str, Any]:
    """Not ready before everything is warm; not ready within a second of a worker that is dead or hangs, and ready again
    when it is replaced; alive all the while."""
    models.network(folder / "models" / "m.fanal")
    rounds = scale.count(20, 1)
    request = infer("m", models.rows(1, 1, 8, 8))
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    dead, hung, back = [], [], []

    async def main(server: Server) -> None:
        def listening() -> bool:
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0

        until(listening, 30, "nobody listens")
        said, start = [], time.monotonic()
        while not said or said[-1] != 200:
            said.append((await _health(port))[0])
            assert time.monotonic() - start < 60, "never ready"
        assert said[0] == 503, "ready before the model was loaded"
        connection = await Connection.to(port)
        first = await connection.ask(request)
        assert first.status == 200, first.text
        later = min([(await connection.ask(request)).seconds for _ in range(20)])
        assert first.seconds < later + 0.1 * scale.slack, f"the first answer took {first.seconds * 1e3:.0f} ms: nothing was warm"
        connection.close()
        for number, times in ((signal.SIGKILL, dead), (signal.SIGSTOP, hung)):
            (pid,) = server.workers("m")
            os.kill(pid, number)
            times.append(await _turns(port, False, 1.0 * scale.slack, f"still ready after {number.name}"))
            if number is signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)
            back.append(await _turns(port, True, 20, f"not ready again after {number.name}"))
            await asyncio.sleep(0.1)

    for _ in range(rounds):
        with Server(folder / "models", folder, wait=False, http_port=port) as server:
            living(lambda server=server: main(server))
            assert server.stop() == 0
    return {
        "rounds": rounds, "s until a death is seen, at most": max(dead), "s until a hang is seen, at most": max(hung),
        "s until ready again, at most": max(back),
    }  # fmt: skip


def broken_model(folder: Path, scale: Scale) -> dict[str, Any]:
    """A model that can't be loaded makes the server unready; it lives, and others answer."""
    repository = folder / "models"
    models.adding(repository / "good.fanal", 1)
    (repository / "bad.fanal").write_bytes(b"\0" * 4096)
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]

    async def main(server: Server) -> None:
        until(lambda: "good answers" in server.log.read_text(), 30, "good does not answer")
        assert await _health(port) == (503, 200)
        pool = Pool(port)
        found, _ = answer(await pool.ask(infer("good", X)))
        assert np.array_equal(found, X + 1)
        assert (await pool.ask(infer("bad", X))).status == 503
        assert (await pool.ask(get("/v2/models/good/ready"))).status == 200
        pool.close()

    with Server(repository, folder, wait=False, http_port=port) as server:
        living(lambda: main(server))
    return {}


def crashes(folder: Path, scale: Scale) -> dict[str, Any]:
    """`kill -9` of a worker under load fails only what it computed, with a reason; a new one comes, and other models
    notice nothing."""
    repository = folder / "models"
    slow(repository / "a.fanal", 2e-3)
    models.adding(repository / "b.fanal", 1)
    # One that dies again and again is replaced later each time: a few deaths for each server.
    servers, kills = scale.count(10), 5 if scale.part == 1 else 2
    failed: list[str] = []
    answered = {"a": 0, "b": 0}

    async def once(connection: Connection, number: int) -> None:
        model = "ab"[number % 2]
        try:
            reply = await connection.ask(infer(model, X))
        except Lost:
            raise AssertionError("a connection was lost, not a worker") from None
        if reply.status == 200:
            answered[model] += 1
            return
        assert model == "a", f"the other model failed: {reply.text}"
        assert reply.status == 503 and "died" in reply.text, reply.text
        failed.append(reply.text)

    async def kill(server: Server) -> list[float]:
        seconds = []
        for _ in range(kills):
            await asyncio.sleep(0.3)
            (pid,) = server.workers("a")
            os.kill(pid, signal.SIGKILL)
            start = time.monotonic()
            while not (now := server.workers("a")) or pid in now:
                assert time.monotonic() - start < 20, "there is no new worker"
                await asyncio.sleep(0.02)
            before = answered["a"]
            while answered["a"] <= before + 8:
                assert time.monotonic() - start < 20, "a does not answer again"
                await asyncio.sleep(0.02)
            seconds.append(time.monotonic() - start)
        return seconds

    seconds: list[float] = []
    for _ in range(servers):
        with Server(repository, folder) as server:
            seconds += living(lambda server=server: while_doing(kill(server), server.port, 8, once))
            assert server.stop() == 0
    # The four clients of a that may have been in the batch.
    assert len(failed) <= 4 * kills * servers, f"{len(failed)} requests failed for {kills * servers} deaths"
    return {"kills": kills * servers, "failed": len(failed), **answered, "s until it answers again, at most": max(seconds)}
