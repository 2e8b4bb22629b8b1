"""One run of load, from a URL to its outcome."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import uvloop

from fanal.core.errors import message
from fanal.serve.bench.driving import Load, Record
from fanal.serve.bench.outcome import Outcome, latency
from fanal.serve.bench.requests import Target, examples, maker

Protocol = Literal["binary", "json", "grpc"]
Progress = Callable[[Record, float], None]


def run(
    url: str, model: str, *, rate: float | None = None, concurrency: int = 32, duration: float = 10.0,
    warm_up: float = 1.0, patience: float = 10.0, protocol: Protocol = "binary", inputs: Sequence[Mapping[str, np.ndarray]] | None = None,
    rows: int = 1, shapes: Mapping[str, Sequence[int]] | None = None, api_key: str | None = None,
    ca: str | os.PathLike[str] | None = None, progress: Progress | None = None,
) -> Outcome:  # fmt: skip
    """Put load on a server and say how it took it.

    rate: requests a second that are due whatever the server does; None: each of `concurrency` connections sends its
    next request after an answer. patience: seconds that answers may take after the last request was due. inputs: requests' arrays by name, sent in turn (by chance, of what the model's
    metadata says, if not given: `rows` rows; `shapes` by input where other dimensions are open, too).
    url: of the REST listener, or of the gRPC listener for protocol "grpc". ca: a file of authorities (PEM) that the
    server's certificate may come from (the system's if not given). Ctrl-C raises `Interrupted`, with what there is.
    """
    if rate is not None and not 0 < rate < 1e7:
        raise ValueError(message("bench-serve", "rate is no rate", rate, "requests a second"))
    if concurrency < 1 or duration <= 0 or warm_up < 0:
        got = f"concurrency={concurrency}, duration={duration}, warm_up={warm_up}"
        raise ValueError(message("bench-serve", "there is nothing to do", got, "at least one connection and some time"))
    target = target_of(url, api_key, "grpc" if protocol == "grpc" else "http")
    samples = inputs or examples(_metadata(target, model, protocol, ca), rows, shapes or {})
    tls = ssl.create_default_context(cafile=ca) if target.secure else None
    if tls is not None and protocol == "grpc":
        tls.set_alpn_protocols(["h2"])
    make = maker(target, model, protocol, samples)

    async def work() -> tuple[Load, float]:
        load = Load(make, target.host, target.port, tls, concurrency, rate)
        loop = asyncio.get_running_loop()
        try:
            await load.open()
            if threading.current_thread() is threading.main_thread():
                loop.add_signal_handler(signal.SIGINT, load.stop)
            begin, used = time.monotonic(), time.process_time()
            await load.run(warm_up, duration, patience, progress or (lambda record, seconds: None))
            return load, (time.process_time() - used) / (time.monotonic() - begin)
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            load.close()

    # A collection of garbage in the middle would look like a pause of the server's.
    collected = gc.isenabled()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            load, cpu = runner.run(work())
    finally:
        if collected:
            gc.enable()
    record = load.record
    seconds = record.end - record.start if load.stopped else duration
    if seconds <= 0:
        raise KeyboardInterrupt
    outcome = Outcome(
        url, model, protocol, concurrency, rate, seconds, record.sent, len(record.latencies), record.completed,
        latency(record.latencies), latency(record.refusals), latency(record.late), record.refused, record.errors,
        record.unconnected, {status: _said(text) for status, text in record.reasons.items() if text}, cpu,
    )  # fmt: skip
    if load.stopped:
        raise Interrupted(outcome)
    return outcome


class Interrupted(KeyboardInterrupt):
    """Somebody did not want to wait for the end of a run; `outcome` is what there was until then."""

    def __init__(self, outcome: Outcome):
        super().__init__()
        self.outcome = outcome


def _said(body: bytes) -> str:
    """What an answer that is no result says: the protocol's error, or the beginning of what else there is."""
    text = body.decode("utf-8", "replace")
    try:
        text = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        pass  # of something that is in between
    return text[:300]


def target_of(url: str, api_key: str | None, scheme: str) -> Target:
    """Where a URL points; without a scheme it is taken as `host:port`."""
    parts = urlsplit(url if "://" in url else f"{scheme}://{url}")
    if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname:
        raise ValueError(message("bench-serve", "no URL of a server", repr(url), "http://HOST:PORT"))
    secure = parts.scheme in ("https", "grpcs")
    port = parts.port or (8001 if scheme == "grpc" else 443 if secure else 80)
    return Target(parts.hostname, port, secure, parts.path.rstrip("/"), api_key)


def _metadata(target: Target, model: str, protocol: Protocol, ca: str | os.PathLike[str] | None) -> Mapping[str, Any]:
    from fanal.serve.client import Client, RequestError

    if protocol == "grpc":
        return _grpc_metadata(target, model, ca)
    scheme, tls = "http", None
    if target.secure:
        scheme, tls = "https", ssl.create_default_context(cafile=ca)
    try:
        with Client(f"{scheme}://{target.authority}{target.prefix}", api_key=target.api_key, tls=tls) as client:
            return client.metadata(model)
    except RequestError as error:
        raise OSError(message("bench-serve", f"{target.authority} refuses", str(error).rstrip("."))) from None


def _grpc_metadata(target: Target, model: str, ca: str | os.PathLike[str] | None) -> Mapping[str, Any]:
    import grpc
    from google.protobuf.json_format import MessageToDict

    from fanal.serve.grpc.messages import POOL, SERVICE, request_of, response_of

    roots = None if ca is None else Path(ca).read_bytes()
    credentials = grpc.ssl_channel_credentials(roots) if target.secure else None
    address = target.authority
    with grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            f"/{SERVICE.full_name}/ModelMetadata", lambda m: m.SerializeToString(), response_of("ModelMetadata").FromString
        )
        keys = [] if target.api_key is None else [("authorization", f"Bearer {target.api_key}")]
        try:
            found = call(request_of("ModelMetadata")(name=model), timeout=10, metadata=keys)
        except grpc.RpcError as error:
            raise OSError(message("bench-serve", f"{address} refuses or does not answer", (error.details() or "").rstrip("."))) from None
    return MessageToDict(found, preserving_proto_field_name=True, descriptor_pool=POOL)
