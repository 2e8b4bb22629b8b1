"""Connections as they come from strangers: broken, slow, too large, too many, gone; and the end of the server."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import threading
import time
from pathlib import Path

import pytest
import requests

from fanal.serve.access import Right
from fanal.serve.http.answering import _address
from fanal.serve.http.messages import Response, as_json
from fanal.serve.http.routes import rest_routes
from fanal.serve.http.routing import Route
from fanal.serve.settings import Settings
from fanal.serve.version import Flow
from tests.serve.http.serving import Served, everything

BODY = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
BYE = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def post(body: bytes = BODY, headers: bytes = b"", path: bytes = b"/v2/models/shapes/infer") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n%b" % (path, len(body), headers, body)


def split(answer: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """The answers in what a server sent."""
    found = []
    while answer:
        head, _, rest = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        status = int(first.split(" ")[1])
        headers = dict(line.split(": ", 1) for line in lines)
        size = int(headers.get("content-length", 0)) if status != 100 else 0
        found.append((status, headers, rest[:size]))
        answer = rest[size:]
    return found


def one(answer: bytes) -> tuple[int, dict[str, str], str]:
    (status, headers, body), = split(answer)
    return status, headers, json.loads(body).get("error", "")


@pytest.fixture(scope="module")
def strict(models: dict[str, Path]):
    """A server whose limits are small."""
    settings = Settings(max_body=4096, max_header=2048, header_timeout=0.3, body_timeout=0.4, keepalive_timeout=0.3, max_connections=8)
    with Served({"shapes": models["shapes"]}, settings) as s:
        yield s


# -- what is no HTTP ---------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), b"hello\r\n\r\n", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nA\0: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
    b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"GET nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
])  # fmt: skip
def test_what_is_no_http_is_answered_in_json(served: Served, data: bytes) -> None:
    status, headers, error = one(served.raw(data, 3.0))
    assert 400 <= status < 500 and error.startswith("[serve]") and headers["content-type"] == "application/json"
    assert served.raw(BYE).startswith(b"HTTP/1.1 200 OK\r\n")


def test_two_lengths_can_not_smuggle_a_request(served: Served) -> None:
    """A body that another server would take for the next request is not taken for one."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    status, headers, _ = one(served.raw(post(LIVE, upgrade, b"/v2")))
    assert status == 400 and headers["connection"] == "close"


def test_an_upgrade_that_is_offered_need_not_be_taken(served: Served) -> None:
    """curl --http2 asks like this."""
    ask = LIVE[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    assert [a[0] for a in split(served.raw(ask + BYE))] == [200, 200]


def test_http_1_0_and_absolute_targets(served: Served) -> None:
    (status, headers, _), = split(served.raw(b"GET /v2/health/live HTTP/1.0\r\n\r\n"))
    assert status == 200 and headers["connection"] == "close"
    # Who speaks 1.0 knows of no interim answers.
    (status, _, _), = split(served.raw(post(BODY, b"Expect: 100-continue\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")))
    assert status == 200
    (status, _, _), = split(served.raw(BYE.replace(b"GET /", b"GET http://a/")))
    assert status == 200


def test_head_and_unknown_methods(served: Served) -> None:
    r = requests.head(f"{served.url}/v2")
    assert r.status_code == 200 and int(r.headers["content-length"]) > 0 and not r.content
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        r = requests.request(method, f"{served.url}/v2/models/shapes")
        assert r.status_code == 405 and r.headers["allow"] == "GET, HEAD" and "expected GET" in r.json()["error"]


# -- sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [
    b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 3000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 400 + b"\r\n", b"GET /" + b"a" * 100_000, b"GET / HTTP/1.1\r\nA: " + b"b" * 100_000,
])  # fmt: skip
def test_heads_that_are_too_long(strict: Served, data: bytes) -> None:
    assert one(strict.raw(data))[0] == 431


def test_bodies_that_are_too_large(strict: Served) -> None:
    with strict.connect() as s:  # the answer comes before the body is sent
        s.sendall(b"POST /v2/models/shapes/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        status, headers, error = one(everything(s))
    assert status == 413 and "4096" in error and headers["connection"] == "close"
    assert one(strict.raw(post(bytes(5000), b"Connection: close\r\n")))[0] == 413
    chunked = b"POST /v2/models/shapes/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert one(strict.raw(chunked + b"1000\r\n" + bytes(4096) + b"\r\n1\r\nx\r\n"))[0] == 413
    frames = chunked + b"1;" + b"e" * 30_000 + b"\r\nx\r\n0\r\n\r\n"
    assert one(strict.raw(frames))[0] == 400
    trailers = chunked + b"1\r\nx\r\n0\r\n" + b"T: " + b"t" * 900_000
    assert one(strict.raw(trailers))[0] == 400


def nothing_held(served: Served) -> bool:
    """Whether nothing is once all connections have ended."""
    live = requests.get(f"{served.url}/v2/health/live", headers={"Connection": "close"})  # they came before it
    end = time.monotonic() + 5
    while served.server.connections and time.monotonic() < end:
        time.sleep(0.01)
    return live.status_code == 200 and served.server.connections == served.server.bodies.held == 0


def test_bodies_of_all_connections_together(models: dict[str, Path]) -> None:
    settings = Settings(max_body=1 << 20, max_bodies=1 << 20, body_timeout=1.0)
    announced = b"POST /v2/models/shapes/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    chunked = b"POST /v2/models/shapes/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    large = b" " * 600_000 + BODY
    packed = post(gzip.compress(large, 1), b"Content-Encoding: gzip\r\nConnection: close\r\n")
    with Served({"shapes": models["shapes"]}, settings) as s:
        bodies = s.server.bodies
        with s.connect() as first, s.connect() as idle:
            idle.sendall(announced % (1 << 20))  # what is announced takes no room
            first.sendall(announced % 700_000 + bytes(600_000))
            while bodies.held < 600_000:
                time.sleep(0.01)
            for data in (announced % 500_000, chunked + b"7a120\r\n" + bytes(500_000), packed):
                start = time.monotonic()
                status, headers, error = one(s.raw(data))
                assert status == 503 and headers["retry-after"] == "1" and "at most 1048576 bytes together" in error
                assert time.monotonic() - start < 2.9  # the second is heard out for a while, so that it reads the answer
            assert [a[0] for a in split(s.raw(post() + BYE))] == [200, 200]
            assert everything(first).startswith(b"HTTP/1.1 408 ")  # too slow
        assert nothing_held(s)
        # Other ways to end: answered, refused, too large, inflated, sent ahead, gone.
        for data, status in ((post(large), 200), (post(large + b"?"), 400), (chunked + b"124f80\r\n" + bytes(1_200_000), 413), (packed, 200)):
            assert split(s.raw(data.replace(b"Host: a", b"Host: a\r\nConnection: close")))[0][0] == status
            assert nothing_held(s)
        for data in (announced % 700_000 + bytes(600_000), post() * 3 + announced % 700_000 + bytes(600_000), post(large)):
            with s.connect() as c:
                c.sendall(data)
            assert nothing_held(s)
        assert [a[0] for a in split(s.raw(post(large) + BYE))] == [200, 200]
    with pytest.raises(ValueError, match="larger than all together"):
        Settings(max_body=2, max_bodies=1)
    Settings(max_body=2, max_bodies=0)


def test_trailers_change_nothing(served: Served) -> None:
    """What comes after a body does not say how it was to be read, however much of it comes."""
    ask = b"POST /v2/models/shapes/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
    for trailer in (b"Content-Encoding: gzip\r\n", b"Content-Type: image/png\r\n", b"Inference-Header-Content-Length: 3\r\n", b"A: b\r\n" * 1000):
        assert [a[0] for a in split(served.raw(ask + trailer + b"\r\n" + BYE))] == [200, 200]


def test_chunks(served: Served) -> None:
    parts = b"".join(b"1\r\n%c\r\n" % c for c in BODY) + b"0\r\nTrailer: x\r\n\r\n"
    ask = b"POST /v2/models/shapes/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + parts
    assert [a[0] for a in split(served.raw(ask + BYE))] == [200, 200]


def test_a_refused_request_with_a_small_body_leaves_the_connection(served: Served) -> None:
    answers = split(served.raw(post(path=b"/nothing") + post(path=b"/v2") + BYE))
    assert [a[0] for a in answers] == [404, 405, 200]


def test_expect_100_continue(served: Served) -> None:
    with served.connect() as s:
        s.sendall(post(b"", b"Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: %d" % len(BODY)))
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(BODY + BYE)
        assert [a[0] for a in split(everything(s))] == [200, 200]
    with served.connect() as s:  # who is refused is not told to send
        s.sendall(b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert one(everything(s))[0] == 405


# -- time --------------------------------------------------------------------------------------------


def test_slow_heads_and_bodies(strict: Served) -> None:
    for first, what in ((b"GET / HTTP/1.1\r\nHost: ", "headers"), (post()[:-5], "body")):
        with strict.connect() as s:
            start = time.monotonic()
            s.sendall(first)
            status, headers, error = one(everything(s))
            assert status == 408 and what in error and headers["connection"] == "close"
            assert time.monotonic() - start < 1.5


def test_a_byte_now_and_then_does_not_keep_a_connection(strict: Served) -> None:
    with strict.connect() as s:
        start = time.monotonic()
        s.settimeout(0.05)
        got = b""
        for byte in LIVE * 10:
            try:
                s.sendall(bytes([byte]))
                got += s.recv(1000)
            except TimeoutError:
                continue
            except OSError:
                break
            if got:
                break
        assert got.startswith(b"HTTP/1.1 408") and time.monotonic() - start < 1.5


def test_idle_connections_end(strict: Served) -> None:
    for first in (b"", LIVE, b"\r\n"):
        with strict.connect() as s:
            start = time.monotonic()
            s.sendall(first)
            answer = everything(s)
            assert 0.2 < time.monotonic() - start < 1.5 and answer.count(b"HTTP/1.1 200") == bool(first.strip())


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(models: dict[str, Path]) -> None:
    big = as_json({"x": "y" * (1 << 25)})

    def routes(engine, settings):
        return [Route("GET", "/big", Right.USE, lambda r: big)]

    with Served({}, Settings(body_timeout=0.5), routes=routes) as s, s.connect() as c:
        c.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        found = b""
        while part := c.recv(1 << 19):
            found += part
            time.sleep(0.02)  # the whole takes longer than the time for a part of it
        assert split(found)[0][2] == big.body


def test_a_client_that_takes_no_answers_is_given_up(models: dict[str, Path]) -> None:
    big = as_json({"x": "y" * (1 << 22)})

    def routes(engine, settings):
        return [Route("GET", "/big", Right.USE, lambda r: big)]
    with Served({}, Settings(body_timeout=0.4), routes=routes) as s, s.connect() as c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
        wait(lambda: s.server.connections == 1)
        start = time.monotonic()
        while s.server.connections and time.monotonic() - start < 5:
            time.sleep(0.05)
        assert not s.server.connections and time.monotonic() - start > 0.2


# -- many --------------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_their_order(served: Served) -> None:
    bodies = [BODY.replace(b"{", b'{"id":"%d",' % i, 1) for i in range(200)]
    answers = split(served.raw(b"".join(map(post, bodies)) + LIVE + post(path=b"/nothing") + BYE))
    assert [json.loads(a[2]).get("id") for a in answers[:200]] == [str(i) for i in range(200)]
    assert [a[0] for a in answers[200:]] == [200, 404, 200]


def test_thousands_of_requests_sent_ahead_leave_others_their_turn(served: Served) -> None:
    """Whatever they are: those that are answered at once, those that wait, those of nothing."""
    many = [b"GET /nothing/%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(9000)]
    for ask, status in ((b"".join(many), 404), (LIVE * 9000, 200), (post() * 2000, 200)):
        delays: list[float] = []
        done = threading.Event()

        async def watch(delays: list[float] = delays, done: threading.Event = done) -> None:
            while not done.is_set():
                start = time.perf_counter()
                await asyncio.sleep(0)
                delays.append(time.perf_counter() - start)

        watching = threading.Thread(target=lambda: served.run(watch()))  # noqa: B023
        watching.start()
        count = ask.count(b"Host: a")
        with served.connect() as c:
            sender = threading.Thread(target=c.sendall, args=(ask + BYE,))
            sender.start()
            answers = split(everything(c))
            sender.join()
        done.set()
        watching.join()
        assert [a[0] for a in answers] == [status] * count + [200]
        # All at once took some hundred milliseconds; the rest is what a busy machine may add.
        assert sorted(delays)[-3] < 0.1, sorted(delays)[-5:]


def test_pipelined_requests_before_something_broken(served: Served) -> None:
    answers = split(served.raw(post() + post() + b"broken\r\n\r\n"))
    assert [a[0] for a in answers[:2]] == [200, 200] and answers[-1][1]["connection"] == "close"


def test_requests_in_single_bytes(served: Served) -> None:
    with served.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post() + BYE:
            s.sendall(bytes([byte]))
        assert [a[0] for a in split(everything(s))] == [200, 200]


def test_too_many_connections(strict: Served) -> None:
    held = [strict.connect() for _ in range(8)]
    try:
        status, headers, error = one(strict.raw(LIVE))
        assert status == 503 and headers["retry-after"] == "1" and "connections" in error
    finally:
        for s in held:
            s.close()
    start = time.monotonic()
    while time.monotonic() - start < 5 and not strict.raw(BYE).startswith(b"HTTP/1.1 200"):
        time.sleep(0.05)
    assert time.monotonic() - start < 5


# -- who goes away -----------------------------------------------------------------------------------


def test_a_client_that_goes_away_takes_its_request_with_it(models: dict[str, Path]) -> None:
    with Served({"shapes": models["shapes"]}, flow=Flow(batch_delay=5.0)) as s:
        with s.connect() as c:
            c.sendall(post())
            wait(lambda: s.engine.find("shapes").waiting == 1)
        wait(lambda: s.engine.find("shapes").waiting == 0)
        found = s.engine.find("shapes").statistics
        assert found.failures == {"cancelled": 1} and found.cancelled == 1 and found.executions == 0


def test_a_full_queue_says_when_to_come_back(models: dict[str, Path]) -> None:
    with Served({"shapes": models["shapes"]}, flow=Flow(queue_size=1, batch_delay=5.0)) as s, s.connect() as c:
        c.sendall(post())
        wait(lambda: s.engine.find("shapes").waiting == 1)
        start = time.monotonic()
        status, headers, error = one(s.raw(post(headers=b"Connection: close\r\n")))
        assert status == 429 and headers["retry-after"] == "1" and "queue" in error and time.monotonic() - start < 0.1


def wait(until) -> None:
    start = time.monotonic()
    while not until():
        assert time.monotonic() - start < 3
        time.sleep(0.01)


# -- the end -----------------------------------------------------------------------------------------


def slow_routes(engine, settings) -> list[Route]:
    async def slow(request) -> Response:
        await asyncio.sleep(0.5)
        return as_json({"done": True})

    return [*rest_routes(engine, settings), Route("GET", "/slow", Right.USE, slow)]


def test_while_it_drains_health_can_be_asked_and_open_connections_are_answered(models: dict[str, Path]) -> None:
    with Served({"shapes": models["shapes"]}, routes=slow_routes) as s, s.connect() as old:
        old.sendall(LIVE)
        assert old.recv(1000).startswith(b"HTTP/1.1 200")
        s.call(lambda: setattr(s.engine, "draining", True))
        status = lambda path: requests.get(s.url + path).status_code
        assert status("/v2/health/ready") == 503 and status("/v2/health/live") == 200
        status, headers, error = one(s.raw(post()))
        assert status == 503 and headers["retry-after"] == "1" and headers["connection"] == "close" and "end" in error
        old.sendall(post())
        (status, headers, _), = split(everything(old))
        assert status == 200 and headers["connection"] == "close"


def test_stop_finishes_what_is_under_way(models: dict[str, Path]) -> None:
    with Served({}, routes=slow_routes) as s, s.connect() as idle, s.connect() as busy:
        idle.sendall(LIVE)
        assert idle.recv(1000)
        busy.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.1)
        stopping = threading.Thread(target=s.run, args=(s.server.stop(5.0),))
        stopping.start()
        start = time.monotonic()
        assert idle.recv(10) == b"" and time.monotonic() - start < 0.3
        (status, headers, body), = split(everything(busy))
        assert status == 200 and json.loads(body) == {"done": True} and headers["connection"] == "close"
        stopping.join(5)
        with pytest.raises(ConnectionRefusedError):
            s.connect()


def test_stop_has_no_more_patience_than_it_is_told(models: dict[str, Path]) -> None:
    with Served({}, routes=slow_routes) as s, s.connect() as busy:
        busy.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.1)
        start = time.monotonic()
        s.run(s.server.stop(0.1))
        assert time.monotonic() - start < 0.4 and everything(busy) == b""


def test_a_handler_that_fails_is_a_500_that_tells_nothing(models: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    def broken(request) -> Response:
        raise RuntimeError("secret")

    async def later(request) -> Response:
        raise RuntimeError("secret")

    def routes(engine, settings):
        return [Route("GET", "/a", Right.USE, broken), Route("GET", "/b", Right.USE, later)]

    with Served({}, routes=routes) as s:
        for path in "ab":
            r = requests.get(f"{s.url}/{path}")
            assert r.status_code == 500 and "secret" not in r.text
    assert caplog.text.count("secret") >= 2


def test_a_line_in_the_log_for_each_request(models: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "fanal.serve.access")
    with Served({"shapes": models["shapes"]}, Settings(access_log=True)) as s:
        s.raw(post() + BYE)
    lines = [r.getMessage() for r in caplog.records if r.name == "fanal.serve.access"]
    assert len(lines) == 2 and '"POST /v2/models/shapes/infer" 200' in lines[0] and re.match(r"127\.0\.0\.1:\d+ \"", lines[0])


def test_addresses_in_the_log() -> None:
    assert _address(("127.0.0.1", 80)) == "127.0.0.1:80" and _address(("::1", 80)) == "[::1]:80" and _address(None) == "-"
