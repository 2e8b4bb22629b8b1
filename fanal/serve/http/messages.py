"""A request that has come whole, and what answers it."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import orjson

from fanal.serve.errors import ServeError
from fanal.serve.flow.ticket import Answer, Ticket

JSON = b"content-type: application/json\r\n"
_LONGEST = 2000  # characters of an error's text
HTML = b"content-type: text/html; charset=utf-8\r\n"


class Request:
    """One request. Names of headers are in lower case; `names`: what its path says in the places of the
    route's template. `body` is still as it was sent, perhaps compressed."""

    __slots__ = ("body", "headers", "method", "names", "target")

    def __init__(self, method: str, target: bytes, headers: dict[bytes, bytes]):
        self.method, self.target, self.headers = method, target, headers
        self.names: dict[str, str] = {}
        self.body: bytes | bytearray = b""

    def replace(self, body: bytes | bytearray) -> None:
        """Take another body for it, which is what its sender had compressed."""
        self.body = body

    def header(self, name: bytes) -> str | None:
        """A header's value, as text."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def query(self) -> dict[str, list[str]]:
        """What stands after the question mark."""
        _, _, text = self.target.partition(b"?")
        return parse_qs(text.decode("latin-1"), keep_blank_values=True)


class Response(NamedTuple):
    """`headers`: whole lines, but for Content-Length, Date and Connection, which the connection writes."""

    status: int
    body: bytes = b""
    headers: bytes = JSON


class Later(NamedTuple):
    """A request that waits for its answer from a model; `finish` makes the response, as text or not."""

    ticket: Ticket
    finish: Callable[[Answer], Response]
    text: bool = False


# What handlers return. Coroutines are for what is rare and takes long, such as loading a model.
Reply = Response | Later | Coroutine[Any, Any, Response | Later]
Handler = Callable[[Request], Reply]


def as_json(value: Any, status: int = 200) -> Response:
    """A response of plain data."""
    return Response(status, orjson.dumps(value))


def refusal(error: ServeError, headers: bytes = b"") -> Response:
    """What both protocols say of an error: {"error": text}. Clients that may try again are told when."""
    if error.retry_after is not None:
        headers += b"retry-after: %d\r\n" % max(1, math.ceil(error.retry_after))
    text = error.text
    if len(text) > _LONGEST:  # it may repeat what was sent
        text = text[:_LONGEST] + "…"
    return Response(error.status.http, orjson.dumps({"error": text}), JSON + headers)


def _line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Client Closed Request"
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_LINES = {n: _line(n) for n in (*(int(s) for s in HTTPStatus), 499)}


def head(response: Response, date: bytes, length: int, close: bool) -> bytes:
    """A response's head as bytes."""
    last = b"connection: close\r\n\r\n" if close else b"\r\n"
    return b"%b%b%bcontent-length: %d\r\n%b" % (
        _LINES[response.status], date, response.headers, length, last,
    )  # fmt: skip
