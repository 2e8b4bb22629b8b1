"""A server of the v2 protocol in some lines, which misbehaves where a test wants it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from fanal.serve.client.tensors import HEAD_LENGTH
from fanal.serve.datatypes import BY_DTYPE, DATATYPES

MODELS = {
    "m": {"inputs": [("x", "FP32")], "outputs": ["y"]},
    "pair": {"inputs": [("a", "FP32"), ("b", "INT64")], "outputs": ["sum", "difference"]},
    "cut": {"inputs": [("x", "FP32")], "outputs": ["y"]},
}


class Fake(ThreadingHTTPServer):
    """`seen`: requests' lines and heads; `refusals`: how many to refuse before one is answered; `ready`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.refusals: list[tuple[int, str | None]] = []
        self.connections = 0
        self.ready = True
        self.pause = 0.0
        self.hang_up = False  # after each answer, without saying so

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Fake

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers), {}))
        if self.path.startswith("/v2/health/"):
            self._answer(200 if self.server.ready or self.path.endswith("live") else 503, {})
        elif self.path == "/v2":
            self._answer(200, {"name": "fake", "version": "1", "extensions": []})
        elif self.path.endswith("/stats"):
            self._answer(200, {"model_stats": [{"name": "m", "version": "1"}, {"name": "m", "version": "2"}, {"name": "pair", "version": "1"}]})
        else:
            name = self.path.split("/")[3]
            if name not in MODELS:
                self._answer(404, {"error": f"no model {name}"})
            elif self.path.endswith("/ready"):
                self._answer(200 if self.server.ready else 400, {})
            else:
                inputs = [{"name": n, "datatype": d, "shape": [-1, 3]} for n, d in MODELS[name]["inputs"]]
                outputs = [{"name": n, "datatype": "FP32", "shape": [-1, 3]} for n in MODELS[name]["outputs"]]
                self._answer(200, {"name": name, "versions": ["1"], "platform": "fake", "inputs": inputs, "outputs": outputs})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        size = int(self.headers.get(HEAD_LENGTH) or len(body))
        head = json.loads(body[:size])
        self.server.seen.append((self.path, dict(self.headers), head))
        time.sleep(self.server.pause)
        if self.server.refusals:
            status, after = self.server.refusals.pop(0)
            self._answer(status, {"error": "too much to do"}, {} if after is None else {"Retry-After": after})
            return
        model = self.path.split("/")[3]
        if model not in MODELS:
            self._answer(404, {"error": f"no model {model}"})
            return
        arrays, at = [], size
        for tensor in head["inputs"]:
            n = tensor["parameters"]["binary_data_size"]
            arrays.append(np.frombuffer(body[at : at + n], DATATYPES[tensor["datatype"]].numpy).reshape(tensor["shape"]))
            at += n
        found = {"y": arrays[0] + 1} if len(arrays) == 1 else {"sum": arrays[0] + arrays[1], "difference": arrays[0] - arrays[1]}
        wanted = [o["name"] for o in head.get("outputs", [])] or list(found)
        outputs, data = [], b""
        for name in wanted:
            part = found[name].tobytes()
            kind = BY_DTYPE[found[name].dtype.name].name
            outputs.append({"name": name, "shape": found[name].shape, "datatype": kind, "parameters": {"binary_data_size": len(part)}})
            data += part
        self._answer(200, {"model_name": model, "outputs": outputs}, tail=data[: len(data) // 2] if model == "cut" else data)
        if self.server.hang_up:
            self.close_connection = True

    def _answer(self, status: int, report: Any, headers: dict[str, str] | None = None, tail: bytes = b"") -> None:
        text = json.dumps(report).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), **({HEAD_LENGTH: str(len(text))} if tail else {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text) + len(tail)))
        self.end_headers()
        self.wfile.write(text + tail)


@contextmanager
def fake() -> Iterator[Fake]:
    server = Fake()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
