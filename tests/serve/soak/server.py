"""`fanal serve` in a process of its own, and what can be seen of it and its children from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
START_LIMIT = 60.0  # seconds
SETTLE = 0.5  # seconds that the system may take to give pages back


class Server:
    """A running server; a context manager that ends it. Options as on the command line: `max_batch=1`."""

    def __init__(self, path: Path, folder: Path, wait: bool = True, **options: Any):
        self._ready_file = folder / "ready.json"
        self._ready_file.unlink(missing_ok=True)
        self.log = folder / "server.log"
        ports = {"http_port": 0, "grpc_port": "none", "metrics_port": "none", "poll": 0.2}
        arguments = [sys.executable, "-m", "fanal.cli", "serve", str(path), "--ready-file", str(self._ready_file)]
        for name, value in {**ports, **options}.items():
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        self.ports: dict[str, int] = {}
        if wait:
            try:
                self.wait_until_ready()
            except BaseException:
                self.kill()
                raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        """Of the REST listener."""
        return self.ports["http"]

    def wait_until_ready(self) -> None:
        """Until it says so."""
        until(lambda: self._ready_file.exists() or self.process.poll() is not None, START_LIMIT, "the server is not ready")
        assert self.process.poll() is None, self.log.read_text()
        self.ports = json.loads(self._ready_file.read_text())

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self, limit: float = 40.0) -> int:
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(limit)

    def kill(self) -> None:
        """At once, without its say."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def look(self) -> None:
        """Let it look at the repository now."""
        self.signal(signal.SIGHUP)

    # -- its processes --------------------------------------------------------------------------------

    def tree(self) -> dict[int, str]:
        """It and its descendants, with their names."""
        return descendants(self.pid)

    def workers(self, model: str) -> list[int]:
        """The processes that compute a model."""
        return [pid for pid, name in self.tree().items() if name == f"fanal:{model}"[:15]]

    def settle(self, model: str, processes: int) -> None:
        """Wait until a model has only so many processes; until then pages of others are not given back."""
        names = (f"fanal:{model}"[:15], f"fanal+{model}"[:15])
        until(lambda: sum(n in names for n in self.tree().values()) <= processes, 20, f"{model} still has its processes")
        time.sleep(SETTLE)

    def memory(self) -> float:
        """MiB of all its processes, pages that they share counted once."""
        return sum(_proportional(pid) for pid in self.tree()) / 1024


def descendants(pid: int) -> dict[int, str]:
    """A process and all that came from it, with their names."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if rest.split()[0] == "Z":
            continue
        names[int(entry.name)] = name
        children.setdefault(int(rest.split()[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return {one: names.get(one, "") for one in found}


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def until(true: Callable[[], Any], seconds: float, what: str) -> float:
    """Wait for something to be true; how long that took."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds, f"{what} after {seconds:g} s"
        time.sleep(0.005)
    return time.monotonic() - start
