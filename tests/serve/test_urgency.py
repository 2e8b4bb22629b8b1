"""Loading gives way to requests, and is not starved by them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fanal.serve.workers import urgency
from tests.serve import models
from tests.serve.test_repository import House, living


@contextmanager
def busy_processors() -> Iterator[None]:
    """Each processor has two others to serve."""
    count = 2 * len(os.sched_getaffinity(0))
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def test_who_works_does_not_starve_and_who_waits_does() -> None:
    end, waiting = time.monotonic() + 1.2, threading.Event()

    def work() -> None:
        while time.monotonic() < end:
            pass

    for body, starved in ((work, False), (waiting.wait, True)):
        thread = threading.Thread(target=body)
        thread.start()
        found = urgency.starves(thread)
        waiting.set()
        thread.join()
        assert found is starved
        waiting.clear()


@pytest.mark.parametrize("allowed", [True, False])
def test_a_load_among_busy_processes_comes_to_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool) -> None:
    """Where a thread may not become less idle, the load begins anew."""
    models.adding(tmp_path / "m.fanal", 1)
    if not allowed:
        # The nursery and its children are started anew with this environment.
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(
            "import os\n"
            "set_policy = os.sched_setscheduler\n"
            "def refuse(pid, policy, parameters):\n"
            "    if policy != os.SCHED_IDLE:\n"
            "        raise PermissionError\n"
            "    set_policy(pid, policy, parameters)\n"
            "os.sched_setscheduler = refuse\n"
        )
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))

    async def use(h: House) -> None:
        assert await h.ask() == 1
        with busy_processors():
            models.network(tmp_path / "n.fanal")
            models.adding(tmp_path / "m.fanal", 2)
            await h.keeper.look()
            assert await h.ask() == 2
            assert h.engine.models["n"].versions

    living(tmp_path, use, load_timeout=60)
