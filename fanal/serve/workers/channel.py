"""Messages between the server and its processes: small JSON records over sockets that keep their bounds, and
open files that go with them. Tensors don't travel here; they lie in memory that both ends have mapped (`block`)."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

_LARGEST = 1 << 16
_FILES = 4


class Ended(Exception):
    """The other end is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a new channel."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, record: dict[str, Any], files: Sequence[int] = ()) -> None:
    """Send a record, and descriptors of files that go with it; `Ended` if nobody is there."""
    data = json.dumps(record, separators=(",", ":")).encode()
    try:
        if files:
            socket.send_fds(end, [data], list(files))
        else:
            end.send(data)
    except OSError as why:
        raise Ended(str(why)) from None


def receive(end: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next record and its files (which then belong to the caller); `Ended` if there will be none."""
    data, files, _, _ = _read(lambda: socket.recv_fds(end, _LARGEST, _FILES))
    return _record(data), files


def receive_plain(end: socket.socket) -> dict[str, Any]:
    """The next record where none has files: quicker."""
    return _record(_read(lambda: end.recv(_LARGEST)))


def _read(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except BlockingIOError:
        raise
    except OSError as why:
        raise Ended(str(why)) from None


def _record(data: bytes) -> dict[str, Any]:
    if not data:
        raise Ended("the other end was closed")
    found: dict[str, Any] = json.loads(data)
    return found


def text_file(text: str) -> int:
    """A text of any length as a file in memory."""
    descriptor = os.memfd_create("fanal-text", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as file:
        file.write(text)
    return descriptor


def text_of(descriptor: int) -> str:
    """What such a file says; closes it."""
    with os.fdopen(descriptor, "r", encoding="utf-8") as file:
        file.seek(0)
        return file.read()
