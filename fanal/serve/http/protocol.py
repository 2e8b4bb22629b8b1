"""A connection: uvicorn's protocol on httptools, with what it lacks for a server that strangers can reach.

Of uvicorn (`HttpToolsProtocol`, its internal interface) this relies on: the parser that `__init__` makes, which
calls the `on_…` methods here; the set `server_state.connections` that `connection_made` and `connection_lost`
keep; `flow` (pausing and resuming); `client` and `scheme`. It replaces uvicorn's cycle of one ASGI task for each
request: requests here come whole and are answered whole, so a handler is called once the body is there, and an
answer that takes time is a future's callback. What that adds:

- limits: of the head (431), of the body (413, before it is read where its length is known), of time for the
  head, the body, and for taking the answer (408, or the end);
- refusals before a body is read: no right, no such path; `Expect: 100-continue` then saves sending it;
- a client that is gone takes its ticket with it;
- errors of HTTP itself answered in the protocols' own form.

Time limits cost no timer for each request: `due` is a number that the server looks at now and then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fanal.core.errors import message
from fanal.serve.errors import ServeError, Status
from fanal.serve.flow.ticket import Answer
from fanal.serve.http.encoding import deflated
from fanal.serve.http.messages import Later, Request, Response, head, refusal
from fanal.serve.http.routing import NotAllowed, Route

if TYPE_CHECKING:
    from fanal.serve.http.server import HttpServer

_log = logging.getLogger("fanal.serve.http")
_access = logging.getLogger("fanal.serve.access")

NEVER = float("inf")
# Of a refused request that has a body so much is read and dropped, so that its sender gets to read the answer
# and the connection goes on; beyond that the connection ends.
_DROPPED = 64 << 10
_LINGER = 2.0  # seconds that a sender may go on sending after the last answer
_TURNED_AWAY = 256  # connections that are being told that there are too many
_PROGRESS = 64 << 10  # bytes of an answer that a client must take in the time that a body may take
_QUEUED = 16  # requests that a client may send ahead before its connection is not read from


class Phase(Enum):
    """What a connection does."""

    IDLE = 0  # between requests, or before the first
    HEAD = 1
    BODY = 2
    WORK = 3  # a request is being answered
    LINGER = 4  # the last answer is written


class _Incoming(Request):
    """A request that is being read: how, and what has been decided about it."""

    __slots__ = ("close", "error", "expects", "parts", "route", "size")

    def __init__(self, method: str, target: bytes, headers: dict[bytes, bytes], close: bool):
        super().__init__(method, target, headers)
        self.close = close
        self.error: ServeError | None = None
        self.route: Route | None = None
        self.parts: list[bytes] = []
        self.size = 0
        self.expects = False


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, server: HttpServer):
        super().__init__(server.config, server.state, {}, server.loop)
        self.listener = server
        self.due = NEVER
        self.stalled = NEVER  # when a client that takes nothing of its answer is given up
        self.phase = Phase.IDLE
        self.late = False  # it came while the server was draining
        self.ending = False  # the answer that comes next is the last
        self._head: dict[bytes, bytes] = {}
        self._unsent = 0  # bytes that it has still to take
        self._got = 0  # bytes of a head or of a body's framing
        self._part = 0  # bytes of what came last
        self._heading = False  # a head has begun and not ended
        self._deaf = False  # nothing more is read
        self._reading: _Incoming | None = None
        self._working: _Incoming | None = None
        self._later: Later | None = None
        self._waiting: deque[_Incoming] = deque()

    # -- the connection ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        listener = self.listener
        self.due = self.loop.time() + listener.settings.header_timeout
        self.late = listener.engine.draining
        beyond = len(self.connections) - listener.settings.max_connections
        if beyond > _TURNED_AWAY:
            self.transport.abort()
        elif beyond > 0:
            self._last(refusal(ServeError(Status.UNAVAILABLE, message("serve", "too many connections"), 1.0)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.due = self.stalled = NEVER
        later, self._later = self._later, None
        self._waiting.clear()
        self._reading = self._working = None
        super().connection_lost(exc)
        if later is not None:
            later.ticket.cancel()
        self.listener.gone()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self.stalled = self.loop.time() + self.listener.settings.body_timeout

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stalled = NEVER
        if self.phase is Phase.WORK and self._working is None:
            self._next()

    def expired(self) -> None:
        """`due` or `stalled` has passed."""
        if self.stalled < NEVER:
            unsent = self.transport.get_write_buffer_size()
            if self._unsent - unsent >= _PROGRESS:
                self._unsent = unsent
                self.stalled = self.loop.time() + self.listener.settings.body_timeout
                return
        if self.phase is Phase.LINGER or self.stalled < NEVER:
            self.transport.abort()
            return
        if self.phase is Phase.IDLE:
            self.transport.close()
            return
        what = "headers" if self.phase is Phase.HEAD else "body"
        self._last(refusal(ServeError(Status.SLOW, message("serve", f"the request's {what} did not come in time"))))

    def shutdown(self) -> None:
        """The server ends: what is being answered is answered, then the connection ends."""
        self.ending = True
        if self.phase is Phase.IDLE:
            self.transport.close()

    # -- reading -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._part = len(data)
        self._got += self._part
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Another protocol is offered (curl offers HTTP/2), which need not be taken.
            rest = data[upgrade.args[0] :]
            if rest:
                self.data_received(rest)
            return
        except httptools.HttpParserCallbackError as error:
            _log.error("a request could not be read", exc_info=error.__context__ or error)
            self._last(refusal(_internal()))
            return
        except httptools.HttpParserError as error:
            text = message("serve", "this is no HTTP request", str(error)[:100])
            self._last(refusal(ServeError(Status.INVALID, text)))
            return
        if self._got > self.listener.settings.max_header:
            self._look()

    def _look(self) -> None:
        """Much has come that is neither a head that has ended nor a body."""
        limit = self.listener.settings.max_header
        if self._heading:
            self._last(refusal(_long(limit)))
        elif self._reading is not None and self._got > limit + 8 * self._reading.size:
            text = message("serve", "the body's chunks are more frame than body")
            self._last(refusal(ServeError(Status.INVALID, text)))

    def on_message_begin(self) -> None:
        self.url = b""
        self._head = {}
        self._heading = True
        if self.phase is Phase.IDLE:
            self.phase = Phase.HEAD
            self.due = self.loop.time() + self.listener.settings.header_timeout

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        head = self._head
        head[name] = head[name] + b", " + value if name in head else value

    def on_headers_complete(self) -> None:
        self._heading = False
        if self._deaf:
            return
        parser, headers = self.parser, self._head
        version = parser.get_http_version()
        request = _Incoming(
            parser.get_method().decode("ascii"), self.url, headers,
            version != "1.1" or not parser.should_keep_alive(),
        )  # fmt: skip
        self._reading = request
        try:
            self._judge(request, version)
        except ServeError as error:
            request.error = error
        self._got = 0
        length = headers.get(b"content-length")
        if length is None and b"transfer-encoding" not in headers:
            return  # there is no body
        if self._working is None:
            self.phase = Phase.BODY
            self.due = self.loop.time() + self.listener.settings.body_timeout
        request.expects = headers.get(b"expect", b"").lower() == b"100-continue"
        if request.error is not None:
            if length is None or int(length) > _DROPPED or request.expects or parser.should_upgrade():
                self._refuse(request)
        elif request.expects and self._working is None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _head_size(self) -> int:
        head = self._head
        return len(self.url) + sum(map(len, head)) + sum(map(len, head.values())) + 4 * len(head)

    def _judge(self, request: _Incoming, version: str) -> None:
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
        elif self.parser.should_upgrade() and (length is not None or b"transfer-encoding" in headers):
            text = message("serve", "a request with a body can't upgrade the connection")
            broken = ServeError(Status.INVALID, text)
        if broken is not None:
            request.close = True
            raise broken
        route = self.listener.router.admit(request)
        if length is not None and int(length) > settings.max_body:
            raise _large(settings.max_body)
        if self.late and route.work:
            request.close = True
            raise ServeError(Status.UNAVAILABLE, message("serve", "the server is about to end"), 1.0)
        request.route = route

    def on_body(self, body: bytes) -> None:
        request = self._reading
        if request is None or self._deaf:
            return
        self._got -= len(body)
        request.size += len(body)
        if request.error is not None:
            if request.size > _DROPPED:
                self._refuse(request)
        elif request.size > self.listener.settings.max_body:
            request.error = _large(self.listener.settings.max_body)
            self._refuse(request)
        else:
            request.parts.append(body)

    def _refuse(self, request: _Incoming) -> None:
        """Answer before the body has come, which then is the connection's end; what came before goes first."""
        request.close = True
        request.parts.clear()
        if self._working is None:
            assert request.error is not None
            self._reading = None
            self._write(request, _refused(request.error))

    def on_message_complete(self) -> None:
        request, self._reading = self._reading, None
        self._got = 0
        if request is None or self._deaf:
            return
        parts = request.parts
        request.body = parts[0] if len(parts) == 1 else b"".join(parts)
        request.parts = []
        if self._working is not None or self.flow.write_paused:
            if self._working is None:
                self.phase, self.due = Phase.WORK, NEVER
            self._waiting.append(request)
            if len(self._waiting) >= _QUEUED:
                self.flow.pause_reading()
            return
        self._work(request)

    # -- answering -----------------------------------------------------------------------------------

    def _work(self, request: _Incoming) -> None:
        self._working = request
        self.phase, self.due = Phase.WORK, NEVER
        if request.error is not None:
            self._write(request, _refused(request.error))
            return
        assert request.route is not None
        try:
            reply = request.route.handler(request)
        except ServeError as error:
            reply = _refused(error)
        except Exception as error:
            reply = _failed(error)
        if type(reply) is Response:
            self._write(request, reply)
        elif type(reply) is Later:
            self._later = reply
            reply.ticket.future.add_done_callback(self._answered)
        else:
            task = self.loop.create_task(reply)  # type: ignore[arg-type]
            self.tasks.add(task)  # type: ignore[arg-type]
            task.add_done_callback(self._done)

    def _answered(self, future: asyncio.Future[Answer]) -> None:
        later, request = self._later, self._working
        if later is None or request is None:
            return  # the client is gone
        self._later = None
        try:
            response = later.finish(future.result())
        except ServeError as error:
            response = refusal(error)
        except asyncio.CancelledError:
            response = refusal(ServeError(Status.CANCELLED, message("infer", "the request was given up")))
        except Exception as error:
            response = _failed(error)
        self._write(request, response)

    def _done(self, task: asyncio.Task[Response]) -> None:
        self.tasks.discard(task)
        try:
            response = task.result()
        except ServeError as error:
            response = refusal(error)
        except asyncio.CancelledError:
            response = refusal(ServeError(Status.UNAVAILABLE, message("serve", "the server ends"), 1.0))
        except Exception as error:
            response = _failed(error)
        if self._working is not None:
            self._write(self._working, response)

    def _write(self, request: _Incoming, response: Response) -> None:
        self._working = None
        if self.transport.is_closing():
            return
        response = deflated(request, response)
        listener = self.listener
        close = request.close or ((self.ending or listener.engine.draining) and not self._waiting)
        body = response.body
        length = len(body)
        start = head(response, listener.date, length, close)
        if request.method == "HEAD":
            self.transport.write(start)
        elif length < 1 << 16:
            self.transport.write(start + body)
        else:
            self.transport.write(start)
            self.transport.write(body)
        if listener.settings.access_log:
            target = request.target[:200].decode("latin-1")
            _access.info('%s "%s %s" %d %d', self.client, request.method, target, response.status, length)
        self.server_state.total_requests += 1
        if close:
            self._finish()
        elif not self.flow.write_paused:
            self._next()

    def _next(self) -> None:
        """Go on with what a client sent ahead, or wait for more."""
        if self._waiting:
            # Not at once: answers that are there already would be made one within the other.
            self._working = self._waiting.popleft()
            self.loop.call_soon(self._ahead, self._working)
            return
        settings, now = self.listener.settings, self.loop.time()
        request = self._reading
        if request is not None:
            self.phase, self.due = Phase.BODY, now + settings.body_timeout
            if request.error is not None and request.close:
                self._refuse(request)
            elif request.expects:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif self._heading:
            self.phase, self.due = Phase.HEAD, now + settings.header_timeout
        else:
            self.phase, self.due = Phase.IDLE, now + settings.keepalive_timeout
        self.flow.resume_reading()

    def _ahead(self, request: _Incoming) -> None:
        if not self.transport.is_closing():
            self._work(request)

    def _last(self, response: Response) -> None:
        """An answer to what is no request. It is the connection's end, after what is under way."""
        if self._deaf or self.transport.is_closing():
            return
        if self._working is not None or self._waiting:
            # There are whole requests before it, whose answers matter more.
            self._deaf, self.ending = True, True
            self._reading = None
            return
        self.transport.write(head(response, self.listener.date, len(response.body), True) + response.body)
        self._finish()

    def _finish(self) -> None:
        """Nothing more is answered here. The client may still be sending: an end at once would take the
        answer away from it before it was read."""
        sending = self._reading is not None or self.phase is not Phase.WORK
        self.phase, self._deaf = Phase.LINGER, True
        self._reading = None
        self._waiting.clear()
        if not sending:
            self.transport.close()
            return
        self.due = self.loop.time() + _LINGER
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()


def _refused(error: ServeError) -> Response:
    if isinstance(error, NotAllowed):
        return refusal(error, b"allow: %b\r\n" % error.allow.encode())
    if error.status is Status.UNAUTHENTICATED:
        return refusal(error, b"www-authenticate: Bearer\r\n")
    return refusal(error)


def _failed(error: Exception) -> Response:
    _log.error("a handler failed", exc_info=error)
    return refusal(_internal())


def _internal() -> ServeError:
    return ServeError(Status.INTERNAL, message("serve", "the server failed; its log says how"))


def _long(limit: int) -> ServeError:
    return ServeError(Status.HEADERS_TOO_LARGE, message("serve", "the request's line and headers are too long", None, f"at most {limit} bytes"))


def _large(limit: int) -> ServeError:
    return ServeError(Status.TOO_LARGE, message("serve", "the body is too large", None, f"at most {limit} bytes"))
