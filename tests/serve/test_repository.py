"""Models come and go with their files: swaps without loss, failures that change nothing, workers that are replaced."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanal.serve.engine import Engine
from fanal.serve.errors import ServeError, Status
from fanal.serve.repository.keeper import Keeper
from fanal.serve.settings import Settings
from fanal.serve.version import Version
from fanal.serve.workers.processes import Nursery
from tests.serve import models

X = np.zeros((1, 3), np.float32)


class House:
    """An engine, its keeper, and what is needed to use them."""

    def __init__(self, path: Path, **settings: Any):
        self.engine, self.nursery = Engine(), Nursery()
        self.engine.starting = True
        self.keeper = Keeper(self.engine, self.nursery, path, Settings(**{"poll": 600, "threads": 1, **settings}))

    async def ask(self, model: str = "m", version: int | None = None, x: np.ndarray = X) -> float:
        found = self.engine.find(model, version)
        answer = await found.submit(found.description.function(None), {"x": x})
        return float(answer.outputs["y"].ravel()[0])

    def version(self, model: str = "m") -> Version:
        return self.engine.find(model)

    @property
    def pids(self) -> list[int]:
        return [w.pid for w in self.version().executors]


@asynccontextmanager
async def house(path: Path, **settings: Any) -> AsyncIterator[House]:
    h = House(path, **settings)
    try:
        await h.keeper.start()
        yield h
    finally:
        await h.keeper.close()
        await h.engine.close()
        h.nursery.close()


def living(path: Path, use: Callable[[House], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with house(path, **settings) as h:
            await use(h)

    asyncio.run(main())


async def until(true: Callable[[], Any], seconds: float = 10) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < end, "it did not come true"
        await asyncio.sleep(0.01)


# -- coming and going --------------------------------------------------------------------------------------


def test_a_swap_loses_nothing_and_every_answer_is_of_one_version(tmp_path: Path) -> None:
    models.adding(tmp_path / "m" / "1.fanal", 1)

    async def use(h: House) -> None:
        seen: list[float] = []
        stop = False

        async def client() -> None:
            while not stop:
                seen.append(await h.ask())

        clients = [asyncio.create_task(client()) for _ in range(8)]
        for number in range(2, 6):
            data = models.adding(tmp_path / "new.fanal", number).read_bytes()
            path = tmp_path / "m" / f"{number}.fanal"
            path.write_bytes(data[: len(data) // 2])  # half a copy
            await h.keeper.look()
            assert await h.ask() == number - 1
            path.write_bytes(data)
            await h.keeper.look()
            assert await h.ask() == number
        await until(lambda: 5 in seen)  # what the others had asked may take longer than the one request above
        stop = True
        await asyncio.gather(*clients)
        assert sorted(set(seen)) == [1, 2, 3, 4, 5]
        await until(lambda: not h.engine.leaving)
        assert h.engine.loads["m"] == 5 and h.engine.failed_loads["m"] == 4 and h.engine.ready

    living(tmp_path, use)


def test_a_file_that_changes_in_its_place_is_loaded_anew(tmp_path: Path) -> None:
    path = models.adding(tmp_path / "m.fanal", 1)

    async def use(h: House) -> None:
        assert await h.ask() == 1
        os.replace(models.adding(tmp_path / "other.fanal", 2), path)
        await h.keeper.look()
        assert await h.ask() == 2
        path.write_bytes(b"nothing")
        await h.keeper.look()
        assert await h.ask() == 2 and h.engine.ready
        assert "damaged" in h.engine.models["m"].troubles[1].text and str(tmp_path) not in h.engine.models["m"].troubles[1].text
        path.unlink()

    living(path, use)


def test_counts_go_on_where_a_version_is_loaded_anew(tmp_path: Path) -> None:
    """Also those of requests that the one before it was still answering."""
    path = models.adding(tmp_path / "m.fanal", 1)

    async def use(h: House) -> None:
        asked, last = [0], 0
        stop = False

        async def client() -> None:
            while not stop:
                asked[0] += 1
                await h.ask()

        clients = [asyncio.create_task(client()) for _ in range(8)]
        for number in range(2, 5):
            os.replace(models.adding(tmp_path / "other.fanal", number), path)
            await h.keeper.look()
            assert h.version().statistics.received > last
            last = h.version().statistics.received
        stop = True
        await asyncio.gather(*clients)
        s = h.version().statistics
        assert s.received == s.success == asked[0] == s.request.count and s.pending == 0 and h.engine.loads["m"] == 4

    living(path, use)


def test_policies_and_labels_follow_the_manifest(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        models.adding(tmp_path / "m" / str(number) / "model.fanal", number)
    manifest = tmp_path / "m" / "model.toml"

    async def use(h: House) -> None:
        assert await h.ask() == 3
        manifest.write_text('[versions]\npolicy = "all"\n[labels]\nstable = 1\n[batch]\nmax = 4\n')
        await h.keeper.look()
        assert [await h.ask(version=n) for n in (1, 2, 3)] == [1, 2, 3]
        assert h.engine.find("m", label="stable").number == 1 and h.version().description.function(None).sizes == (1, 2, 4)
        manifest.write_text("[versions]\npolicy = [2]\n[batch]\nmax = 4\n")
        await h.keeper.look()
        assert await h.ask() == 2
        with pytest.raises(ServeError) as caught:
            h.engine.find("m", 3)
        assert caught.value.status is Status.NOT_FOUND
        manifest.write_text("[versions]\npolicy = 7")
        await h.keeper.look()
        assert await h.ask() == 2 and "versions.policy" in h.engine.models["m"].problem

    living(tmp_path, use)


def test_what_is_odd_is_said_once_and_takes_nothing_away(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("fanal.serve")
    monkeypatch.setattr(log, "propagate", True)
    models.adding(tmp_path / "m" / "1.fanal", 1.0)
    (tmp_path / "m" / "model.toml").write_text("[versions]\npolicy = [1, 7]\n[labels]\nnew = 2")
    (tmp_path / "other name.fanal").write_bytes(b"")

    async def use(h: House) -> None:
        def said() -> list[str]:
            return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]

        for _ in range(3):
            await h.keeper.look()
        assert [m for m in said() if "no model" in m] == [m for m in said() if "other name.fanal" in m] and len(said()) == 2
        assert any("version 7, version 2 for the label 'new'" in m for m in said())
        caplog.clear()
        tmp_path.rename(tmp_path.with_name("elsewhere"))
        for _ in range(3):
            await h.keeper.look()
        assert len(said()) == 1 and "can't be read" in said()[0] and await h.ask() == 1
        tmp_path.with_name("elsewhere").rename(tmp_path)

        def unreadable(path: Any) -> Any:
            if Path(path).name == "m":
                raise PermissionError(13, "Permission denied")
            return listed(path)

        listed = os.scandir
        monkeypatch.setattr(os, "scandir", unreadable)
        await h.keeper.look()
        assert await h.ask() == 1, "a folder that can't be read for a while takes no model away"
        assert "m can't be read: got Permission denied" in h.keeper.index()[0]["reason"]
        monkeypatch.setattr(os, "scandir", listed)
        await h.keeper.look()
        models.adding(tmp_path / "m" / "2.fanal", 2.0)
        await h.keeper.look()
        found = {m["version"]: (m["state"], m["reason"]) for m in h.keeper.index()}
        assert found == {"1": ("READY", ""), "2": ("UNAVAILABLE", "its manifest's versions.policy leaves it out")}
        with pytest.raises(ServeError, match=r"\[unload\] no model 'n'"):
            await h.keeper.unload("n")

    living(tmp_path, use)


def test_a_damaged_file_is_told_aloud_when_nobody_writes_to_it_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("fanal.serve"), "propagate", True)
    monkeypatch.setattr("fanal.serve.repository.keeper._FRESH_SECONDS", 0.5)
    file = models.adding(tmp_path / "m.fanal", 1.0)

    async def use(h: House) -> None:
        def errors() -> list[str]:
            return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]

        file.write_bytes(file.read_bytes()[:700])
        await h.keeper.look()
        assert not errors() and await h.ask() == 1
        (found,) = h.keeper.index()
        assert found["state"] == "READY" and "damaged" in found["reason"], "what answers is not what lies there"
        await asyncio.sleep(0.6)
        for _ in range(3):
            await h.keeper.look()
        (text,) = errors()
        assert "damaged" in text and await h.ask() == 1

    living(tmp_path, use)


def test_loading_and_unloading_on_request(tmp_path: Path) -> None:
    models.adding(tmp_path / "m.fanal", 1)
    (tmp_path / "bad.fanal").write_bytes(b"bad")

    async def use(h: House) -> None:
        assert not h.engine.ready  # one of its models does not answer
        with pytest.raises(ServeError, match="was not loaded"):
            await h.keeper.load("bad")
        await h.keeper.unload("bad")
        assert h.engine.ready
        (pid,) = h.pids
        await h.keeper.unload("m")
        await until(lambda: not Path(f"/proc/{pid}").exists())
        await h.keeper.look()
        with pytest.raises(ServeError):
            h.engine.find("m")
        assert [(m["name"], m["state"]) for m in h.keeper.index()] == [("bad", "UNAVAILABLE"), ("m", "UNAVAILABLE")]
        await h.keeper.load("m")
        assert await h.ask() == 1
        with pytest.raises(ServeError, match="no model 'other'"):
            await h.keeper.load("other")

    living(tmp_path, use)


def test_a_program_that_cannot_be_served(tmp_path: Path) -> None:
    (tmp_path / "m.fanal").write_bytes(b"\0" * 100)

    async def use(h: House) -> None:
        assert not h.engine.ready
        with pytest.raises(ServeError, match="no version that is ready") as caught:
            h.version()
        assert caught.value.status is Status.UNAVAILABLE
        assert h.keeper.index()[0]["state"] == "UNAVAILABLE" and "damaged" in h.keeper.index()[0]["reason"]

    living(tmp_path, use)


# -- workers that die ---------------------------------------------------------------------------------------


def test_a_killed_worker_loses_its_own_requests_and_is_replaced(tmp_path: Path, caplog: Any) -> None:
    logging.getLogger("fanal.serve").propagate = True
    models.slow(tmp_path / "slow.fanal", 1_000_000)
    models.adding(tmp_path / "m.fanal", 1)

    async def use(h: House) -> None:
        slow = h.version("slow")
        tickets = [slow.submit(slow.description.function(None), {"x": X}) for _ in range(6)]
        await asyncio.sleep(0.02)  # the first ones run now
        running = [t for t in tickets if t.running]
        others = asyncio.create_task(h.ask("m"))
        assert 0 < len(running) < 6
        os.kill(slow.executors[0].pid, signal.SIGKILL)
        for t in tickets:
            if t in running:
                with pytest.raises(ServeError, match="died") as caught:
                    await t
                assert caught.value.status is Status.UNAVAILABLE
                assert not h.engine.ready
            else:
                await t
        assert await others == 1
        await until(lambda: h.engine.ready)
        assert slow.statistics.restarts == 1

    living(tmp_path, use, max_batch=2, concurrency=4)


def test_a_worker_that_hangs_makes_the_server_unready(tmp_path: Path) -> None:
    models.adding(tmp_path / "m.fanal", 1)

    async def use(h: House) -> None:
        os.kill(h.pids[0], signal.SIGSTOP)
        await until(lambda: not h.engine.ready, 1.5)
        os.kill(h.pids[0], signal.SIGCONT)
        await until(lambda: h.engine.ready, 2)
        assert await h.ask() == 1

    living(tmp_path, use)


def test_a_batch_that_never_ends_costs_its_worker(tmp_path: Path) -> None:
    models.spinning(tmp_path / "m.fanal")

    async def use(h: House) -> None:
        version = h.version()
        function = version.description.function(None)
        ticket = version.submit(function, {"turns": np.array(1 << 50)})
        with pytest.raises(ServeError, match="died"):
            await ticket
        answer = await version.submit(function, {"turns": np.array(7)})
        assert answer.outputs["y"] == 7

    living(tmp_path, use, execution_timeout=0.5)


def test_a_program_that_takes_too_long_to_load(tmp_path: Path) -> None:
    models.slow(tmp_path / "m.fanal", 1 << 50)

    async def use(h: House) -> None:
        assert "longer than 1 s to load" in h.engine.models["m"].troubles[1].text

    living(tmp_path, use, load_timeout=1)


def test_whoever_is_killed_is_replaced(tmp_path: Path) -> None:
    """Nursery and mother too; a worker's successor has the same program."""
    models.adding(tmp_path / "m.fanal", 1)

    async def use(h: House) -> None:
        process = h.nursery._process
        assert process is not None
        crew = h.version().staff
        for pid in (process.pid, *crew.pids):
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not h.engine.ready)
        assert await h.ask() == 1  # it waits for the new worker
        await until(lambda: h.engine.ready)
        assert process.poll() is not None

    living(tmp_path, use)


def test_no_worker_is_left_to_the_first_process(tmp_path: Path) -> None:
    """In a container that is the server, which would never ask how they ended: each reload would leave a dead process."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(36, 1, 0, 0, 0) == 0  # as the first process, we get those whose parent is gone

    async def use(h: House) -> None:
        for number in (2.0, 3.0, 4.0):
            pids = h.pids
            models.adding(tmp_path / "m.fanal", number)
            await h.keeper.look()
            await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))  # noqa: B023
            assert await h.ask() == number

    models.adding(tmp_path / "m.fanal", 1.0)
    try:
        living(tmp_path, use)
    finally:
        libc.prctl(36, 0, 0, 0, 0)


def test_workers_share_requests_and_memory(tmp_path: Path) -> None:
    models.slow(tmp_path / "m.fanal", 50_000)

    async def use(h: House) -> None:
        first, second = h.version().executors
        version = h.version()
        tickets = [version.submit(version.description.function(None), {"x": X}) for _ in range(2)]
        await asyncio.sleep(0)
        assert not first.idle and not second.idle
        for t in tickets:
            await t
        pages = [dict(line.split(":") for line in Path(f"/proc/{w.pid}/smaps_rollup").read_text().splitlines()[1:]) for w in (first, second)]
        for page in pages:
            private, resident = (int(page[k].split()[0]) for k in ("Private_Dirty", "Rss"))
            assert private < resident / 2  # most is shared with the mother

    living(tmp_path, use, workers=2, max_batch=1)


def test_nobody_is_left_behind_when_the_server_dies(tmp_path: Path) -> None:
    """Also a worker in the middle of a batch leaves."""
    import subprocess
    import sys

    models.slow(tmp_path / "m.fanal", 3_000_000)
    program = """
import asyncio, sys
from pathlib import Path
from tests.serve.test_repository import X, house
async def main():
    async with house(Path(sys.argv[1])) as h:
        v = h.version()
        v.submit(v.description.function(None), {"x": X})
        await asyncio.sleep(0.05)
        print(h.nursery._process.pid, *v.staff.pids, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = process.stdout.readline().split()
        process.kill()
    assert len(pids) == 3

    async def gone() -> None:
        await until(lambda: not any(Path(f"/proc/{p}/cmdline").exists() and Path(f"/proc/{p}/cmdline").read_bytes() for p in pids), 5)

    asyncio.run(gone())
