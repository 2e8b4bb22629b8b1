"""A connection: uvicorn's protocol on httptools, with what it lacks for a server that strangers can reach.

Of uvicorn (`HttpToolsProtocol`, its internal interface) this relies on: the parser that `__init__` makes, which
calls the `on_…` methods here; the set `server_state.connections` that `connection_made` and `connection_lost`
keep; `flow` (pausing and resuming); `client`. It replaces uvicorn's cycle of one ASGI task for each request:
requests here come whole and are answered whole (answering.py). What that adds:

- limits: of the head (431), of the body (413, before it is read where its length is known), of time for the
  head, the body, and for taking the answer (408, or the end);
- refusals before a body is read: no right, no such path; `Expect: 100-continue` then saves sending it;
- a client that is gone takes its ticket with it;
- errors of HTTP itself answered in the protocols' own form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

from fanal.core.errors import message
from fanal.serve.errors import ServeError, Status
from fanal.serve.http.answering import NEVER, Answering, Incoming, Phase, internal, log
from fanal.serve.http.messages import refusal

if TYPE_CHECKING:
    from fanal.serve.http.server import HttpServer

# Of a refused request that has a body so much is read and dropped, so that its sender gets to read the answer
# and the connection goes on; beyond that the connection ends.
_DROPPED = 64 << 10
_SLICE = 32 << 10  # bytes that are looked at before others get their turn
_JOINED = 512 << 10  # bytes of a body from which on it is kept in one piece
_QUEUED = 16  # requests that a client may send ahead before its connection is not read from


class Connection(Answering):
    """One client's connection: what comes in."""

    def __init__(self, server: HttpServer):
        super().__init__(server)
        self._head: dict[bytes, bytes] = {}
        self._again = 0  # bytes of headers whose names had come before
        self._hosts = 0  # how many of them are Host
        self._got = 0  # bytes of a head or of a body's framing
        self._part = 0  # bytes of what came last
        self._coming = False  # what is held is looked at in a moment

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        if self.held:
            self.held += data
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        """Take some of what has come now and the rest in a moment: it may be thousands of requests."""
        if len(data) <= _SLICE:
            self._take(data)
            return
        self._take(data[:_SLICE])
        if not self.deaf:
            self.held = data[_SLICE:]
            self.flow.pause_reading()
            self.more_soon()

    def more_soon(self) -> None:
        if not self._coming and len(self.waiting) < _QUEUED:
            self._coming = True
            self.loop.call_soon(self._more)

    def _more(self) -> None:
        self._coming = False
        data, self.held = self.held, b""
        if self.deaf or self.transport.is_closing():
            return
        self._feed(data)
        if not self.held and len(self.waiting) < _QUEUED:
            self.flow.resume_reading()

    def _take(self, data: bytes) -> None:
        self._part = len(data)
        self._got += self._part
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Another protocol is offered (curl offers HTTP/2), which need not be taken.
            rest = data[upgrade.args[0] :]
            if rest:
                self._take(rest)
            return
        except httptools.HttpParserCallbackError as error:
            log.error("a request could not be read", exc_info=error.__context__ or error)
            self.last(refusal(internal()))
            return
        except httptools.HttpParserError as error:
            text = message("serve", "this is no HTTP request", str(error)[:100])
            self.last(refusal(ServeError(Status.INVALID, text)))
            return
        if self._got > self.listener.settings.max_header:
            self._look()

    def _look(self) -> None:
        """Much has come that is neither a head that has ended nor a body."""
        limit = self.listener.settings.max_header
        if self.heading:
            self.last(refusal(_long(limit)))
        elif self.reading is not None and self._got > limit + 8 * self.reading.size:
            text = message("serve", "the body's chunks are more frame than body")
            self.last(refusal(ServeError(Status.INVALID, text)))

    def on_message_begin(self) -> None:
        self.url = b""
        self._head = {}
        self._again = self._hosts = 0
        self.heading = True
        if self.phase is Phase.IDLE:
            self.phase = Phase.HEAD
            self.due = self.loop.time() + self.listener.settings.header_timeout

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.heading:
            return  # a trailer: what comes after a body changes nothing of what was decided before it
        name = name.lower()
        head = self._head
        if name not in head:
            head[name] = value
            return
        self._again += len(name) + len(value) + 4
        if name == b"host":
            self._hosts += 1
        elif self._again <= self.listener.settings.max_header:  # it is refused anyway
            head[name] += b", " + value

    def on_headers_complete(self) -> None:
        self.heading = False
        if self.deaf:
            return
        parser, headers = self.parser, self._head
        version = parser.get_http_version()
        request = Incoming(
            parser.get_method().decode("ascii"), self.url, headers,
            version != "1.1" or not parser.should_keep_alive(), self.listener.bodies,
        )  # fmt: skip
        self.reading = request
        try:
            self._judge(request, version)
        except ServeError as error:
            request.error = error
        self._got = 0
        length = headers.get(b"content-length")
        if length is None and b"transfer-encoding" not in headers:
            return  # there is no body
        if self.working is None:
            self.phase = Phase.BODY
            self.due = self.loop.time() + self.listener.settings.body_timeout
        request.expects = version == "1.1" and headers.get(b"expect", b"").lower() == b"100-continue"
        if request.error is not None:
            if length is None or int(length) > _DROPPED or request.expects or parser.should_upgrade():
                self.refuse(request)
        elif request.expects and self.working is None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _head_size(self) -> int:
        head = self._head
        return len(self.url) + sum(map(len, head)) + sum(map(len, head.values())) + 4 * len(head) + self._again

    def _judge(self, request: Incoming, version: str) -> None:
        """Whether a request may go on to its body; ServeError if not."""
        headers, settings = request.headers, self.listener.settings
        length = headers.get(b"content-length")
        broken = None
        # What came with the head is part of these numbers: only a sum that is too large says nothing yet.
        if self._part + self._got > settings.max_header and self._head_size() > settings.max_header:
            broken = _long(settings.max_header)
        elif version != "1.1" and version != "1.0":
            broken = ServeError(Status.INVALID, message("serve", "this is no version of HTTP that is spoken here", version, "1.1"))
        elif version == "1.1" and b"host" not in headers:
            broken = ServeError(Status.INVALID, message("serve", "the header Host is missing"))
        elif self._hosts:
            broken = ServeError(Status.INVALID, message("serve", "the header Host is there twice"))
        elif headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            got = repr(headers[b"transfer-encoding"].decode("latin-1")[:40])
            broken = ServeError(Status.INVALID, message("serve", "Transfer-Encoding is none that is read here", got, "chunked"))
        elif self.parser.should_upgrade() and (length is not None or b"transfer-encoding" in headers):
            text = message("serve", "a request with a body can't upgrade the connection")
            broken = ServeError(Status.INVALID, text)
        if broken is not None:
            request.close = True
            raise broken
        route = self.listener.router.admit(request)
        if length is not None and int(length) > settings.max_body:
            raise _large(settings.max_body)
        if length is not None:
            self.listener.bodies.check(int(length))
        if self.late and route.work:
            request.close = True
            raise ServeError(Status.UNAVAILABLE, message("serve", "the server is about to end"), 1.0)
        request.route = route

    def on_body(self, body: bytes) -> None:
        request = self.reading
        if request is None or self.deaf:
            return
        self._got -= len(body)
        request.size += len(body)
        if request.error is not None:
            if request.size > _DROPPED:
                self.refuse(request)
        elif request.size > self.listener.settings.max_body:
            request.error = _large(self.listener.settings.max_body)
            self.refuse(request)
        else:
            try:
                request.share.add(len(body))
            except ServeError as error:
                request.error = error
                self.refuse(request)
                return
            parts = request.parts
            if request.size <= _JOINED:
                parts.append(body)
            elif parts and type(parts[0]) is bytearray:
                parts[0] += body  # as it comes: to join many megabytes at the end would keep others waiting
            else:
                parts[:] = [bytearray().join((*parts, body))]

    def on_message_complete(self) -> None:
        request, self.reading = self.reading, None
        self._got = 0
        if request is None or self.deaf:
            return
        parts = request.parts
        request.body = parts[0] if len(parts) == 1 else b"".join(parts)
        request.parts = []
        if self.working is not None or self.flow.write_paused:
            if self.working is None:
                self.phase, self.due = Phase.WORK, NEVER
            self.waiting.append(request)
            if len(self.waiting) >= _QUEUED:
                self.flow.pause_reading()
            return
        self.work(request)


def _long(limit: int) -> ServeError:
    return ServeError(Status.HEADERS_TOO_LARGE, message("serve", "the request's line and headers are too long", None, f"at most {limit} bytes"))


def _large(limit: int) -> ServeError:
    return ServeError(Status.TOO_LARGE, message("serve", "the body is too large", None, f"at most {limit} bytes"))
