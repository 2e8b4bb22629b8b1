"""All methods of all services that this server speaks, and the one door that every call goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import grpc
from grpc_health.v1 import health_pb2

from fanal.core.errors import message, nearest
from fanal.serve.access import Gate, Right, key_of
from fanal.serve.errors import ServeError, Status
from fanal.serve.grpc.administering import Administration
from fanal.serve.grpc.health import Health
from fanal.serve.grpc.inferring import Inference
from fanal.serve.grpc.informing import Information
from fanal.serve.grpc.messages import SERVICE, request_of
from fanal.serve.grpc.receiving import Receiving
from fanal.serve.grpc.reflecting import NAMES, Reflection
from fanal.serve.grpc.replies import Answering, refusal, unary
from fanal.serve.grpc.streaming import Streaming

# Methods of Triton's that there is nothing behind here.
_ABSENT = {
    "SystemSharedMemoryStatus": "share memory", "SystemSharedMemoryRegister": "share memory",
    "SystemSharedMemoryUnregister": "share memory", "CudaSharedMemoryStatus": "share memory",
    "CudaSharedMemoryRegister": "share memory", "CudaSharedMemoryUnregister": "share memory",
    "TraceSetting": "trace its requests on demand", "LogSettings": "let its log be set by calls",
}  # fmt: skip
_HEALTH = "grpc.health.v1.Health"


class Method(NamedTuple):
    """A method: what a caller must be allowed to, and what answers."""

    right: Right
    handler: grpc.RpcMethodHandler


class Door(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Finds a call's method and asks the gate. What is in no table is not there: nothing is open by being forgotten.
    `calls`: how many have come."""

    def __init__(self, methods: Mapping[str, Method], gate: Gate):
        self._methods, self._gate = methods, gate
        self.calls = 0

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The handler of a call; one that refuses it where the gate does."""
        self.calls += 1
        method = self._methods.get(call.method)
        if method is None:
            meant = ", ".join(nearest(call.method[:200], self._methods))
            return refusal(ServeError(Status.UNIMPLEMENTED, message("serve", "no such method", None, "", meant)))
        try:
            self._gate.check(method.right, _key(call))
        except ServeError as error:
            return refusal(error)
        return method.handler


def _key(call: grpc.HandlerCallDetails) -> str | None:
    authorization = api_key = None
    for name, value in call.invocation_metadata or ():
        if name == "authorization":
            authorization = value
        elif name == "x-api-key":
            api_key = value
    return key_of(authorization, api_key)


def methods(
    information: Information, inference: Inference, streaming: Streaming, administration: Administration,
    health: Health, reflection: Reflection, receiving: Receiving,
) -> dict[str, Method]:  # fmt: skip
    """The table, by path."""

    def asked(right: Right, name: str, answer: Answering) -> tuple[str, Method]:
        return f"/{SERVICE.full_name}/{name}", Method(right, unary(request_of(name), answer, receiving))

    found = dict((
        asked(Right.HEALTH, "ServerLive", information.live),
        asked(Right.HEALTH, "ServerReady", information.ready),
        asked(Right.USE, "ModelReady", information.model_ready),
        asked(Right.USE, "ServerMetadata", information.server_metadata),
        asked(Right.USE, "ModelMetadata", information.model_metadata),
        asked(Right.USE, "ModelConfig", information.model_config),
        asked(Right.USE, "ModelStatistics", information.model_statistics),
        asked(Right.ADMIN, "RepositoryIndex", administration.index),
        asked(Right.ADMIN, "RepositoryModelLoad", administration.load),
        asked(Right.ADMIN, "RepositoryModelUnload", administration.unload),
    ))  # fmt: skip
    infer = grpc.stream_unary_rpc_method_handler(inference.infer)
    found[f"/{SERVICE.full_name}/ModelInfer"] = Method(Right.USE, infer)
    stream = grpc.stream_stream_rpc_method_handler(streaming.stream)
    found[f"/{SERVICE.full_name}/ModelStreamInfer"] = Method(Right.USE, stream)
    for name, what in _ABSENT.items():
        error = ServeError(Status.UNIMPLEMENTED, f"[serve] {name}: this server does not {what}.")
        found[f"/{SERVICE.full_name}/{name}"] = Method(Right.USE, refusal(error))
    check = unary(health_pb2.HealthCheckRequest, health.check, receiving)
    found[f"/{_HEALTH}/Check"] = Method(Right.HEALTH, check)
    watch = grpc.stream_stream_rpc_method_handler(health.watch)
    found[f"/{_HEALTH}/Watch"] = Method(Right.HEALTH, watch)
    ask = grpc.stream_stream_rpc_method_handler(reflection.answer)
    for name in NAMES:
        found[f"/{name}/ServerReflectionInfo"] = Method(Right.USE, ask)
    return found
