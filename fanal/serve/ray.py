"""A program behind Ray Serve: the same engine, protocols and bits as `fanal serve`, in replicas that Ray starts, watches
and scales.

    from ray import serve
    from fanal.serve import ray as fanal_ray

    handle = serve.run(fanal_ray.app("digits.fanal", num_replicas=2))
    handle.infer.remote({"x": images}).result()["logits"]      # and HTTP: POST /v2/models/digits/infer

Each replica loads the file, batches what comes to it and answers the Open Inference Protocol v2 and TensorFlow
Serving's REST. This is the only file that knows of Ray.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

import fanal
from fanal.core.errors import message
from fanal.serve import reports
from fanal.serve.access import Gate
from fanal.serve.engine import Engine
from fanal.serve.errors import ServeError, Status, invalid
from fanal.serve.flow.ticket import Answer, Ticket
from fanal.serve.http.encoding import deflated
from fanal.serve.http.messages import Later, Request, Response
from fanal.serve.http.routes import rest_routes
from fanal.serve.http.routing import Router, refused
from fanal.serve.names import NAME
from fanal.serve.settings import Settings
from fanal.serve.version import Flow
from fanal.serve.workers.model import Limits

try:
    import ray.serve as serve
    from starlette.requests import Request as Incoming
    from starlette.responses import Response as Outgoing
except ImportError as why:
    raise ImportError(message("serve", f"Ray Serve is not here ({why.name})", hint='pip install "fanal[ray]"')) from None


class Replica:
    """One replica: a program in this process, and what Ray asks of it."""

    async def __init__(self, path: str, name: str, settings: Mapping[str, Any], threads: int):  # type: ignore[misc]
        # Ray awaits constructors; the engine belongs to the loop that requests come in.
        fanal.set_num_threads(threads)
        self._settings = s = Settings(**settings)
        self._engine = Engine(s.concurrency or 1)
        flow = Flow(s.queue_size, s.queue_ms / 1e3, s.batch_delay_ms / 1e3)
        limits = Limits(s.max_batch, s.batch_sizes)
        self._name = name
        self._version = await self._engine.load_inline(Path(path), name, limits=limits, flow=flow)
        self._router = Router(rest_routes(self._engine, s), Gate(s))

    async def infer(
        self, inputs: Mapping[str, Any], signature: str | None = None, timeout: float | None = None, priority: int = 0,
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """For handles: outputs by name for inputs by name (arrays, or lists of the right shape). `timeout`: seconds
        after which nobody waits for the answer."""
        wait = self._settings.request_timeout if timeout is None else timeout
        try:
            function = self._version.description.function(signature)
            types = {k: port.datatype.numpy for k, port in function.inputs.items()}
            arrays = {k: _array(k, v, types.get(k)) for k, v in inputs.items()}
            deadline = asyncio.get_running_loop().time() + wait
            ticket = self._version.submit(function, arrays, deadline, priority)
            return dict((await _waited(ticket)).outputs)
        except ServeError as error:
            raise _told(error) from None

    def metadata(self) -> dict[str, Any]:
        """For handles: what the model takes and gives, as the protocol says it."""
        return reports.model_metadata(self._version, self._engine.entry(self._name))

    async def __call__(self, incoming: Incoming) -> Outgoing:
        """For HTTP: all that the REST listener of `fanal serve` answers."""
        scope = incoming.scope
        request = Request(scope["method"], _target(scope), {k.lower(): v for k, v in scope["headers"]})
        try:
            # The gate comes before the body.
            route = self._router.admit(request)
            request.body = await _body(incoming, self._settings.max_body)
            reply = route.handler(request)
            if not isinstance(reply, Later | Response):
                reply = await reply
            response = reply.finish(await _waited(reply.ticket)) if isinstance(reply, Later) else reply
        except ServeError as error:
            response = refused(error)
        response = deflated(request, response)
        headers = dict(line.split(b": ", 1) for line in response.headers.split(b"\r\n") if line)
        found = Outgoing(b"" if request.method == "HEAD" else response.body, response.status)
        for key, value in headers.items():
            found.headers[key.decode("latin-1")] = value.decode("latin-1")
        return found

    def check_health(self) -> None:
        """Ray replaces a replica for which this raises."""
        if not self._engine.ready:
            raise RuntimeError(message("serve", f"{self._name!r} does not answer"))

    async def __del__(self) -> None:
        # Ray awaits it, when what the replica has taken is answered.
        await self._engine.close()


def deployment(
    path: str | os.PathLike[str], *, name: str | None = None, settings: Mapping[str, Any] | None = None, **options: Any,
) -> serve.Deployment:  # fmt: skip
    """A Ray Serve deployment of the program in a file; `.bind()` makes an application of it, as `app` does.

    path: a .fanal file, at the same place on every node that may have a replica. name: the model's (else the
    file's). settings: as `fanal serve` takes them: {"max_batch": 64, "queue_size": 1000, "request_timeout": 5}.
    options: Ray's: num_replicas, autoscaling_config, ray_actor_options, max_ongoing_requests, health_check_period_s,
    graceful_shutdown_timeout_s …. A replica computes with as many threads as it has processors (num_cpus).
    """
    file = os.path.abspath(os.fspath(path))
    name = name or Path(file).name.removesuffix(".fanal")
    if not NAME.fullmatch(name):
        raise ValueError(message("serve", "no name of a model", repr(name), "letters, digits, '_', '.' and '-', 128 at most"))
    given = dict(settings or {})
    checked = Settings(**given)  # here, not in a replica somewhere
    actor = {"num_cpus": 1, **options.pop("ray_actor_options", {})}
    threads = max(1, math.floor(actor["num_cpus"]))
    # A batch is made of requests that a replica has at once: fewer than a batch holds would be a limit to it.
    ongoing = options.pop("max_ongoing_requests", 2 * checked.max_batch)
    served = name

    class Bound(Replica):
        async def __init__(self) -> None:  # type: ignore[misc]
            await super().__init__(file, served, given, threads)

    return serve.deployment(name=name, ray_actor_options=actor, max_ongoing_requests=ongoing, **options)(Bound)


def app(
    path: str | os.PathLike[str], *, name: str | None = None, settings: Mapping[str, Any] | None = None, **options: Any,
) -> serve.Application:  # fmt: skip
    """An application for `serve.run`, of the program in a file; see `deployment`."""
    return deployment(path, name=name, settings=settings, **options).bind()


# -- between Ray's requests and ours ------------------------------------------------------------------------


async def _waited(ticket: Ticket) -> Answer:
    try:
        return await ticket
    except asyncio.CancelledError:
        ticket.cancel()  # the client is gone
        raise


def _target(scope: Mapping[str, Any]) -> bytes:
    """Path and query as they were sent, without the prefix that Ray's route has."""
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    root = quote(scope.get("root_path", "")).encode()
    if root and path.startswith(root):
        path = path[len(root) :] or b"/"
    query: bytes = scope.get("query_string", b"")
    return path + b"?" + query if query else path


async def _body(incoming: Incoming, limit: int) -> bytes:
    parts, size = [], 0
    async for part in incoming.stream():
        size += len(part)
        if size > limit:
            raise ServeError(Status.TOO_LARGE, message("infer", f"the body is more than {limit} bytes"))
        parts.append(part)
    return b"".join(parts)


def _array(name: str, value: Any, wanted: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value)
    try:
        return np.asarray(value, wanted)
    except (TypeError, ValueError) as why:
        raise invalid(f"inputs.{name} is no array", str(why)) from None


def _told(error: ServeError) -> Exception:
    """What a caller in Python gets: an error that travels between processes."""
    if error.status is Status.DEADLINE:
        return TimeoutError(error.text)
    if error.status.http < 500 and error.status is not Status.EXHAUSTED:
        return ValueError(error.text)
    return RuntimeError(error.text)


__all__ = ["Replica", "app", "deployment"]
