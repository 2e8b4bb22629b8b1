"""Versions that come and go while others answer."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.serve import models
from tests.serve.soak.client import (
    Connection,
    Pool,
    Reply,
    answer,
    at_rate,
    infer,
    living,
    percentile,
    while_doing,
)
from tests.serve.soak.scale import Scale
from tests.serve.soak.server import Server

SWAP_LIMIT = 30.0  # seconds


def swaps(folder: Path, scale: Scale) -> dict[str, Any]:
    """A hundred swaps under load: no request fails, each answer is from exactly one version, a file that is damaged or
    half-copied is never served and leaves the old version serving."""
    repository = folder / "models"
    models.adding(repository / "m" / "1.fanal", 1)
    count = scale.count(100, 3)
    x = np.arange(9, dtype=np.float32).reshape(3, 3)
    answers = 0

    async def once(connection: Connection, number: int) -> None:
        nonlocal answers
        found, version = answer(await connection.ask(infer("m", x)))
        assert np.array_equal(found, x + float(version)), "rows of one answer are from several versions"
        answers += 1

    async def change(server: Server) -> list[float]:
        pool, seconds = Pool(server.port), []
        for number in range(2, count + 2):
            data = models.adding(folder / "new.fanal", number).read_bytes()
            path = repository / "m" / f"{number}.fanal"
            path.write_bytes(data[: len(data) // 2])
            server.look()
            await asyncio.sleep(0.1)
            assert answer(await pool.ask(infer("m", x)))[1] == str(number - 1)
            os.replace(folder / "new.fanal", path)
            start = time.monotonic()
            server.look()
            while answer(await pool.ask(infer("m", x)))[1] != str(number):
                assert time.monotonic() - start < SWAP_LIMIT, f"version {number} does not come"
                await asyncio.sleep(0.01)
            seconds.append(time.monotonic() - start)
            (repository / "m" / f"{number - 1}.fanal").unlink()
        pool.close()
        return seconds

    with Server(repository, folder) as server:
        seconds = living(lambda: while_doing(change(server), server.port, 8, once))
    return {"swaps": count, "answers": answers, "failed": 0, "median s until the new version answers": sorted(seconds)[len(seconds) // 2]}


def isolation(folder: Path, scale: Scale) -> dict[str, Any]:
    """While another model reloads twenty times, a model's p99 is at most 1.2 times what it is in peace."""
    repository = folder / "models"
    models.network(repository / "a.fanal")
    models.network(repository / "b" / "1.fanal")
    reloads = scale.count(20, 3)
    request = infer("a", models.rows(1, 1, 8, 8))

    async def peace(pool: Pool, seconds: float) -> list[float]:
        return _seconds(await at_rate(pool, lambda i: request, 200, seconds))

    async def main(server: Server) -> dict[str, Any]:
        pool = Pool(server.port)
        await peace(pool, 1)
        quiet, busy = [], []
        for number in range(reloads):
            # In turns, so that what else the machine does meets both.
            quiet += await peace(pool, scale.seconds(3, 1))
            before = server.log.read_text().count("of b answers")
            data = (repository / "b" / "1.fanal").read_bytes()
            (folder / "again.fanal").write_bytes(data)
            os.replace(folder / "again.fanal", repository / "b" / "1.fanal")
            server.look()
            start = time.monotonic()
            while server.log.read_text().count("of b answers") == before:
                assert time.monotonic() - start < SWAP_LIMIT, f"reload {number} of b does not end"
                busy += await peace(pool, 0.5)
        pool.close()
        found = {
            "reloads": reloads, "requests": len(quiet) + len(busy), "p99 ms in peace": percentile(quiet, scale.tail) * 1e3,
            "p99 ms during reloads": percentile(busy, scale.tail) * 1e3, "ratio": percentile(busy, scale.tail) / percentile(quiet, scale.tail),
        }  # fmt: skip
        assert found["ratio"] <= 1.2 * scale.slack**2, found
        return found

    with Server(repository, folder) as server:
        return living(lambda: main(server))


def _seconds(replies: list[Any]) -> list[float]:
    assert all(isinstance(r, Reply) and r.status == 200 for r in replies), [r for r in replies if not isinstance(r, Reply) or r.status != 200][:3]
    return [r.seconds for r in replies]
