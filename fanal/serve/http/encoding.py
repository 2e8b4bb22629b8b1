"""Bodies that are compressed on the way: gzip and deflate (zlib), both ways."""

from __future__ import annotations

import asyncio
import gzip
import zlib

from fanal.core.errors import message
from fanal.serve.errors import ServeError, Status, invalid
from fanal.serve.http.messages import Request, Response

_ZLIB = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib's wbits
# A smaller body does not become fewer packets; on a fast network the least effort is the best.
_WORTH, _EFFORT = 1024, 1
# Sizes of bodies, as they come and as they go, whose coding would keep others waiting for more than some
# milliseconds: it is done in a thread, beside the event loop, for zlib lets go of the interpreter's lock.
_LONG_IN, _LONG_OUT = 4 << 10, 128 << 10


def inflate(request: Request, limit: int) -> None:
    """Have a request's body as it was before its sender compressed it: at most `limit` bytes, whatever is sent."""
    value = request.headers.pop(b"content-encoding", None)
    if value is not None:
        request.replace(_inflated(request.body, value, limit))


def _inflated(body: bytes | bytearray, value: bytes, limit: int) -> bytes | bytearray:
    codings = [c.strip().lower() for c in value.decode("latin-1").split(",")]
    if len(codings) > 2:
        raise invalid("Content-Encoding: too many codings", len(codings), "one")
    for coding in reversed(codings):
        if coding in ("identity", ""):
            continue
        if coding not in _ZLIB:
            text = message("infer", "Content-Encoding is unknown", repr(coding[:40]), "gzip, deflate or identity")
            raise ServeError(Status.UNSUPPORTED_MEDIA, text)
        body = _inflate(body, coding, limit)
    return body


def inflates_long(request: Request) -> bool:
    """Whether `inflate` may take long."""
    return len(request.body) > _LONG_IN and b"content-encoding" in request.headers


async def inflate_apart(request: Request, limit: int) -> None:
    """The same in a thread."""
    value = request.headers.pop(b"content-encoding")
    request.replace(await asyncio.get_running_loop().run_in_executor(None, _inflated, request.body, value, limit))


def _inflate(data: bytes | bytearray, coding: str, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit
    while True:
        stream = zlib.decompressobj(_ZLIB[coding])
        try:
            part = stream.decompress(data, room + 1)
        except zlib.error:
            raise invalid(f"the body is no {coding} data, though Content-Encoding says so") from None
        room -= len(part)
        if room < 0:
            raise ServeError(Status.TOO_LARGE, message("infer", f"the body is more than {limit} bytes when it is inflated"))
        parts.append(part)
        if not stream.eof:
            raise invalid(f"the {coding} data of the body is cut off")
        data = stream.unused_data
        if not data:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        if coding == "deflate" or len(parts) >= 1024:  # gzip may have members, one after another
            raise invalid(f"something follows the {coding} data of the body")


def deflates_long(request: Request, response: Response) -> bool:
    """Whether `deflated` may take long."""
    return len(response.body) > _LONG_OUT and b"accept-encoding" in request.headers


def deflated(request: Request, response: Response) -> Response:
    """A response as its receiver wants it."""
    wanted = request.headers.get(b"accept-encoding")
    if wanted is None or len(response.body) < _WORTH:
        return response
    coding = _preferred(wanted.decode("latin-1"))
    if coding is None:
        return response
    pack = gzip.compress if coding == "gzip" else zlib.compress
    headers = response.headers + b"content-encoding: %b\r\nvary: accept-encoding\r\n" % coding.encode()
    return Response(response.status, pack(response.body, _EFFORT), headers)


def _preferred(text: str) -> str | None:
    """gzip or deflate, by what the header says of them; None: neither is wanted."""
    weights: dict[str, float] = {}
    for item in text.lower().split(","):
        name, _, parameter = item.partition(";")
        key, _, value = parameter.partition("=")
        try:
            weights[name.strip()] = float(value) if key.strip() == "q" else 1.0
        except ValueError:
            weights[name.strip()] = 0.0
    other = weights.get("*", 0.0)
    best = max(("gzip", "deflate"), key=lambda c: weights.get(c, other))
    return best if weights.get(best, other) > 0 else None
