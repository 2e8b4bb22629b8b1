"""`grpc.health.v1`: what load balancers and orchestrators ask. The engine says what is true; nothing is set by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from fanal.serve.engine import Engine
from fanal.serve.errors import ServeError, Status
from fanal.serve.grpc.replies import parsed, refuse, told, written

_EVERY = 0.2  # seconds between looks for somebody who watches

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """The methods. A service is the server (""), one of `services`, or a model by its name."""

    def __init__(self, engine: Engine, services: tuple[str, ...]):
        self._engine, self._services = engine, services
        self._ended = asyncio.Event()

    async def check(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        status = self._status(request.service)
        if status == SERVICE_UNKNOWN:
            raise ServeError(Status.NOT_FOUND, "[health] there is no such service or model.")
        return health_pb2.HealthCheckResponse(status=status)

    async def watch(self, data: bytes, context: grpc.aio.ServicerContext) -> None:
        """Each change, until the client goes or the server stops."""
        try:
            service = parsed(health_pb2.HealthCheckRequest, data).service
        except ServeError as error:
            await refuse(context, told(error))
        last = None
        while True:
            status = self._status(service)
            if status != last:
                if not await written(context, health_pb2.HealthCheckResponse(status=status).SerializeToString()):
                    return
                last = status
            if self._ended.is_set():
                return
            try:
                await asyncio.wait_for(self._ended.wait(), _EVERY)
            except TimeoutError:
                pass

    def end(self) -> None:
        """The server stops: nothing serves any more, and nobody needs to watch."""
        self._ended.set()

    def _status(self, service: str) -> int:
        engine = self._engine
        if service and service not in self._services:
            entry = engine.models.get(service)
            if entry is None:
                return SERVICE_UNKNOWN
            ready = not engine.draining and any(v.ready for v in entry.versions.values())
        else:
            ready = engine.ready
        return SERVING if ready and not self._ended.is_set() else NOT_SERVING
