"""Who is compared."""

from __future__ import annotations

from benchmarks.serving.servers import fanal, litserve, torchserve, triton
from benchmarks.serving.servers.server import Server

SERVERS: dict[str, Server] = {
    s.name: s for s in (fanal.SERVER, fanal.ALONE, litserve.SERVER, torchserve.SERVER, triton.SERVER)
}
