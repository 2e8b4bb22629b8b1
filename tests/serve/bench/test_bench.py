"""Load finds what a server does: its rate, its stalls, its refusals, its faults."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanal.cli.command import main
from fanal.serve.bench import Latency, Outcome, holds, run, sweep
from fanal.serve.bench.http2 import header_blocks, status
from fanal.serve.bench.requests import examples
from tests.serve import models
from tests.serve.bench.plain import OK, plain
from tests.serve.client.fake import fake
from tests.serve.grpc.house import house

INPUTS = [{"x": np.zeros((1, 3), np.float32)}]
SHORT: dict[str, Any] = {"duration": 0.5, "warm_up": 0.1, "inputs": INPUTS}


def test_closed_loop() -> None:
    with plain() as server:
        found = run(server.url, "m", concurrency=4, **SHORT)
    assert server.connections == 4 and found.succeeded > 50 and not found.failed
    assert found.sent == found.succeeded == found.latency.count
    assert found.succeeded - 4 <= found.completed <= found.succeeded + 4  # some came after the end, or were sent before it began
    assert found.latency.least <= found.latency.p50 <= found.latency.p99 <= found.latency.most
    assert found.throughput == found.completed / 0.5 and found.rate is None and 0 < found.cpu


def test_open_loop_keeps_its_rate() -> None:
    with plain() as server:
        found = run(server.url, "m", rate=400, concurrency=4, **SHORT)
    assert abs(found.sent - 200) <= 2 and found.succeeded == found.sent and 0 < found.throughput < 440
    assert found.late.count > 0


def test_a_stall_is_in_the_latencies_of_all_that_were_due() -> None:
    """A server that stands still for 0.3 s of a second makes a third of all requests wait; a closed loop would see one."""

    def stalls(i: int) -> tuple[bytes, float]:
        return OK, 0.3 if i == 60 else 0.0

    how = {**SHORT, "duration": 1.0}
    with plain(stalls) as server:
        found = run(server.url, "m", rate=300, concurrency=1, **how)
    assert found.succeeded == found.sent and found.latency.p90 > 0.1 and found.latency.most > 0.28


def test_more_than_a_server_can_answer() -> None:
    with plain(lambda i: (OK, 0.02)) as server:
        found = run(server.url, "m", rate=200, concurrency=1, **SHORT)
    # Fifty a second is what comes, whatever was offered; what was due is waited for.
    assert found.throughput < 60 and abs(found.sent - 100) <= 2 and found.succeeded == found.sent and found.latency.most > 1


def test_a_server_that_does_not_answer() -> None:
    with plain(lambda i: (OK, 30.0)) as server:
        found = run(server.url, "m", rate=100, concurrency=2, patience=0.2, **SHORT)
    assert found.errors == {"no answer in time": found.sent} and found.succeeded == 0


def test_what_was_due_is_sent_after_the_end_over_new_connections_too() -> None:
    closing = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nconnection: close\r\n\r\nx"
    with plain(lambda i: (closing, 0.02)) as server:
        found = run(server.url, "m", rate=100, concurrency=1, **SHORT)
    assert found.succeeded == found.sent and not found.failed and found.completed < found.sent


def test_refusals_are_counted_by_status() -> None:
    def refuses(i: int) -> tuple[bytes, float]:
        return (b"HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n", 0.0) if i % 2 else (OK, 0.0)

    with plain(refuses) as server:
        found = run(server.url, "m", rate=200, concurrency=2, **SHORT)
    assert set(found.refused) == {"429"} and found.refusal.count == found.refused["429"] == found.failed
    assert abs(found.failed - found.succeeded) <= 2


def test_connections_that_break_are_opened_again() -> None:
    with plain(lambda i: (None if i % 10 == 5 else OK, 0.0)) as server:
        found = run(server.url, "m", rate=200, concurrency=2, **SHORT)
    assert set(found.errors) <= {"connection closed", "ConnectionResetError"} and 5 <= found.failed <= 15
    assert found.succeeded + found.failed == found.sent and server.connections > 5


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5;x=y\r\n\r\n\r\n0\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nconnection: close\r\n\r\nx",
    ],
)
def test_forms_of_answers(answer: bytes) -> None:
    with plain(lambda i: (answer, 0.0)) as server:
        found = run(server.url, "m", rate=100, concurrency=2, **SHORT)
    assert found.succeeded == found.sent > 40 and not found.failed


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nx"])
def test_what_is_no_answer(answer: bytes) -> None:
    with plain(lambda i: (answer, 0.0)) as server:
        found = run(server.url, "m", rate=50, concurrency=1, **SHORT)
    assert found.succeeded == 0 and sum(found.errors.values()) == found.sent


def test_over_the_client_s_protocol_and_as_json() -> None:
    with fake() as server:
        assert run(server.url, "m", concurrency=2, duration=0.3, warm_up=0).succeeded > 5  # inputs from the metadata
        head = server.seen[-1][2]
        assert head["inputs"][0]["shape"] == [1, 3] and head["inputs"][0]["datatype"] == "FP32"


# -- gRPC ------------------------------------------------------------------------------------------------------


def test_grpc(tmp_path: Path) -> None:
    with house({"m": models.adding(tmp_path / "m.fanal", 1.0)}) as served:
        for how in ({"concurrency": 4}, {"rate": 200.0, "concurrency": 4}):
            found = run(served.address, "m", protocol="grpc", duration=0.5, warm_up=0.1, rows=2, **how)
            assert found.succeeded == found.sent > 50 and not found.failed
        assert served.version().statistics.inferences == 2 * served.version().statistics.success
        found = run(served.address, "n", protocol="grpc", rate=100.0, concurrency=1, **SHORT)
        assert set(found.refused) == {"NOT_FOUND"}
        # More than one frame and one window of HTTP/2.
        large = [{"x": np.zeros((1000, 3), np.float32)}, {"x": np.zeros((20, 3), np.float32)}]
        found = run(served.address, "m", protocol="grpc", concurrency=2, duration=0.3, warm_up=0, inputs=large)
        assert found.succeeded > 4 and not found.failed
        huge = [{"x": np.zeros((100_000, 3), np.float32)}]
        found = run(served.address, "m", protocol="grpc", concurrency=1, duration=0.3, warm_up=0, inputs=huge)
        assert set(found.refused) == {"INVALID_ARGUMENT"}  # more rows than the model has


def test_headers_of_http2() -> None:
    """The examples of RFC 7541 for literal fields, and what a server may send before its status."""
    first, later = header_blocks([("custom-key", "custom-header")])
    assert first == bytes.fromhex("400a637573746f6d2d6b65790d637573746f6d2d686561646572") and later == b"\xbe"
    assert status(b"\x20\x00\x0bgrpc-status\x018") == "RESOURCE_EXHAUSTED"
    assert status(b"\x88\x3f\xe1\x1f\x0f\x10\x02ab\x00\x0bgrpc-status\x010") == "OK"
    assert status(b"\x00\x01a\x82\xff\xff\x00\x0bgrpc-status\x0299") == "UNKNOWN"


# -- the rest --------------------------------------------------------------------------------------------------


def test_a_sweep_finds_the_rate_that_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search, on a server of exactly 430 a second; what it makes of a run is looked at below."""

    def runs(url: str, model: str, rate: float, duration: float) -> Outcome:
        slow = Latency(10, p99=0.001 if rate <= 430 else 1.0)
        return Outcome(url, model, "binary", 4, rate, duration, 100, 100, 100, slow, Latency(), Latency())

    monkeypatch.setattr("fanal.serve.bench.sweeping.run", runs)
    found = sweep("http://there", "m", limit=0.1, start=100)
    assert [o.rate for o in found.runs] == [100, 200, 400, 800, 600, 500, 450, 425, 437.5]
    assert found.best is not None and found.best.rate == 425
    found = sweep("http://there", "m", limit=0.1, start=8000)
    assert found.best is not None and 400 < (found.best.rate or 0) <= 430
    assert sweep("http://there", "m", limit=0.0001, start=8).best is None


def test_what_holds() -> None:
    good = Outcome("", "", "", 4, 100.0, 1.0, 100, 100, 97, Latency(100, p99=0.01), Latency(), Latency())
    assert holds(good, 0.01)
    for changed in (
        {"latency": Latency(100, p99=0.011)}, {"refused": {"429": 1}}, {"errors": {"closed": 1}}, {"completed": 90},
        {"latency": Latency()},
    ):  # fmt: skip
        assert not holds(replace(good, **changed), 0.01)


def test_examples_are_what_the_model_takes() -> None:
    inputs = [
        {"name": "x", "datatype": "FP16", "shape": [-1, 3]}, {"name": "n", "datatype": "INT64", "shape": [-1, -1]},
        {"name": "one", "datatype": "BOOL", "shape": []},
    ]  # fmt: skip
    found = examples({"inputs": inputs}, 5, {"n": [5, 7]})
    assert {k: (v.shape, v.dtype.name) for k, v in found[0].items()} == {
        "x": ((5, 3), "float16"), "n": ((5, 7), "int64"), "one": ((), "bool"),
    }  # fmt: skip
    with pytest.raises(ValueError, match="no input 'z'"):
        examples({"inputs": inputs}, 1, {"z": [1]})
    with pytest.raises(ValueError, match="BYTES"):
        examples({"inputs": [{"name": "t", "datatype": "BYTES", "shape": [1]}]}, 1, {})


def test_what_cannot_be() -> None:
    for how in ({"rate": 0.0}, {"concurrency": 0}, {"duration": 0.0}):
        with pytest.raises(ValueError, match=r"\[bench-serve\]"):
            run("http://127.0.0.1:1", "m", inputs=INPUTS, **how)
    with pytest.raises(ValueError, match="no URL"):
        run("ftp://here", "m")
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1 does not answer"):
        run("http://127.0.0.1:1", "m")
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1 refuses or does not answer"):
        run("127.0.0.1:1", "m", protocol="grpc")
    with fake() as server, pytest.raises(OSError, match="404: no model other"):
        run(server.url, "other")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    with fake() as server:
        assert main(["bench-serve", server.url, "--model", "m", "--duration", "0.3", "--warm-up", "0", "--json", str(file)]) == 0
        text = capsys.readouterr().out
        assert "requests a second" in text and "p99.9" in text and "answered" in text
        found = json.loads(file.read_text())
        assert found["succeeded"] > 0 and found["latency"]["p50"] > 0 and found["protocol"] == "binary"
        server.refusals = [(429, "1")] * 100_000
        assert main(["bench-serve", server.url, "--model", "m", "--duration", "0.2", "--warm-up", "0", "--rate", "50"]) == 1
        assert "429" in capsys.readouterr().out
        quick = ["--duration", "0.1", "--warm-up", "0", "--rate", "20"]
        assert main(["bench-serve", server.url, "--model", "m", "--sweep", "5", *quick]) == 1
        assert "No rate holds" in capsys.readouterr().out
        assert main(["bench-serve", server.url, "--model", "m", "--shape", "x=1,b"]) == 1
        assert "--shape is no shape" in capsys.readouterr().err


def test_the_command_says_why_and_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake() as server:
        server.refusals = [(400, None)] * 100_000
        assert main(["bench-serve", server.url, "--model", "m", "--duration", "0.2", "--warm-up", "0", "--rate", "50"]) == 1
        shown = capsys.readouterr().out.splitlines()
        assert any(line.split()[:1] == ["400"] and "too much to do" in line for line in shown), shown
        assert main(["bench-serve", server.url, "--model", "m", "--json", str(tmp_path / "no" / "file")]) == 1
        assert "--json has no folder" in capsys.readouterr().err
    assert main(["bench-serve", "http://127.0.0.1:1", "--model", "m"]) == 1
    assert "127.0.0.1:1 does not answer: got Connection refused." in capsys.readouterr().err


def test_ctrl_c_shows_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    with fake() as server:
        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        assert main(["bench-serve", server.url, "--model", "m", "--duration", "60", "--warm-up", "0", "--rate", "100", "--json", str(file)]) == 130
    assert "requests a second" in capsys.readouterr().out
    found = json.loads(file.read_text())
    assert 0.5 < found["seconds"] < 5 and abs(found["sent"] - 100 * found["seconds"]) < 20 and not found["failed"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_server_that_goes_away_fails_what_was_due_and_no_more() -> None:
    with plain() as server:
        gone = threading.Timer(0.3, server.close)
        gone.start()
        found = run(server.url, "m", rate=100, concurrency=4, patience=0.2, **{**SHORT, "duration": 1.0})
        gone.join()
    assert found.unconnected and found.succeeded + found.failed == found.sent


def test_an_outcome_says_when_it_cannot_be_believed() -> None:
    found = run_nothing()
    assert not found.saturated and replace(found, cpu=0.95).saturated


def run_nothing() -> Outcome:
    with plain() as server:
        return run(server.url, "m", rate=20, concurrency=1, duration=0.2, warm_up=0, inputs=INPUTS)
