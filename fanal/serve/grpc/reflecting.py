"""Reflection: tools such as grpcurl ask a server for its services and messages. Both versions of the protocol, which
differ in their names only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
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
        for file in (health_pb2.DESCRIPTOR.serialized_pb, reflection_pb2.DESCRIPTOR.serialized_pb, _newer()):
            POOL.AddSerializedFile(file)
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


def _newer() -> bytes:
    """The protocol's file in its newer version, for those who ask what that service is."""
    file = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    old, new = file.package, NAMES[1].rpartition(".")[0]
    file.name, file.package = "grpc/reflection/v1/reflection.proto", new
    for field in (field for kind in file.message_type for field in kind.field if field.type_name):
        field.type_name = field.type_name.replace(old, new)
    for method in file.service[0].method:
        method.input_type, method.output_type = (t.replace(old, new) for t in (method.input_type, method.output_type))
    made: bytes = file.SerializeToString()
    return made
