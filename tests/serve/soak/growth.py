"""Memory is what it was: after a million requests of random shapes, after hundreds of models came and went."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np

from tests.serve import models
from tests.serve.soak.client import Connection, Pool, answer, connections, infer, living, post
from tests.serve.soak.scale import Scale
from tests.serve.soak.server import Server


def requests(folder: Path, scale: Scale) -> dict[str, Any]:
    """A million requests of random shapes: memory at the end is within 5 % of what it was after the first tenth, and
    every answer is right."""
    models.growing(folder / "models" / "m.fanal")
    count = scale.count(1_000_000, 3000)
    chance = np.random.default_rng(0)
    numbers = chance.standard_normal((64, 512), np.float32)
    sums = numbers.cumsum(1)
    marks: list[float] = []

    async def main(server: Server) -> None:
        left = count

        async def client(connection: Connection) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                if left % max(1, count // 10) == 0:
                    marks.append(server.memory())
                # Mostly small, as users' are; now and then as large as may be.
                most = 512 if left % 50 == 0 else 40
                rows, length = int(chance.integers(1, 65 if left % 50 == 0 else 5)), int(chance.integers(1, most + 1))
                found, _ = answer(await connection.ask(infer("m", np.ascontiguousarray(numbers[:rows, :length]))))
                assert np.allclose(found, sums[:rows, :length], atol=1e-3)

        async with connections(server.port, 16) as clients:
            await asyncio.gather(*(client(c) for c in clients))

    with Server(folder / "models", folder) as server:
        living(lambda: main(server))
    assert marks[-1] <= 1.05 * marks[0] + 2 * scale.slack, marks
    return {"requests": count, "MiB after a tenth": marks[0], "MiB at the end": marks[-1]}


def cycles(folder: Path, scale: Scale) -> dict[str, Any]:
    """Load and unload two hundred times: memory after unloading is within 5 % of what it was after the first time."""
    repository = folder / "models"
    models.adding(repository / "stays.fanal", 1)
    models.network(repository / "m.fanal")
    count = scale.count(200, 4)
    request = infer("m", models.rows(4, 1, 8, 8))
    marks: list[float] = []

    async def main(server: Server) -> float:
        admin, pool = Pool(server.ports["admin"]), Pool(server.port)
        loaded = 0.0
        for _ in range(count):
            for _ in range(20):
                answer(await pool.ask(request))
            loaded = server.memory()
            reply = await admin.ask(post("/v2/repository/models/m/unload", b"{}"))
            assert reply.status == 200, reply.text
            assert (await pool.ask(request)).status in (404, 503)
            server.settle("m", 0)
            marks.append(server.memory())
            reply = await admin.ask(post("/v2/repository/models/m/load", b"{}"))
            assert reply.status == 200, reply.text
        admin.close()
        pool.close()
        return loaded

    with Server(repository, folder, admin_port=0) as server:
        loaded = living(lambda: main(server))
    assert max(marks) <= 1.05 * marks[0] + 1, marks
    return {"cycles": count, "MiB loaded": loaded, "MiB after the first unload": marks[0], "MiB after the last": marks[-1], "MiB at most": max(marks)}


def reloads(folder: Path, scale: Scale) -> dict[str, Any]:
    """The same for versions that replace one another under load."""
    repository = folder / "models"
    models.adding(repository / "m" / "1.fanal", 1)
    count = scale.count(100, 3)
    marks: list[float] = []
    x = np.ones((1, 3), np.float32)

    async def main(server: Server) -> None:
        pool = Pool(server.port)
        for number in range(2, count + 2):
            models.adding(repository / "m" / f"{number}.fanal", number)
            server.look()
            while answer(await pool.ask(infer("m", x)))[1] != str(number):
                await asyncio.sleep(0.01)
            (repository / "m" / f"{number - 1}.fanal").unlink()
            server.settle("m", 2)
            marks.append(server.memory())
        pool.close()

    with Server(repository, folder) as server:
        living(lambda: main(server))
    assert max(marks) <= 1.05 * marks[0] + 1, marks
    return {"reloads": count, "MiB after the first": marks[0], "MiB after the last": marks[-1]}
