"""The coordinator's side of a worker: start it, ask it, stop it while others have their turn.

Whatever goes wrong with the process (it dies, hangs, prints nonsense) becomes a `Failure` with a
reason that a person can read; the study goes on with the others.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import environment

BUILD_LIMIT, TURN_LIMIT = 900.0, 300.0  # seconds


@dataclass(frozen=True)
class Setting:
    """What is the same for all workers of a case."""

    threads: int
    priority: bool = False  # over other programs on the machine
    passive: bool = False  # threads sleep while they wait


class Failure(Exception):
    """Why a peer has no result here."""


class Client:
    """A running worker; a context manager that ends it."""

    def __init__(
        self, peer: str, case: str, measure: str, folder: Path, cache: Path, setting: Setting
    ):
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        threads = setting.threads
        command = [
            sys.executable, "-m", "benchmarks.peers.worker", peer, case, measure,
            "--threads", str(threads), "--folder", str(folder), "--cache", str(cache),
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            cwd=environment.ROOT, env=environment.worker(threads, cache, setting.passive),
            start_new_session=True,
        )  # fmt: skip
        self.stopped = False
        if setting.priority:
            environment.favour(self.process.pid)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def end(self) -> None:
        """Once and for all; may be called again."""
        self.resume()
        # Compilers may have started helpers of their own: the whole group, which is ours, goes.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()

    def build(self) -> dict[str, Any]:
        """Import, make, first step."""
        return self.ask(BUILD_LIMIT, do="build")

    def ask(self, limit: float = TURN_LIMIT, **request: Any) -> dict[str, Any]:
        """One request and its answer; between requests the process may be stopped."""
        self.resume()
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise Failure(self._why("died")) from None
        line = self._line(limit)
        try:
            answer = json.loads(line)
        except ValueError:
            raise Failure(short(f"answered {line!r}")) from None
        if "failed" in answer:
            raise Failure(short(answer["failed"]))
        return answer

    def pause(self) -> None:
        """Let it use no processor until it is asked again."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGSTOP)
            self.stopped = True

    def resume(self) -> None:
        """Let it run."""
        if self.stopped and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGCONT)
        self.stopped = False

    def _line(self, limit: float) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(limit):
                raise Failure(f"no answer within {limit:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise Failure(self._why("died"))
        return line

    def _why(self, what: str) -> str:
        code = self.process.wait()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        how = f"signal {-code}" if code < 0 else f"exit {code}"
        return short(f"{what} ({how}): {lines[-1] if lines else 'no output'}")


def short(text: str, limit: int = 200) -> str:
    """One line of it, without the names of our own folders."""
    text = " ".join(text.replace(f"{environment.ROOT}/", "").split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
