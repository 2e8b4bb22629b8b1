"""ModelInfer: from the bytes of a request to the bytes of its answer."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import grpc

from fanal.serve.engine import Engine
from fanal.serve.errors import ServeError
from fanal.serve.flow.ticket import Answer, Ticket
from fanal.serve.grpc.messages import ModelInferRequest
from fanal.serve.grpc.receiving import Receiving
from fanal.serve.grpc.replies import parsed, refuse, told
from fanal.serve.grpc.requests import Call, read, version_of
from fanal.serve.grpc.responses import response
from fanal.serve.version import Version


class Taken(NamedTuple):
    """A request that is in the queue."""

    version: Version
    call: Call
    ticket: Ticket
    id: str

    def response(self, answer: Answer) -> Any:
        """The message for its sender."""
        return response(self.version, self.call, answer.outputs, self.id)


class Inference:
    """Takes requests into the engine. `longest`: seconds for a request that names no deadline. `held`: where there
    is one, answers wait until it is set (see `GrpcServer.stop`)."""

    def __init__(self, engine: Engine, longest: float, receiving: Receiving):
        self._engine, self._longest, self._receiving = engine, longest, receiving
        self._loop = asyncio.get_running_loop()
        self.held: asyncio.Event | None = None

    def take(self, request: Any, left: float | None) -> Taken:
        """Put a request into its queue. left: seconds until the client gives up; None where it does not."""
        version = version_of(self._engine, request.model_name, request.model_version)
        try:
            call = read(version, request)
        except ServeError as error:
            version.refused(error)
            raise
        named = [s for s in (left, call.timeout) if s is not None]
        deadline = self._loop.time() + min(named, default=self._longest)
        ticket = version.submit(call.function, call.inputs, deadline, call.priority)
        return Taken(version, call, ticket, request.id)

    async def infer(self, requests: Any, context: grpc.aio.ServicerContext) -> bytes:
        """The method."""
        found, why = b"", None
        try:
            data = await self._receiving.message(context)
            taken = self.take(parsed(ModelInferRequest, data), context.time_remaining())
            try:
                answer = await taken.ticket
            except asyncio.CancelledError:
                taken.ticket.cancel()
                raise
            found = taken.response(answer).SerializeToString()
        except Exception as error:
            why = told(error)
        if self.held is not None:
            await self.held.wait()
        if why is not None:
            await refuse(context, why)
        return found
