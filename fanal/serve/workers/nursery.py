"""The process that all others come from: it has everything imported, and nothing else.

    server ── nursery ── a mother for each version of a model ── its workers

A mother loads a program, compiles and warms it up, and then forks workers, which so share its memory, weights
as they were packed included, and are there at once: also when one has died. Requests go from the server straight
to workers. When the server ends, for whatever reason, its ends of all sockets are closed, and everybody leaves.

Forks are safe here: nursery and mothers have no threads when they fork, but the runtime's own, which start anew
in a child. Only the server's process talks to the world.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from typing import Any

from fanal.serve.workers import channel

_SET_CHILD_SUBREAPER = 36  # of Linux' prctl


class Family:
    """A process that forks others on request, and says when one has ended."""

    def __init__(self, end: socket.socket, born: Callable[[dict[str, Any], list[int]], None]):
        self._end, self._born = end, born

    def run(self) -> None:
        """Until the other end is gone."""
        woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # a collection in a child would copy all pages otherwise
        try:
            while True:
                ready, _, _ = select.select([self._end.fileno(), woken], [], [])
                if woken in ready:
                    os.read(woken, 4096)
                    self._reap()
                if self._end.fileno() in ready:
                    record, files = channel.receive(self._end)
                    self._fork(record, files, (woken, wakes))
        except channel.Ended:
            pass

    def _fork(self, record: dict[str, Any], files: list[int], mine: tuple[int, ...]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads; see above
            child = os.fork()
        if child:
            for f in files:
                os.close(f)
            channel.send(self._end, {"kind": "born", "id": record["id"], "pid": child})
            return
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for f in mine:
                os.close(f)
            self._end.close()
            self._born(record, files)
            code = 0
        except channel.Ended:
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if child == 0:
                return
            channel.send(self._end, {"kind": "ended", "pid": child, "status": os.waitstatus_to_exitcode(status)})


def called(name: str) -> None:
    """What this process is called in lists of processes."""
    try:
        with open("/proc/self/comm", "w") as file:
            file.write(name[:15])
    except OSError:
        pass


def _adopts() -> None:
    """Take in those whose parent is gone: workers may outlive their mother by a moment. They would go to the first
    process of all, which in a container may be the server itself, and nobody would ask how they ended."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main() -> None:
    # A terminal sends Ctrl-C, and a service manager SIGTERM, to all processes of a group: what is to happen then is
    # the server's to decide, which lets us go by closing its ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    called("fanal-nursery")
    _adopts()
    from fanal.serve.workers import mother

    mother.prepare()
    end = socket.socket(fileno=int(sys.argv[1]))
    Family(end, mother.main).run()


if __name__ == "__main__":
    main()
