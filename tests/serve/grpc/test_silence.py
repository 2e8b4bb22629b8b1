"""Clients that open a call and say nothing: each gets an answer, and nobody waits for them for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.serve import models
from tests.serve.grpc.calls import SERVICE, infer, output, request
from tests.serve.grpc.house import House, house, status

X = np.ones((1, 3), np.float32)
METHODS = [f"{SERVICE}/ModelInfer", f"{SERVICE}/ServerReady", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.adding(tmp_path_factory.mktemp("models") / "m.fanal", 1.0)


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[House]:
    with house({"m": model}, body_timeout=0.5) as found:
        yield found


@pytest.fixture
def channel(served: House) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.address) as found:
        yield found


def silent(channel: grpc.Channel, method: str, **how: Any) -> Any:
    """A call that is open, and brings nothing until the channel is closed."""

    def never() -> Iterator[bytes]:
        threading.Event().wait(30)
        yield b""

    return channel.stream_stream(method)(never(), **how)


@pytest.mark.parametrize("method", METHODS)
def test_a_call_without_a_message(channel: grpc.Channel, method: str) -> None:
    code, text = status(lambda: list(channel.stream_stream(method)(iter([]), timeout=10)))
    assert code == "INVALID_ARGUMENT" and "no message" in text


@pytest.mark.parametrize("method", METHODS)
def test_a_message_that_does_not_come(channel: grpc.Channel, method: str) -> None:
    code, text = status(lambda: next(silent(channel, method, timeout=10)))
    assert code == "DEADLINE_EXCEEDED" and "0.5 s" in text
    assert output(infer(channel, request(x=X))).tolist() == [[2, 2, 2]]


def test_calls_that_are_cancelled_before_they_say_anything(served: House, channel: grpc.Channel) -> None:
    calls = [silent(channel, METHODS[0]) for _ in range(50)]
    time.sleep(0.05)
    for call in calls:
        call.cancel()
    assert output(infer(channel, request(x=X))).tolist() == [[2, 2, 2]]
    assert not served.do(lambda: [t for t in served.server._receiving._since if t.done()])


def test_the_end_does_not_wait_for_them(model: Path) -> None:
    with house({"m": model}) as served, grpc.insecure_channel(served.address) as channel:
        call = silent(channel, METHODS[0])
        assert output(infer(channel, request(x=X))).tolist() == [[2, 2, 2]]
        start = time.monotonic()
        served.call(served.server.stop(15))
        assert time.monotonic() - start < 5
        assert status(lambda: next(call))[0] == "UNAVAILABLE"
