"""Overload, deadlines, cancellation: what happens to requests that can't be answered, or need not be any more."""

from __future__ import annotations

import asyncio
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
    connections,
    infer,
    living,
    percentile,
    statistics,
)
from tests.serve.soak.scale import Scale
from tests.serve.soak.server import Server, until
from tests.serve.soak.slow import slow

X = np.ones((1, 3), np.float32)
ONE_AT_A_TIME = "[batch]\nmax = 1\n"


def overload(folder: Path, scale: Scale) -> dict[str, Any]:
    """At three times what it can do, a server refuses at once what it can't answer soon: p99 of what it takes is at
    most twice that without load, refusals come within 5 ms with 429 or 503 and Retry-After, memory stays flat."""
    slow(folder / "models" / "m" / "1.fanal", 0.02)
    # A request may wait for the one that is computed, and for no other.
    (folder / "models" / "m" / "model.toml").write_text(ONE_AT_A_TIME + "[queue]\nsize = 1\n")
    seconds = scale.seconds(300, 4)

    async def main(server: Server) -> dict[str, Any]:
        pool = Pool(server.port)
        request = infer("m", X)
        taken = [(await pool.ask(request)).seconds for _ in range(30)]
        capacity = 1 / sorted(taken)[len(taken) // 2]
        calm = await at_rate(pool, lambda i: request, 0.3 * capacity, scale.seconds(60, 2))
        before = server.memory()
        replies = await at_rate(pool, lambda i: request, 3 * capacity, seconds)
        after = server.memory()
        pool.close()
        unloaded = percentile([r.seconds for r in calm if isinstance(r, Reply)], scale.tail)
        kept = [r for r in replies if isinstance(r, Reply)]
        accepted, refused = [r for r in kept if r.status == 200], [r for r in kept if r.status != 200]
        assert len(kept) == len(replies), f"{len(replies) - len(kept)} requests got no answer"
        assert {r.status for r in refused} <= {429, 503} and all("retry-after" in r.headers for r in refused)
        found = {
            "capacity /s": capacity, "offered": len(replies), "accepted": len(accepted), "unloaded p99 ms": unloaded * 1e3,
            "accepted p99 ms": percentile([r.seconds for r in accepted], scale.tail) * 1e3,
            "refused p99 ms": percentile([r.seconds for r in refused], scale.tail) * 1e3, "MiB before": before, "MiB after": after,
        }  # fmt: skip
        assert len(accepted) > 0.6 * capacity * seconds / scale.slack, found
        assert found["accepted p99 ms"] <= 2 * scale.slack * found["unloaded p99 ms"], found
        assert found["refused p99 ms"] <= 5 * scale.slack**2, found
        assert after <= 1.05 * before + 2, found
        return found

    with Server(folder / "models", folder) as server:
        return living(lambda: main(server))


def deadlines(folder: Path, scale: Scale) -> dict[str, Any]:
    """A request whose deadline passes while it waits is answered with 504 then, and is never computed."""
    slow(folder / "models" / "m" / "1.fanal", 0.3 * scale.slack)
    (folder / "models" / "m" / "model.toml").write_text(ONE_AT_A_TIME)
    rounds, waiting = scale.count(100), 20

    async def main(server: Server) -> dict[str, Any]:
        pool = Pool(server.port)
        late = []
        before = await statistics(pool, "m")
        for _ in range(rounds):
            first = asyncio.create_task(pool.ask(infer("m", X)))
            await asyncio.sleep(0.02)
            replies = await asyncio.gather(*(pool.ask(infer("m", X, timeout=60_000)) for _ in range(waiting)))
            assert {r.status for r in replies} == {504}, {r.status: r.text for r in replies}
            assert all("deadline" in r.text for r in replies)
            late += [r.seconds - 0.06 for r in replies]
            assert (await first).status == 200
        after = await statistics(pool, "m")
        pool.close()
        computed = after["execution_count"] - before["execution_count"]
        assert computed == rounds, f"{computed} batches were computed for {rounds} requests"
        assert max(late) < 0.1 * scale.slack, f"{max(late) * 1e3:.0f} ms late"
        return {"expired": rounds * waiting, "computed": computed, "late p99 ms": percentile(late, 99) * 1e3}

    with Server(folder / "models", folder) as server:
        return living(lambda: main(server))


def cancellation(folder: Path, scale: Scale) -> dict[str, Any]:
    """A client that goes away frees its place: what it left in the queue is not computed."""
    slow(folder / "models" / "m" / "1.fanal", 0.3 * scale.slack)
    (folder / "models" / "m" / "model.toml").write_text(ONE_AT_A_TIME)
    rounds, leaving = scale.count(100), 20

    async def main(server: Server) -> dict[str, Any]:
        pool = Pool(server.port)
        before = await statistics(pool, "m")
        alone = min([(await pool.ask(infer("m", X))).seconds for _ in range(3)])
        for _ in range(rounds):
            first = asyncio.create_task(pool.ask(infer("m", X)))
            await asyncio.sleep(0.02)
            async with connections(server.port, leaving) as gone:
                tasks = [asyncio.create_task(c.ask(infer("m", X))) for c in gone]
                await asyncio.sleep(0.05)
            await asyncio.gather(*tasks, return_exceptions=True)
            reply = await pool.ask(infer("m", X))  # next in the queue if those are gone
            # The rest of the first and its own; with those that left it would be twenty times as long.
            assert reply.status == 200 and reply.seconds < leaving / 2 * alone, reply.seconds
            await first
        after = await statistics(pool, "m")
        pool.close()
        computed = after["execution_count"] - before["execution_count"]
        assert computed == 2 * rounds + 3, f"{computed} batches for {2 * rounds + 3} requests that stayed"
        return {"cancelled": rounds * leaving, "computed": computed}

    with Server(folder / "models", folder) as server:
        return living(lambda: main(server))


def cancelled_streams(folder: Path, scale: Scale) -> dict[str, Any]:
    """The same in the middle of a gRPC stream."""
    import tritonclient.grpc as triton

    slow(folder / "models" / "m" / "1.fanal", 0.1 * scale.slack)
    (folder / "models" / "m" / "model.toml").write_text(ONE_AT_A_TIME)
    rounds, sent = scale.count(50, 1), 20

    def executions(server: Server) -> int:
        async def ask() -> int:
            pool = Pool(server.port)
            found = await statistics(pool, "m")
            pool.close()
            return int(found["execution_count"])

        return living(ask)

    with Server(folder / "models", folder, grpc_port=0) as server:
        client = triton.InferenceServerClient(f"127.0.0.1:{server.ports['grpc']}")
        x = triton.InferInput("x", [1, 3], "FP32")
        x.set_data_from_numpy(X)
        answered: list[Any] = []
        before = executions(server)
        for _ in range(rounds):
            answered.clear()
            client.start_stream(lambda result, error: answered.append(error or result))
            for _ in range(sent):
                client.async_stream_infer("m", [x])
            until(lambda: answered, 10, "no answer on the stream")
            client.stop_stream(cancel_requests=True)
            client.infer("m", [x])
        computed = executions(server) - before
        client.close()
    # Of each stream what was answered, and what ran when it was cancelled.
    assert computed <= 4 * rounds, f"{computed} batches were computed for {rounds} streams that were cancelled"
    return {"streams": rounds, "sent": rounds * sent, "computed": computed}


def invariance(folder: Path, scale: Scale) -> dict[str, Any]:
    """An answer has the same bits alone and in any company, whatever the numbers of rows."""
    models.network(folder / "models" / "m.fanal")
    chance = np.random.default_rng(0)
    rows = chance.standard_normal((64, 1, 8, 8), np.float32)
    wanted = scale.count(100_000, 1500)
    sizes: dict[int, int] = {}

    async def main(server: Server) -> dict[str, Any]:
        pool = Pool(server.port)
        alone = np.concatenate([answer(await pool.ask(infer("m", rows[i : i + 1])))[0] for i in range(len(rows))])
        left = wanted

        async def client(connection: Connection) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                picked = chance.integers(0, len(rows), chance.integers(1, 9))
                found, _ = answer(await connection.ask(infer("m", rows[picked])))
                assert found.tobytes() == alone[picked].tobytes(), "other bits in company"

        async with connections(server.port, 32) as clients:
            await asyncio.gather(*(client(c) for c in clients))
        for batch in (await statistics(pool, "m"))["batch_stats"]:
            sizes[batch["batch_size"]] = batch["compute_infer"]["count"]
        pool.close()
        return {"requests": wanted, "sizes of batches": len(sizes), "largest": max(sizes)}

    with Server(folder / "models", folder) as server:
        start = time.monotonic()
        found = living(lambda: main(server))
    return {**found, "seconds": time.monotonic() - start}
