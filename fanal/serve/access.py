"""Who may do what: one gate for all protocols, shut unless something opens it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from fanal.core.errors import message
from fanal.serve.errors import ServeError, Status
from fanal.serve.settings import LOOPBACK, Settings


class Right(Enum):
    """What an operation needs. Every route of every protocol names one."""

    HEALTH = "health"  # whether the server is there and ready: for load balancers, without a key
    USE = "use"  # infer, metadata, statistics
    METRICS = "metrics"
    ADMIN = "admin"  # load, unload


class Gate:
    """Decides whether a request may go on, by the key that it brings: `Authorization: Bearer KEY` or
    `X-API-Key: KEY`, in gRPC as metadata of the same names."""

    def __init__(self, settings: Settings):
        keys = _keys(settings.api_key_file, settings.api_keys.get_secret_value())
        admins = _keys(settings.admin_key_file, settings.admin_keys.get_secret_value())
        loopback = settings.host in LOOPBACK
        # Digests: no comparison takes longer the more of a key is right.
        self._users = {_digest(k) for k in (*keys, *admins)} if keys else None
        self._admins = {_digest(k) for k in admins} if admins else None
        self._open = loopback or settings.insecure
        self._admin_open = loopback

    def check(self, right: Right, key: str | None) -> None:
        """ServeError where the key does not allow it: 401 without a key or with one nobody knows, 403 with one
        that is for other things."""
        if right is Right.HEALTH:
            return
        wanted = self._admins if right is Right.ADMIN else self._users
        if wanted is None:
            if self._admin_open if right is Right.ADMIN else self._open:
                return
            raise ServeError(Status.DENIED, message("serve", f"no key allows {right.value} here"))
        if not key:
            raise ServeError(Status.UNAUTHENTICATED, message("serve", "a key is wanted", hint="the header Authorization: Bearer KEY"))
        given = _digest(key)
        if any(hmac.compare_digest(given, k) for k in wanted):
            return
        if right is Right.ADMIN and self._users and any(hmac.compare_digest(given, k) for k in self._users):
            raise ServeError(Status.DENIED, message("serve", "this key does not allow to load or unload models"))
        raise ServeError(Status.UNAUTHENTICATED, message("serve", "nobody knows this key"))


def key_of(authorization: str | None, api_key: str | None) -> str | None:
    """The key in a request's headers."""
    if authorization is not None:
        scheme, _, rest = authorization.partition(" ")
        return rest.strip() if scheme.lower() == "bearer" else None
    return api_key


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _keys(path: Path | None, text: str) -> list[str]:
    lines: Iterable[str] = [] if path is None else path.read_text().splitlines()
    found = [k.strip() for k in (*lines, *text.split(",")) if k.strip() and not k.lstrip().startswith("#")]
    if path is not None and not found:
        raise ValueError(message("serve", "a file of keys without keys", str(path), "one key a line"))
    return found
