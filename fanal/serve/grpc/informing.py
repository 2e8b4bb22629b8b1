"""What is asked beside inference: whether there is something, what it takes, what happened to it."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.json_format import ParseDict

from fanal.serve import reports
from fanal.serve.engine import Engine
from fanal.serve.errors import ServeError
from fanal.serve.grpc.messages import POOL, response_of
from fanal.serve.grpc.requests import check_name, version_of


class Information:
    """The methods."""

    def __init__(self, engine: Engine):
        self._engine = engine

    async def live(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        return response_of("ServerLive")(live=True)

    async def ready(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        return response_of("ServerReady")(ready=self._engine.ready)

    async def model_ready(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            ready = version_of(self._engine, request.name, request.version).ready
        except ServeError:
            ready = False
        return response_of("ModelReady")(ready=ready)

    async def server_metadata(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        return _message("ServerMetadata", reports.server_metadata())

    async def model_metadata(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        version = version_of(self._engine, request.name, request.version)
        return _message("ModelMetadata", reports.model_metadata(version, self._engine.entry(request.name)))

    async def model_config(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        version = version_of(self._engine, request.name, request.version)
        return _message("ModelConfig", {"config": reports.model_config(version)})

    async def model_statistics(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        if not request.name:
            versions = list(self._engine.versions())
        elif request.version:
            versions = [version_of(self._engine, request.name, request.version)]
        else:
            check_name(request.name)
            entry = self._engine.entry(request.name)
            versions = [entry.versions[n] for n in sorted(entry.versions)]
        return _message("ModelStatistics", reports.statistics(versions))


def _message(method: str, report: dict[str, Any]) -> Any:
    # REST may say more than the messages have fields for.
    return ParseDict(report, response_of(method)(), ignore_unknown_fields=True, descriptor_pool=POOL)
