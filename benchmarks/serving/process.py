"""A server's process: started, waited for, stopped while it is another's turn, weighed, ended with all its children."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers import environment
from benchmarks.peers.client import Failure, short
from benchmarks.serving.servers.server import Server, Setting
from benchmarks.serving.wire import Way

START_LIMIT = 120.0  # seconds
# Answers may differ in the last bits: other kernels, other order of sums.
TOLERANCE = 1e-4
_RAISED = re.compile(r"[\w.]+(Error|Exception|Failure|Timeout)\b")  # the last line of a traceback


class Memory(NamedTuple):
    """Of a process and its descendants, in MiB: `resident` counts shared pages once in each, `proportional` once."""

    resident: float
    proportional: float
    processes: int


class Process:
    """A running server; a context manager that ends it. `seconds`: from its start to its first answer of the model."""

    def __init__(self, server: Server, setting: Setting, cache: Path):
        self.server, self.setting = server, setting
        setting.scratch.mkdir(parents=True, exist_ok=True)
        command = server.command(setting)
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in end)
        self._stopped: list[int] = []
        start = time.perf_counter()
        self.process = subprocess.Popen(
            command.arguments, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True,
            cwd=setting.scratch, env={**environment.worker(1, cache), **command.environment},
        )  # fmt: skip
        try:
            self._wait()
        except BaseException:
            self.end()
            raise
        self.seconds = time.perf_counter() - start

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def _wait(self) -> None:
        """Until a request of the model is answered."""
        row = np.load(self.setting.folder / "inputs.npy")[0]
        until = time.monotonic() + START_LIMIT
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Failure(self._why())
            try:
                if self._get(self.server.ready.format(case=self.setting.case)) == 200:
                    self.ask(self.server.ways[0], row)
                    return
            except (OSError, http.client.HTTPException, Failure):
                pass
            time.sleep(0.02)
        raise Failure(short(f"not ready within {START_LIMIT:.0f} s; {self._last()}"))

    def _get(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.setting.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def ask(self, way: Way, row: np.ndarray) -> np.ndarray:
        """One request; its row of logits."""
        request = way.request(self.setting.case, row)
        connection = http.client.HTTPConnection("127.0.0.1", self.setting.port, timeout=30)
        try:
            connection.request("POST", request.path, request.body, request.headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise Failure(short(f"status {response.status}: {body.decode(errors='replace')}"))
        return way.answer({k.lower(): v for k, v in response.getheaders()}, body)

    def check(self, way: Way) -> float:
        """How far its answers are from Fanal's in eager mode, over all rows that are sent; Failure if they are others."""
        rows, wanted = (np.load(self.setting.folder / f"{name}.npy") for name in ("inputs", "answers"))
        found = np.stack([self.ask(way, row) for row in rows])
        apart = float(np.abs(found - wanted).max() / np.abs(wanted).max())
        if not apart <= TOLERANCE:
            raise Failure(f"wrong: answers are {apart:.1e} apart from Fanal's")
        return apart

    # -- turns ----------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Let it use no processor until `resume`."""
        self._stopped = self.tree()
        for pid in self._stopped:
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run."""
        for pid in reversed(self._stopped):
            _signal(pid, signal.SIGCONT)
        self._stopped = []

    def tree(self) -> list[int]:
        """It and its descendants."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    # The name may hold spaces and parentheses; after the last one come state and parent.
                    parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                except (OSError, IndexError):
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def memory(self) -> Memory:
        """Now."""
        pages = [p for p in map(_pages, self.tree()) if p is not None]
        return Memory(sum(p[0] for p in pages) / 1024, sum(p[1] for p in pages) / 1024, len(pages))

    def cpu(self) -> float:
        """Seconds of processors that it and its descendants have used so far."""
        total = 0
        for pid in self.tree():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Politely, then not."""
        self.resume()
        tree = self.tree()
        _signal(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        for pid in tree:
            _signal(pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def _why(self) -> str:
        code = self.process.wait()
        how = f"signal {-code}" if code < 0 else f"exit {code}"
        return short(f"ended at its start ({how}): {self._last()}")

    def _last(self) -> str:
        self.log.seek(0)
        lines = [line for line in self.log.read().decode(errors="replace").splitlines() if line.strip()]
        raised = [line for line in lines if _RAISED.match(line)]
        return (raised or lines or ["no output"])[-1].strip()


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _pages(pid: int) -> tuple[int, int] | None:
    """KiB resident and proportional."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    facts: dict[str, Any] = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return int(facts["Rss"].split()[0]), int(facts["Pss"].split()[0])
