"""Where Prometheus looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fanal.serve.access import Right
from fanal.serve.http.messages import Request, Response
from fanal.serve.http.routing import Operation, Route

# From an Accept header: the content type and the text.
Exposition = Callable[[str], tuple[str, bytes]]


_METRICS = Operation("Metrics", "Metrics for Prometheus", "text/plain")


def metrics_routes(exposition: Exposition) -> list[Route]:
    """The paths at which Triton and TensorFlow Serving have their metrics."""

    async def metrics(request: Request) -> Response:
        # In a thread: how much memory a process holds takes the kernel milliseconds to count.
        accept = request.header(b"accept") or ""
        kind, text = await asyncio.get_running_loop().run_in_executor(None, exposition, accept)
        return Response(200, text, b"content-type: %b\r\n" % kind.encode())

    return [
        Route("GET", "/metrics", Right.METRICS, metrics, operation=_METRICS, packed=True),
        Route("GET", "/monitoring/prometheus/metrics", Right.METRICS, metrics, operation=_METRICS, packed=True),
    ]
