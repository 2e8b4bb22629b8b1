"""`grpc.health.v1`: what load balancers and orchestrators ask. The engine says what is true; nothing is set by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from fanal.serve.engine import Engine
from fanal.serve.errors import ServeError, Status
from fanal.serve.grpc.receiving import Receiving
from fanal.serve.grpc.replies import parsed, refuse, told, written

_EVERY = 0.2  # seconds between looks, as long as somebody watches

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """The methods. A service is the server (""), one of `services`, or a model by its name."""

    def __init__(self, engine: Engine, services: tuple[str, ...], receiving: Receiving):
        self._engine, self._services, self._receiving = engine, services, receiving
        self._watchers: set[_Watcher] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    async def check(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        status = self._status(request.service)
        if status == SERVICE_UNKNOWN:
            raise ServeError(Status.NOT_FOUND, "[health] there is no such service or model.")
        return health_pb2.HealthCheckResponse(status=status)

    async def watch(self, requests: Any, context: grpc.aio.ServicerContext) -> None:
        """Each change, until the client goes or the server stops."""
        try:
            service = parsed(health_pb2.HealthCheckRequest, await self._receiving.message(context)).service
        except ServeError as error:
            await refuse(context, told(error))
        watcher = _Watcher(service)
        self._watchers.add(watcher)
        if self._timer is None:
            self._look()
        try:
            while True:
                status = self._status(service)
                if status != watcher.told:
                    if not await written(context, health_pb2.HealthCheckResponse(status=status).SerializeToString()):
                        return
                    watcher.told = status
                if self._ended:
                    return
                await watcher.woken.wait()
                watcher.woken.clear()
        finally:
            self._watchers.discard(watcher)

    def end(self) -> None:
        """The server stops: nothing serves any more, and nobody needs to watch."""
        self._ended = True
        for watcher in self._watchers:
            watcher.woken.set()

    def _look(self) -> None:
        """Wake those for whom something has changed: one look for all, whose cost hardly grows with them."""
        now = {service: self._status(service) for service in {w.service for w in self._watchers}}
        for watcher in self._watchers:
            if now[watcher.service] != watcher.told:
                watcher.woken.set()
        going_on = self._watchers and not self._ended
        self._timer = asyncio.get_running_loop().call_later(_EVERY, self._look) if going_on else None

    def _status(self, service: str) -> int:
        engine = self._engine
        if service and service not in self._services:
            entry = engine.models.get(service)
            if entry is None:
                return SERVICE_UNKNOWN
            ready = not engine.draining and any(v.ready for v in entry.versions.values())
        else:
            ready = engine.ready
        return SERVING if ready and not self._ended else NOT_SERVING


class _Watcher:
    """Somebody who watches a service, and the status that was told last."""

    def __init__(self, service: str):
        self.service, self.told = service, -1
        self.woken = asyncio.Event()
