"""ModelStreamInfer: many requests and answers on one call.

An answer goes out as soon as it is there, and says by its id whose it is. Answers to requests without an id come in
the order of those requests: nothing else says which is which.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import grpc

from fanal.serve.errors import ServeError, Status
from fanal.serve.flow.ticket import Ticket
from fanal.serve.grpc.inferring import Inference, Taken
from fanal.serve.grpc.messages import ModelInferRequest, ModelStreamInferResponse
from fanal.serve.grpc.replies import parsed, refuse, told, written

# Requests of one stream that are in the queue, or whose answers its client has not taken yet; the next is read
# after that (HTTP/2 then holds the client back).
_AHEAD = 128


class Streaming:
    """The method. `end` makes open streams answer what they have read and end."""

    def __init__(self, inference: Inference):
        self._inference = inference
        self._open: set[_Stream] = set()
        self._ended = False

    async def stream(self, requests: Any, context: grpc.aio.ServicerContext) -> None:
        """The method's handler."""
        stream = _Stream(self._inference, context)
        self._open.add(stream)
        if self._ended:
            stream.end()
        try:
            await stream.run(requests)
        finally:
            self._open.discard(stream)

    def end(self) -> None:
        """The server stops."""
        self._ended = True
        for stream in self._open:
            stream.end()


class _Stream:
    def __init__(self, inference: Inference, context: grpc.aio.ServicerContext):
        self._inference, self._context = inference, context
        self._running: set[Ticket] = set()
        self._out: deque[bytes] = deque()
        self._in_order: deque[_Slot] = deque()  # of requests without an id
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._read_all = self._ending = False
        self._failed: Exception | None = None

    async def run(self, requests: Any) -> None:
        reader = asyncio.create_task(self._read(requests))
        try:
            await self._write(reader)
        finally:
            reader.cancel()
            for ticket in list(self._running):
                ticket.cancel()

    def end(self) -> None:
        self._ending = True
        self._something.set()

    # -- in ------------------------------------------------------------------------------------------

    async def _read(self, requests: Any) -> None:
        try:
            async for data in requests:
                self._take(data)
                while len(self._running) + len(self._out) + len(self._in_order) >= _AHEAD:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:
            self._failed = error
        self._read_all = True
        self._something.set()

    def _take(self, data: bytes) -> None:
        id, last = "", False
        try:
            request = parsed(ModelInferRequest, data)
            id = request.id
            last = request.parameters["triton_enable_empty_final_response"].bool_param if request.parameters else False
            taken = self._inference.take(request, self._context.time_remaining())
        except Exception as error:
            self._done(_Slot(id, last, _error(told(error), id)), not id)
            return
        slot = _Slot(id, last, None)
        if not id:
            self._in_order.append(slot)
        self._running.add(taken.ticket)
        taken.ticket.future.add_done_callback(lambda future: self._answered(taken, slot, future))

    # -- out -----------------------------------------------------------------------------------------

    def _answered(self, taken: Taken, slot: _Slot, future: asyncio.Future[Any]) -> None:
        self._running.discard(taken.ticket)
        if future.cancelled():  # the client is gone, and nobody is there to write to
            return
        try:
            made = taken.response(future.result())
            if slot.last:
                # For clients that count answers: no model here gives more than one.
                made.parameters["triton_final_response"].bool_param = True
            slot.answer = ModelStreamInferResponse(infer_response=made).SerializeToString()
        except Exception as error:
            slot.answer = _error(told(error), slot.id)
        self._done(slot)

    def _done(self, slot: _Slot, wait: bool = False) -> None:
        if wait:
            self._in_order.append(slot)
        if slot.id:
            self._out.append(slot.answer or b"")
        while self._in_order and self._in_order[0].answer is not None:
            self._out.append(self._in_order.popleft().answer or b"")
        self._something.set()

    async def _write(self, reader: asyncio.Task[None]) -> None:
        while True:
            while self._out:
                if not await written(self._context, self._out.popleft()):
                    return
                self._room.set()
            if self._ending and not reader.done():
                reader.cancel()
                self._read_all = True
            if self._read_all and not self._running and not self._out:
                break
            self._something.clear()
            await self._something.wait()
        if self._failed is not None:
            await refuse(self._context, told(self._failed))
        if self._ending:
            text = "[serve] the server ends; requests of this stream without an answer were not read."
            await refuse(self._context, ServeError(Status.UNAVAILABLE, text, 1.0))


class _Slot:
    """A request's place in the stream; `last`: whether its client wants to be told that its answer is the only one."""

    __slots__ = ("answer", "id", "last")

    def __init__(self, id: str, last: bool, answer: bytes | None):
        self.id, self.last, self.answer = id, last, answer


def _error(error: ServeError, id: str) -> bytes:
    made = ModelStreamInferResponse(error_message=error.text)
    made.infer_response.id = id
    return made.SerializeToString()
