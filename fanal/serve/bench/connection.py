"""One connection of the load: it has one request under way at most, and tells how that ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

SUCCESS = ""


class Owner(Protocol):
    """Who is told."""

    def opened(self, connection: Connection) -> None:
        """It can take a request."""

    def answered(self, connection: Connection, status: str, again: bool, text: bytes = b"") -> None:
        """A request ended: SUCCESS, or the status that it was refused with. `again`: whether it takes another.
        `text`: what was said of it, where its protocol lets that be found without much ado."""

    def lost(self, connection: Connection, error: str, busy: bool) -> None:
        """It is gone; `busy`: with a request under way."""


class Connection(asyncio.Protocol):
    """What both protocols share. `requests`: bytes that are sent one after another, and from the start again."""

    def __init__(self, requests: Sequence[bytes], owner: Owner):
        self.due = 0.0
        self._requests, self._owner = requests, owner
        self._next = 0
        self._transport: Any = None
        self._busy = self._closed = False

    def send(self, due: float) -> None:
        """Send the next request; it was due at this time."""
        self.due = due
        self._busy = True
        i = self._next
        self._next = i + 1 if i + 1 < len(self._requests) else 0
        self._start(self._requests[i])

    def close(self) -> None:
        """Be gone without telling anybody."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._owner.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closed:
            self._closed = True
            self._owner.lost(self, type(error).__name__ if error else "connection closed", self._busy)

    def _start(self, request: bytes) -> None:
        raise NotImplementedError

    def _end(self, status: str, again: bool = True, text: bytes = b"") -> None:
        self._busy = False
        self._owner.answered(self, status, again, text)

    def _break(self, error: str) -> None:
        """The server said something that is not the protocol."""
        self._closed = True
        self._transport.abort()
        self._owner.lost(self, error, self._busy)


Maker = Callable[[Owner], Connection]
