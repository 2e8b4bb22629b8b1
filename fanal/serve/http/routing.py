"""Which request goes where: a table of routes, and one gate before all of them.

A route names the right that it needs; there is no way past the gate to a handler, and a path that no route
knows is refused to those who may not use the server, so that they can't find out what is there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

import httptools

from fanal.core.errors import message, nearest
from fanal.serve.access import Gate, Right, key_of
from fanal.serve.errors import ServeError, Status
from fanal.serve.http.messages import Handler, Request, Response, refusal
from fanal.serve.names import NAME, NUMBER

_HINT_SECONDS = 0.02
_REMEMBERED = 1024  # targets whose routes are known without looking


@dataclass(frozen=True)
class Operation:
    """What the OpenAPI document says of a route. `answer`, `body`: names of its schemas, or of a content type if
    there is a slash in it; `answers`: those of other statuses that are no errors."""

    tag: str
    summary: str
    answer: str
    body: str | None = None
    body_needed: bool = True
    answers: Mapping[int, str] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True)
class Route:
    """One operation. `path`: as `/v2/models/{model}/infer`; a place in braces matches one segment of a path, or
    what comes before a colon in it. `work`: it runs a model, so it isn't begun while the server drains.
    `operation`: what the OpenAPI document says of it; None: it is not in there. `packed`: its answers may be compressed."""

    method: str
    path: str
    right: Right
    handler: Handler
    work: bool = False
    operation: Operation | None = None
    packed: bool = False


class Found:
    """Routes of a path by method, and what the path says."""

    __slots__ = ("names", "routes")

    def __init__(self, routes: dict[str, Route], names: dict[str, str]):
        self.routes, self.names = routes, names


class Router:
    """Finds the route of a request, and lets through what the gate allows."""

    def __init__(self, routes: Iterable[Route], gate: Gate):
        self.routes = tuple(routes)
        self._gate = gate
        self._templates: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for r in self.routes:
            _, methods = self._templates.setdefault(r.path, (_pattern(r.path), {}))
            methods[r.method] = r
        self._known: dict[bytes, Found] = {}
        self._hint_at = 0.0

    def admit(self, request: Request) -> Route:
        """The route of a request that may go on; ServeError: why it may not."""
        target = request.target
        found = self._known.get(target)
        if found is None:
            try:
                found = self._find(target)
            except ServeError:
                self._check(Right.USE, request)
                raise
            if found is None:
                self._check(Right.USE, request)
                raise self._nothing(target)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[target] = found
        route = found.routes.get(request.method)
        if route is None:
            if request.method == "HEAD" and "GET" in found.routes:
                route = found.routes["GET"]
            else:
                self._check(next(iter(found.routes.values())).right, request)
                raise NotAllowed(request.method, list(found.routes))
        self._check(route.right, request)
        request.names = found.names
        return route

    def _check(self, right: Right, request: Request) -> None:
        headers = request.headers
        if right is Right.ADMIN and b"origin" in headers:
            # Pages in a browser on this machine can reach loopback; they say where they come from.
            raise ServeError(Status.DENIED, message("serve", "web pages may not load or unload models"))
        key = None
        if right is not Right.HEALTH:
            key = key_of(request.header(b"authorization"), request.header(b"x-api-key"))
        self._gate.check(right, key)

    def _find(self, target: bytes) -> Found | None:
        path = _path(target)
        for pattern, methods in self._templates.values():
            match = pattern.fullmatch(path)
            if match is not None:
                return Found(methods, {k: _name(k, v) for k, v in match.groupdict().items()})
        return None

    def _nothing(self, target: bytes) -> ServeError:
        """That there is nothing at a path, and what may be meant: to look for that takes a millisecond, so whoever asks
        for thousands of such paths isn't told of all."""
        path, now = _path(target), time.monotonic()
        meant = ""
        if len(path) <= 200 and now >= self._hint_at:
            meant = ", ".join(nearest(path, self._templates))
            self._hint_at = now + _HINT_SECONDS
        return ServeError(Status.NOT_FOUND, message("serve", f"nothing is at {path[:200]!r}", None, "", meant))


class NotAllowed(ServeError):
    """The path is right, the method is not."""

    def __init__(self, method: str, there: Sequence[str]):
        allowed = [*there, "HEAD"] if "GET" in there else list(there)
        self.allow = ", ".join(allowed)
        super().__init__(
            Status.NOT_ALLOWED, message("serve", "this path has no such method", method, self.allow)
        )


def refused(error: ServeError) -> Response:
    """What is answered to a request that was refused, with the headers that HTTP wants then."""
    if isinstance(error, NotAllowed):
        return refusal(error, b"allow: %b\r\n" % error.allow.encode())
    if error.status is Status.UNAUTHENTICATED:
        return refusal(error, b"www-authenticate: Bearer\r\n")
    return refusal(error)


def _path(target: bytes) -> str:
    """The path of a target, still percent-encoded, without the slash at its end."""
    path, _, _ = target.partition(b"?")
    if not path.startswith(b"/"):  # http://host/path, as for proxies; also * and host:port
        try:
            path = httptools.parse_url(path).path or b"/"
        except httptools.HttpParserInvalidURLError:
            raise ServeError(Status.INVALID, message("serve", "the request names no path")) from None
    text = path.decode("latin-1")
    return text.rstrip("/") or "/"


_COLON = "(?::|%3[Aa])"


def _pattern(path: str) -> re.Pattern[str]:
    """A template as a pattern of encoded paths. Names end at a slash or at a colon, encoded or not."""
    parts = re.split(r"(\{\w+\}|:)", path)
    text = ""
    for part in parts:
        if part.startswith("{"):
            text += rf"(?P<{part[1:-1]}>(?:(?!{_COLON})[^/])*)"
        elif part == ":":
            text += _COLON
        else:
            text += re.escape(part)
    return re.compile(text)


def _name(kind: str, encoded: str) -> str:
    """A decoded name, if it is one."""
    text = unquote_to_bytes(encoded).decode("utf-8", "replace") if "%" in encoded else encoded
    if kind == "version":
        if NUMBER.fullmatch(text) is None:
            raise ServeError(Status.INVALID, message("serve", "a version is a number", repr(text[:40]), "digits"))
    elif NAME.fullmatch(text) is None:
        raise ServeError(
            Status.INVALID,
            message("serve", f"no name of a {kind}", repr(text[:140]), "letters, digits, '_', '.' and '-', 128 at most"),
        )
    return text
