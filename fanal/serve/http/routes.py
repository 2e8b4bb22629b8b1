"""All routes of the REST listener, as one table."""

from __future__ import annotations

from fanal.serve.engine import Engine
from fanal.serve.http.pages import page_routes
from fanal.serve.http.routing import Route
from fanal.serve.http.tensorflow import tensorflow_routes
from fanal.serve.http.v2 import v2_routes
from fanal.serve.settings import Settings


def rest_routes(engine: Engine, settings: Settings) -> list[Route]:
    """What models are used by."""
    routes = v2_routes(engine, settings) + tensorflow_routes(engine, settings)
    keys = settings.api_key_file is not None or bool(settings.api_keys.get_secret_value())
    return page_routes(routes, engine, keys) + routes
