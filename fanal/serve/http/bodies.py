"""How many bytes of bodies are held for the requests of all connections together, and the most that may be."""

from __future__ import annotations

from fanal.core.errors import message
from fanal.serve.errors import ServeError, Status


class Bodies:
    """Of one listener. Bytes count from when they come, not from when they are announced, so nobody can keep room that
    is not used; until their request ends, however it does."""

    __slots__ = ("held", "most")

    def __init__(self, most: int):
        self.most = most  # 0: as many as come
        self.held = 0

    def check(self, more: int) -> None:
        """ServeError where that many could not be held beside what is."""
        if self.most and self.held + more > self.most:
            text = message("serve", "there is no room for this body beside those of other requests", None, f"at most {self.most} bytes together")
            raise ServeError(Status.UNAVAILABLE, text, 1.0)


class Share:
    """What one request holds of them."""

    __slots__ = ("_bodies", "_bytes", "_over")

    def __init__(self, bodies: Bodies):
        self._bodies, self._bytes, self._over = bodies, 0, False

    def add(self, count: int) -> None:
        """Hold more, or less; once it was dropped, nothing."""
        if self._over:
            return
        bodies = self._bodies
        if count > 0 and bodies.most:
            bodies.check(count)
        bodies.held += count
        self._bytes += count

    def drop(self) -> None:
        """Hold nothing any more."""
        self._bodies.held -= self._bytes
        self._bytes, self._over = 0, True
