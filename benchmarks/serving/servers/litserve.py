"""LitServe: FastAPI in front of worker processes."""

from __future__ import annotations

import json
import sys

import numpy as np

from benchmarks.serving.servers.server import Command, Server, Setting
from benchmarks.serving.wire import Request, Way


def _command(setting: Setting) -> Command:
    facts = json.dumps({**setting._asdict(), **setting.facts()}, default=str)
    return Command([sys.executable, "-m", "benchmarks.serving.servers.litserve_process", facts])


def _request(model: str, row: np.ndarray) -> Request:
    return Request("/predict", json.dumps({"x": row.tolist()}).encode())


def _answer(headers: dict[str, str], body: bytes) -> np.ndarray:
    return np.array(json.loads(body)["logits"], np.float32)


SERVER = Server(
    "litserve", "LitServe", ("litserve", "torch"),
    "max_batch_size 32 and a batch_timeout of 1 ms (a batch waits that long for more rows), one "
    "API server process a processor and one worker (which was the fastest of 1 and 2 of each here), fast_queue=True (its ZeroMQ transport, recommended for high rates), log level error, a TorchScript "
    "module, one thread each",
    _command, "/health", (Way("its JSON", "json", _request, _answer),),
)  # fmt: skip
