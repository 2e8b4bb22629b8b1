"""All routes of the REST listener, as one table."""

from __future__ import annotations

from fanal.serve.engine import Engine
from fanal.serve.http.routing import Route
from fanal.serve.http.tensorflow import tensorflow_routes
from fanal.serve.http.v2 import v2_routes
from fanal.serve.settings import Settings


def rest_routes(engine: Engine, settings: Settings) -> list[Route]:
    """What models are used by."""
    return v2_routes(engine, settings) + tensorflow_routes(engine, settings)
