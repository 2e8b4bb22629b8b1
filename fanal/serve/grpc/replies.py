"""How a call ends that gets no result: with the status of its error, a text for its sender, and when to come back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from fanal.serve.errors import ServeError, Status, invalid
from fanal.serve.grpc.receiving import Receiving

_log = logging.getLogger("fanal.serve")
_CODES = {code.value[0]: code for code in grpc.StatusCode}
# Trailers are limited, and a text may repeat what its sender wrote.
_LONGEST = 1000

Answering = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]


def parsed(kind: Any, data: bytes) -> Any:
    """A message of this class; gRPC itself would call bytes that are none an error of the server."""
    try:
        return kind.FromString(data)
    except DecodeError:
        raise invalid(f"the bytes are no {kind.DESCRIPTOR.name}") from None


def told(error: Exception) -> ServeError:
    """What the sender is told of an error; what is not meant for it goes to the log."""
    if isinstance(error, ServeError):
        return error
    _log.error("a gRPC call failed", exc_info=error)
    return ServeError(Status.INTERNAL, "[serve] the server failed; its log says how.")


async def refuse(context: grpc.aio.ServicerContext, error: ServeError) -> NoReturn:
    """End a call with an error. Clients with a policy for retries know the second trailer."""
    trailers: tuple[tuple[str, str], ...] = ()
    if error.retry_after is not None:
        milliseconds = max(1, round(error.retry_after * 1000))
        trailers = (("retry-after", f"{error.retry_after:.3g}"), ("grpc-retry-pushback-ms", str(milliseconds)))
    await context.abort(_CODES[error.status.grpc], error.text[:_LONGEST], trailers)
    raise error  # `abort` has raised; this is for those who read types


async def written(context: grpc.aio.ServicerContext, data: bytes) -> bool:
    """Send one message of several; False where nobody is there any more."""
    try:
        await context.write(data)
    except grpc.aio.InternalError:  # gRPC tells it so if that happens in the middle of sending
        return False
    return True


def unary(kind: Any, answer: Answering, receiving: Receiving) -> grpc.RpcMethodHandler:
    """A method of one request and one response: `answer` makes a message of a message."""

    async def call(requests: Any, context: grpc.aio.ServicerContext) -> bytes:
        try:
            made = await answer(parsed(kind, await receiving.message(context)), context)
            return made.SerializeToString()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            why = told(error)
        await refuse(context, why)

    return grpc.stream_unary_rpc_method_handler(call)


def refusal(error: ServeError) -> grpc.RpcMethodHandler:
    """A method, of any kind, that answers nothing but this."""

    async def call(requests: Any, context: grpc.aio.ServicerContext) -> None:
        await refuse(context, error)

    return grpc.stream_stream_rpc_method_handler(call)
