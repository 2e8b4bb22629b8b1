"""Reflection: tools such as grpcurl ask a server for its services and messages. Both versions of the protocol, which
differ in their names only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from fanal.serve.errors import invalid
from fanal.serve.grpc.messages import POOL
from fanal.serve.grpc.replies import refuse, written

NAMES = (reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection")
_IDLE = 60.0  # seconds without a question


class Reflection:
    """The method of both versions."""

    def __init__(self, services: Sequence[str]):
        for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
            POOL.AddSerializedFile(file.serialized_pb)
        self._servicer = reflection.ReflectionServicer((*services, *NAMES), POOL)
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def answer(self, requests: object, context: grpc.aio.ServicerContext) -> None:
        while True:
            reading = asyncio.ensure_future(context.read())
            try:
                await asyncio.wait({reading, self._ended}, timeout=_IDLE, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not reading.done():
                    reading.cancel()
            if not reading.done() or (data := reading.result()) is grpc.aio.EOF:
                return
            try:
                question = reflection_pb2.ServerReflectionRequest.FromString(data)
            except DecodeError:
                await refuse(context, invalid("the bytes are no ServerReflectionRequest"))
            for found in self._servicer.ServerReflectionInfo(iter((question,)), context):
                if not await written(context, found.SerializeToString()):
                    return

    def end(self) -> None:
        """The server stops: nobody needs to ask any more."""
        if not self._ended.done():
            self._ended.set_result(None)
