"""The gRPC listener."""

from __future__ import annotations

import asyncio
import time

import grpc

from fanal.core.errors import message
from fanal.serve.access import Gate
from fanal.serve.addresses import address
from fanal.serve.engine import Engine
from fanal.serve.grpc.administering import Admin, Administration
from fanal.serve.grpc.health import Health
from fanal.serve.grpc.inferring import Inference
from fanal.serve.grpc.informing import Information
from fanal.serve.grpc.messages import SERVICE
from fanal.serve.grpc.methods import Door, methods
from fanal.serve.grpc.receiving import Receiving
from fanal.serve.grpc.reflecting import Reflection
from fanal.serve.grpc.streaming import Streaming
from fanal.serve.listening import listening
from fanal.serve.settings import Settings

# Calls at once on one connection: HTTP/2 holds others back at the client, which is cheaper than refusing them.
_CALLS = 1024
# Clients that ping to keep idle connections open do so every ten seconds at the least; gRPC's default of five
# minutes would throw them out for it.
_PINGS_MS = 5_000
# Seconds without a call after which none is on its way, and the most that answers wait for such a moment.
_SILENCE, _SILENCE_MOST = 0.02, 0.25


class GrpcServer:
    """Answers gRPC in the event loop that it is started in. `admin`: what loads and unloads models, if anything."""

    def __init__(self, engine: Engine, settings: Settings, gate: Gate, admin: Admin | None = None):
        self._settings = settings
        self._receiving = Receiving(settings.body_timeout)
        self._inference = Inference(engine, settings.request_timeout, self._receiving)
        self._streaming = Streaming(self._inference)
        self._health = Health(engine, (SERVICE.full_name,), self._receiving)
        self._reflection = Reflection((SERVICE.full_name, "grpc.health.v1.Health"))
        self.methods = methods(
            Information(engine), self._inference, self._streaming, Administration(admin), self._health, self._reflection,
            self._receiving,
        )  # fmt: skip
        self._door = Door(self.methods, gate)
        self._server = grpc.aio.server(
            handlers=(self._door,), options=_options(settings), maximum_concurrent_rpcs=settings.max_connections
        )

    async def start(self, host: str, port: int) -> int:
        """Listen; the port (that of port 0 is a free one)."""
        where = address(host, port)
        credentials = _credentials(self._settings)
        try:
            if credentials is None:
                found = self._server.add_insecure_port(where)
            else:
                found = self._server.add_secure_port(where, credentials)
        except RuntimeError:
            found = 0
        if not found:
            listening(host, port, "grpc").close()  # gRPC does not say why; this does, by failing, too
            raise ValueError(message("serve", f"can't listen on {where} for grpc"))
        await self._server.start()
        return found

    async def stop(self, grace: float) -> None:
        """Take no more calls, answer those that there are for up to `grace` seconds, then end them.

        gRPC drops calls that have come but that it has not handed out yet when it is told to stop. So clients are
        first brought to silence: nobody gets an answer, and who has none asks for nothing more. The answers follow
        as soon as gRPC has told its clients to go.
        """
        self._health.end()
        self._streaming.end()
        self._reflection.end()
        self._inference.held = held = asyncio.Event()
        try:
            await self._silence(min(grace, _SILENCE_MOST))
            stopping = asyncio.create_task(self._server.stop(grace))
            self._receiving.end()
            await asyncio.sleep(_SILENCE)
        finally:
            held.set()
        await stopping
        self._receiving.close()

    async def _silence(self, most: float) -> None:
        """Wait until no call has come for a moment, or for so long."""
        end = time.monotonic() + most
        before = -1
        while self._door.calls != before and time.monotonic() < end:
            before = self._door.calls
            await asyncio.sleep(_SILENCE)


def _options(settings: Settings) -> list[tuple[str, int]]:
    idle = round(settings.keepalive_timeout * 1000)
    return [
        ("grpc.max_receive_message_length", settings.max_body),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", settings.max_header),
        ("grpc.absolute_max_metadata_size", 2 * settings.max_header),
        ("grpc.max_concurrent_streams", _CALLS),
        # Two servers on one port would share its connections without anybody's having asked for it.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", idle),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _PINGS_MS),
    ]


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    ca = None if settings.tls_client_ca is None else settings.tls_client_ca.read_bytes()
    pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
    return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)
