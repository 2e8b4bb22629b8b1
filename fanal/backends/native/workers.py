"""Compiling many kernels at once: LLVM works on one at a time in a process, so others help.

Helpers are processes that run `codegen` alone (they are at work after a twentieth of a second), are
started for one batch and end with it: nothing lingers, forks inherit nothing, and a helper that dies
only leaves its kernel to this process, which compiles along. `FANAL_COMPILE_WORKERS` says how many
there may be (0: none); by default one for each processor beside the first, up to four.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import llvmlite

from fanal.backends.native import codegen, jit
from fanal.backends.native.runtime.threads import available_processors
from fanal.core.errors import message

_MOST = 4
# Characters of IR that a helper is worth being started for: about a tenth of a second's work.
_WORTH = 200_000

# A helper sees no site-packages and no environment of Python's, only the llvmlite that is in use here.
_START = (
    "import sys; sys.path.append(sys.argv.pop(1)); import runpy; "
    "runpy.run_path(sys.argv[1], run_name='__main__')"
)


def allowed() -> int:
    """How many helpers there may be."""
    wanted = os.environ.get("FANAL_COMPILE_WORKERS", "").strip()
    if wanted:
        if not wanted.isdecimal():
            raise ValueError(
                message("compile", "FANAL_COMPILE_WORKERS is no number", repr(wanted), "0 or more")
            )
        return int(wanted)
    return min(available_processors() - 1, _MOST)


class Job(NamedTuple):
    """A module's text, and what LLVM calls the processor that it is for."""

    name: str
    ir: str
    processor: tuple[str, str, str]


class Batch:
    """Texts on their way to object files. `done(name, object)` is called for each, in this thread.

    `add` them as they come, so that helpers begin; `finish` compiles along until all are there.
    """

    def __init__(self, done: Callable[[str, bytes], None]) -> None:
        self._done = done
        self._waiting: deque[Job] = deque()
        self._helped: deque[tuple[str, bytes]] = deque()
        self._changed = threading.Condition()
        self._pending = 0  # kernels that helpers have
        self._size = 0
        self._allowed = allowed()
        self._helpers: list[_Helper] = []

    def add(self, name: str, ir: str, processor: tuple[str, str, str] | None = None) -> None:
        """One more text to be compiled, for this process's processor or another one."""
        with self._changed:
            self._waiting.append(Job(name, ir, processor or jit.processor()))
            self._size += len(ir)
            self._changed.notify_all()
        if len(self._helpers) < min(self._allowed, self._size // _WORTH):
            try:
                self._helpers.append(_Helper(self))
            except OSError:  # no more processes, or no interpreter to be found: alone, then
                self._allowed = 0

    def finish(self) -> None:
        """Compile until nothing is left. Errors of LLVM are raised here, from this process's own try."""
        try:
            while (job := self._taken()) is not None:
                self._done(job.name, codegen.object_of(job.ir, *job.processor))
        finally:
            self.close()

    def close(self) -> None:
        """Let the helpers go, whatever they are at."""
        with self._changed:
            self._waiting.clear()
        for helper in self._helpers:
            helper.stop()
        self._helpers.clear()

    def _taken(self) -> Job | None:
        """The next text for this process; None when all is done."""
        while True:
            with self._changed:
                while not self._helped and not self._waiting and self._pending:
                    self._changed.wait()
                helped = list(self._helped)
                self._helped.clear()
                job = self._waiting.popleft() if self._waiting and not helped else None
            for name, made in helped:
                self._done(name, made)
            if job is not None or not helped:
                return job

    # -- for helpers' threads --------------------------------------------------------------------------

    def take(self, helper: _Helper) -> Job | None:
        """The next text for a helper; None when it is no longer wanted."""
        with self._changed:
            while not self._waiting and not helper.stopped:
                self._changed.wait()
            if helper.stopped:
                return None
            self._pending += 1
            return self._waiting.popleft()

    def give(self, job: Job, made: bytes | None) -> None:
        """What became of a text; None: this process is to try."""
        with self._changed:
            self._pending -= 1
            if made is None:
                self._waiting.append(job)
            else:
                self._helped.append((job.name, made))
            self._changed.notify_all()


class _Helper:
    """One process, and the thread that talks to it."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.stopped = False
        folder = str(Path(llvmlite.__file__).parent.parent)
        command = [sys.executable, "-I", "-S", "-c", _START, folder, codegen.__file__]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=self._talk, name="fanal-compile", daemon=True).start()

    def stop(self) -> None:
        """Let it go: nobody waits for what it is at."""
        with self.batch._changed:
            self.stopped = True
            self.batch._changed.notify_all()

    def _talk(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        while (job := self.batch.take(self)) is not None:
            made = self._compiled(job)
            self.batch.give(job, made)
            if made is None:
                break
        self.process.kill()
        self.process.communicate()

    def _compiled(self, job: Job) -> bytes | None:
        """The helper's object; None if it died or LLVM refused the text."""
        assert self.process.stdin is not None and self.process.stdout is not None
        parts: Sequence[str] = (job.ir, *job.processor)
        try:
            codegen.send(self.process.stdin, [], [part.encode() for part in parts])
            answer = codegen.receive(self.process.stdout, 1, 1)
        except (OSError, ValueError):
            return None
        return None if answer is None or answer[0] != [1] else answer[1][0]
