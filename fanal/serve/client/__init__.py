"""A thin client of the v2 protocol: the standard library and NumPy."""

from fanal.serve.client.client import Client
from fanal.serve.client.errors import RequestError

__all__ = ["Client", "RequestError"]
