"""The load generator's process, one for all servers: the connections of `fanal bench-serve` with requests of any kind.

`Generator` starts it and asks it; it is neither the coordinator nor a server, and sees bytes only.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import environment
from benchmarks.serving.wire import Request

PATIENCE = 15.0  # seconds that answers may take after the last request was due


class Generator:
    """The running process; a context manager that ends it."""

    def __init__(self, cache: Path):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=environment.ROOT, env=environment.worker(1, cache),
        )  # fmt: skip

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()

    def load(
        self, port: int, requests: Sequence[Request], connections: int, seconds: float, rate: float | None = None,
        warm_up: float = 0.5,
    ) -> dict[str, Any]:  # fmt: skip
        """Put load on a port of the loopback: as fast as answers come (rate None) or so many requests a second, with
        latencies from when each was due."""
        order = {
            "port": port, "connections": connections, "seconds": seconds, "rate": rate, "warm_up": warm_up,
            "requests": [[r.path, r.headers, base64.b64encode(r.body).decode()] for r in requests],
        }  # fmt: skip
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("[bench-serving] the load generator died")
        return json.loads(line)


async def _load(order: dict[str, Any]) -> dict[str, Any]:
    from fanal.serve.bench.driving import Load
    from fanal.serve.bench.http1 import Http1, request
    from fanal.serve.bench.outcome import latency

    host = f"127.0.0.1:{order['port']}"
    raw = [request(path, host, headers, base64.b64decode(body)) for path, headers, body in order["requests"]]
    load = Load(lambda owner: Http1(raw, owner), "127.0.0.1", order["port"], None, order["connections"], order["rate"])
    try:
        await load.open()
        begin, used = time.monotonic(), time.process_time()
        await load.run(order["warm_up"], order["seconds"], PATIENCE, lambda record, seconds: None)
        cpu = (time.process_time() - used) / (time.monotonic() - begin)
    finally:
        load.close()
    record = load.record
    summary = latency(record.latencies)
    return {
        "throughput": record.completed / order["seconds"], "p50": summary.p50 * 1e3, "p99": summary.p99 * 1e3,
        "refused": record.refused, "errors": record.errors, "generator_cpu": cpu,
    }  # fmt: skip


def main() -> None:
    """Orders in, a line each; outcomes out."""
    import uvloop

    gc.disable()  # a collection would look like a pause of the server's
    for line in sys.stdin:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(_load(json.loads(line)))
        gc.collect()
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
