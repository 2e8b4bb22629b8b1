"""What a connection does with whole requests: it calls their handlers, writes the answers in order, and ends.

A handler is called once the body is there; an answer that takes time is a future's callback, so that no request
needs a task. Time limits cost no timer for each request: `due` is a number that the server looks at now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fanal.core.errors import message
from fanal.serve.addresses import address
from fanal.serve.errors import ServeError, Status
from fanal.serve.flow.ticket import Answer
from fanal.serve.http.bodies import Bodies, Share
from fanal.serve.http.encoding import deflated, deflates_long
from fanal.serve.http.messages import Later, Request, Response, head, refusal
from fanal.serve.http.routing import Route, refused

if TYPE_CHECKING:
    from fanal.serve.http.server import HttpServer

log = logging.getLogger("fanal.serve.http")
_access = logging.getLogger("fanal.serve.access")

NEVER = float("inf")
_LINGER = 2.0  # seconds that a sender may go on sending after the last answer
_TURNED_AWAY = 256  # connections that are being told that there are too many
_LONG_TEXT = 128 << 10  # bytes of numbers that take some milliseconds to be written as text
_WRITER = ThreadPoolExecutor(1, "fanal-writer")
_PROGRESS = 64 << 10  # bytes of an answer that a client must take in the time that a body may take


class Phase(Enum):
    """What a connection does."""

    IDLE = 0  # between requests, or before the first
    HEAD = 1
    BODY = 2
    WORK = 3  # a request is being answered
    LINGER = 4  # the last answer is written


class Incoming(Request):
    """A request that is being read: how, and what has been decided about it."""

    __slots__ = ("close", "error", "expects", "parts", "route", "share", "size")

    def __init__(self, method: str, target: bytes, headers: dict[bytes, bytes], close: bool, bodies: Bodies):
        super().__init__(method, target, headers)
        self.close = close
        self.share = Share(bodies)
        self.error: ServeError | None = None
        self.route: Route | None = None
        self.parts: list[bytes | bytearray] = []
        self.size = 0
        self.expects = False

    def replace(self, body: bytes | bytearray) -> None:
        self.share.add(len(body) - len(self.body))
        self.body = body


class Answering(HttpToolsProtocol):
    """A connection as far as whole requests go: they are answered in their order, one after another."""

    def __init__(self, server: HttpServer):
        super().__init__(server.config, server.state, {}, server.loop)
        self.listener = server
        self.due = NEVER
        self.stalled = NEVER  # when a client that takes nothing of its answer is given up
        self.phase = Phase.IDLE
        self.late = False  # it came while the server was draining
        self.ending = False  # the answer that comes next is the last
        self._unsent = 0  # bytes that it has still to take
        self.heading = False  # a head has begun and not ended
        self.deaf = False  # nothing more is read
        self.held = b""  # what has come and was not looked at
        self.reading: Incoming | None = None
        self.working: Incoming | None = None
        self._later: Later | None = None
        self.waiting: deque[Incoming] = deque()

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
            self.last(refusal(ServeError(Status.UNAVAILABLE, message("serve", "too many connections"), 1.0)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.due = self.stalled = NEVER
        later, self._later = self._later, None
        self._forget()
        if self.working is not None:
            self.working.share.drop()
            self.working = None
        super().connection_lost(exc)
        if later is not None:
            later.ticket.cancel()
        self.listener.gone()

    def _forget(self) -> None:
        """Answer neither what is being read nor what waits."""
        for request in self.waiting if self.reading is None else (*self.waiting, self.reading):
            request.share.drop()
        self.waiting.clear()
        self.reading = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self.stalled = self.loop.time() + self.listener.settings.body_timeout

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stalled = NEVER
        if self.phase is Phase.WORK and self.working is None:
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
        self.last(refusal(ServeError(Status.SLOW, message("serve", f"the request's {what} did not come in time"))))

    def shutdown(self) -> None:
        """The server ends: what is being answered is answered, then the connection ends."""
        self.ending = True
        if self.phase is Phase.IDLE and not self.held:
            self.transport.close()

    # -- answering -----------------------------------------------------------------------------------

    def work(self, request: Incoming) -> None:
        self.working = request
        self.phase, self.due = Phase.WORK, NEVER
        if request.error is not None:
            self.write(request, refused(request.error))
            return
        assert request.route is not None
        try:
            reply = request.route.handler(request)
        except ServeError as error:
            reply = refused(error)
        except Exception as error:
            reply = _failed(error)
        if type(reply) is Response:
            self.write(request, reply)
        elif type(reply) is Later:
            self._wait(reply)
        else:
            task = self.loop.create_task(reply)  # type: ignore[arg-type]
            self.tasks.add(task)  # type: ignore[arg-type]
            task.add_done_callback(self._done)

    def _wait(self, later: Later) -> None:
        self._later = later
        later.ticket.future.add_done_callback(self._answered)

    def _answered(self, future: asyncio.Future[Answer]) -> None:
        later, request = self._later, self.working
        if later is None or request is None:
            return  # the client is gone
        self._later = None
        try:
            answer = future.result()
            if later.text and _is_long(answer):
                self.loop.run_in_executor(_WRITER, later.finish, answer).add_done_callback(partial(self._finished, request))
                return
            response = later.finish(answer)
        except (Exception, asyncio.CancelledError) as error:
            response = _answer_to(error)
        self.write(request, response)

    def _finished(self, request: Incoming, done: asyncio.Future[Response]) -> None:
        try:
            response = done.result()
        except (Exception, asyncio.CancelledError) as error:
            response = _answer_to(error)
        if self.working is request:
            self.write(request, response)

    def _done(self, task: asyncio.Task[Response | Later]) -> None:
        self.tasks.discard(task)
        reply: Response | Later
        try:
            reply = task.result()
        except ServeError as error:
            reply = refusal(error)
        except asyncio.CancelledError:
            reply = refusal(ServeError(Status.UNAVAILABLE, message("serve", "the server ends"), 1.0))
        except Exception as error:
            reply = _failed(error)
        if self.working is None:  # the client is gone
            if isinstance(reply, Later):
                reply.ticket.cancel()
        elif isinstance(reply, Later):
            self._wait(reply)
        else:
            self.write(self.working, reply)

    def write(self, request: Incoming, response: Response) -> None:
        """Answer the request that is being worked on."""
        if response.status != 200 or request.route is None or not request.route.packed:
            self._write(request, response)
        elif deflates_long(request, response):
            packing = self.loop.run_in_executor(None, deflated, request, response)
            packing.add_done_callback(lambda done: self._write(request, done.result()))
        else:
            self._write(request, deflated(request, response))

    def _write(self, request: Incoming, response: Response) -> None:
        request.share.drop()
        self.working = None
        if self.transport.is_closing():
            return
        listener = self.listener
        close = request.close or ((self.ending or listener.engine.draining) and not self.waiting and not self.held)
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
            _access.info('%s "%s %s" %d %d', _address(self.client), request.method, target, response.status, length)
        self.server_state.total_requests += 1
        if close:
            self._finish()
        elif not self.flow.write_paused:
            self._next()

    def _next(self) -> None:
        """Go on with what a client sent ahead, or wait for more."""
        if self.waiting:
            # Not at once: answers that are there already would be made one within the other.
            self.working = self.waiting.popleft()
            self.loop.call_soon(self._ahead, self.working)
            return
        settings, now = self.listener.settings, self.loop.time()
        request = self.reading
        if request is not None:
            self.phase, self.due = Phase.BODY, now + settings.body_timeout
            if request.error is not None and request.close:
                self.refuse(request)
            elif request.expects:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif self.heading:
            self.phase, self.due = Phase.HEAD, now + settings.header_timeout
        else:
            self.phase, self.due = Phase.IDLE, now + settings.keepalive_timeout
        if self.held:
            self.more_soon()
        else:
            self.flow.resume_reading()

    def more_soon(self) -> None:
        """Look at what is held, now that there is room."""
        raise NotImplementedError

    def _ahead(self, request: Incoming) -> None:
        if not self.transport.is_closing():
            self.work(request)

    def refuse(self, request: Incoming) -> None:
        """Answer before the body has come, which then is the connection's end; what came before goes first."""
        request.close = True
        request.parts.clear()
        request.share.drop()
        if self.working is None:
            assert request.error is not None
            self.reading = None
            self.write(request, refused(request.error))

    def last(self, response: Response) -> None:
        """An answer to what is no request. It is the connection's end, after what is under way."""
        if self.deaf or self.transport.is_closing():
            return
        if self.working is not None or self.waiting:
            # There are whole requests before it, whose answers matter more.
            self.deaf, self.ending = True, True
            if self.reading is not None:
                self.reading.share.drop()
                self.reading = None
            return
        self.transport.write(head(response, self.listener.date, len(response.body), True) + response.body)
        self._finish()

    def _finish(self) -> None:
        """Nothing more is answered here. The client may still be sending: an end at once would take the
        answer away from it before it was read."""
        sending = self.reading is not None or self.phase is not Phase.WORK
        self.phase, self.deaf, self.held = Phase.LINGER, True, b""
        self._forget()
        if not sending:
            self.transport.close()
            return
        self.due = self.loop.time() + _LINGER
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # the client was faster
                self.transport.write_eof()


def _address(client: tuple[str, int] | None) -> str:
    return "-" if client is None else address(*client)


def _is_long(answer: Answer) -> bool:
    for array in answer.outputs.values():  # noqa: SIM110 (there is mostly one, and a generator takes as long as all else)
        if array.nbytes > _LONG_TEXT:
            return True
    return False


def _answer_to(error: BaseException) -> Response:
    """The response to a request that a model did not answer."""
    if isinstance(error, ServeError):
        return refusal(error)
    if isinstance(error, asyncio.CancelledError):
        return refusal(ServeError(Status.CANCELLED, message("infer", "the request was given up")))
    return _failed(error)


def _failed(error: BaseException) -> Response:
    log.error("a handler failed", exc_info=error)
    return refusal(internal())


def internal() -> ServeError:
    return ServeError(Status.INTERNAL, message("serve", "the server failed; its log says how"))
