"""The client against a server that does what a test wants; against ours it is used in tests/serve/client/test_ours.py."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

import fanal
from fanal.serve import Client, RequestError
from tests.serve.client.fake import Fake, fake

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def server() -> Iterator[Fake]:
    with fake() as found:
        yield found


@pytest.fixture
def client(server: Fake) -> Iterator[Client]:
    with Client(server.url) as found:
        yield found


def test_an_array_in_an_array_out(client: Client) -> None:
    found = client.infer("m", X)
    assert isinstance(found, np.ndarray) and np.array_equal(found, X + 1) and found.dtype == np.float32


@pytest.mark.parametrize("value", [X, X.tolist(), fanal.from_numpy(X), X[::1], np.asfortranarray(X), X.astype(">f4")])
def test_what_counts_as_an_input(client: Client, value: object) -> None:
    assert np.array_equal(client.infer("m", value), X + 1)
    assert np.array_equal(client.infer("m", {"x": value})["y"], X + 1)


def test_names_in_names_out(server: Fake, client: Client) -> None:
    found = client.infer("pair", {"a": X, "b": [[1, 1, 1], [2, 2, 2]]})
    assert set(found) == {"sum", "difference"} and found["sum"].tolist() == [[1, 2, 3], [5, 6, 7]]
    assert set(client.infer("pair", {"a": X, "b": np.ones((2, 3), np.int64)}, outputs="sum")) == {"sum"}
    # Lists become what the model takes.
    kinds = [t["datatype"] for t in server.seen[1][2]["inputs"]]
    assert kinds == ["FP32", "INT64"]


def test_an_array_for_a_model_of_several_inputs_or_outputs(client: Client) -> None:
    with pytest.raises(ValueError, match=r"'pair' has not one input: got a, b\. Try: inputs by name"):
        client.infer("pair", X)
    with pytest.raises(ValueError, match="'m' has not one output"):
        client.infer("m", X, outputs=["y", "z"])


def test_what_cannot_be_sent(client: Client) -> None:
    with pytest.raises(TypeError, match=r"no such elements.*complex64"):
        client.infer("m", {"x": X.astype(np.complex64)})


def test_what_is_sent(server: Fake) -> None:
    with Client(server.url + "/behind/", api_key="k3y", timeout=7) as client:
        client._transport._prefix = ""  # the fake knows no prefix
        client.infer("m", {"x": X}, version=3, id="a", priority=2, timeout=0.5)
        client.infer("m", {"x": X})
    path, headers, head = server.seen[0]
    assert path == "/v2/models/m/versions/3/infer" and headers["Authorization"] == "Bearer k3y"
    assert head["id"] == "a" and head["parameters"] == {"timeout": 500_000, "priority": 2, "binary_data_output": True}
    assert server.seen[1][2]["parameters"]["timeout"] == 7_000_000
    assert server.connections == 1  # which stays open


def test_questions(server: Fake, client: Client) -> None:
    assert client.live() and client.ready() and client.ready("m") and not client.ready("other")
    assert client.metadata()["name"] == "fake" and client.metadata("m")["inputs"][0]["name"] == "x"
    assert client.models() == {"m": ["1", "2"], "pair": ["1"]} and len(client.stats()) == 3
    server.ready = False
    assert client.live() and not client.ready() and not client.ready("m")


def test_names_never_leave_their_place_in_the_path(server: Fake, client: Client) -> None:
    with pytest.raises(RequestError):
        client.metadata("../../v2?x=1#y")
    assert server.seen[0][0] == "/v2/models/..%2F..%2Fv2%3Fx%3D1%23y"


def test_refusals(server: Fake, client: Client) -> None:
    with pytest.raises(RequestError, match="404: no model other") as error:
        client.infer("other", {"x": X})
    assert (error.value.status, error.value.text, error.value.retry_after) == (404, "no model other", None)
    server.refusals = [(429, "0.25")]
    with pytest.raises(RequestError) as error:
        client.infer("m", {"x": X})
    assert error.value.status == 429 and error.value.retry_after == 0.25
    assert len(server.seen) == 2  # nothing is tried again unasked


def test_trying_again(server: Fake) -> None:
    with Client(server.url, retries=2, timeout=5) as client:
        server.refusals = [(429, "0.02"), (503, "0.02")]
        assert np.array_equal(client.infer("m", {"x": X})["y"], X + 1)
        server.refusals = [(429, "0.02")] * 3
        with pytest.raises(RequestError, match="429"):
            client.infer("m", {"x": X})
        for refusal in ((429, None), (500, "0.02"), (429, "100")):  # it does not say when; not for that; too late
            server.refusals, before = [refusal], len(server.seen)
            with pytest.raises(RequestError, match=str(refusal[0])):
                client.infer("m", {"x": X})
            assert len(server.seen) == before + 1


def test_a_connection_that_was_closed_meanwhile_is_opened_again(server: Fake, client: Client) -> None:
    server.hang_up = True
    for _ in range(5):
        assert np.array_equal(client.infer("m", {"x": X})["y"], X + 1)
        time.sleep(0.01)
    assert server.connections == 5 and len(server.seen) == 5


def test_threads_have_connections_of_their_own(server: Fake, client: Client) -> None:
    barrier, errors = threading.Barrier(4), []

    def work() -> None:
        try:
            barrier.wait(5)
            for _ in range(5):
                assert np.array_equal(client.infer("m", {"x": X})["y"], X + 1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors and server.connections == 4


def test_a_thread_that_ends_leaves_no_connection(server: Fake, client: Client) -> None:
    def files() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    assert client.live()
    before = files()
    for _ in range(20):
        thread = threading.Thread(target=client.live)
        thread.start()
        thread.join()
    assert server.connections == 21 and files() <= before + 22 + 1  # the server's own ends are here, too
    assert len(client._transport._all) == 1


def test_a_process_that_was_forked_has_a_connection_of_its_own(server: Fake, client: Client) -> None:
    assert client.live()
    mine = client._transport._connection()
    child = os.fork()
    if child == 0:
        os._exit(0 if client._transport._connection() is not mine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert client._transport._connection() is mine and client.live() and server.connections == 1


def test_nobody_answers(server: Fake) -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1 does not answer: got Connection refused"):
        client.ready()
    with Client("http://nobody.invalid") as client, pytest.raises(ConnectionError, match=r"nobody\.invalid:80 does not answer"):
        client.ready()
    with Client(server.url.replace("http", "https")) as client, pytest.raises(ConnectionError, match="does not answer: got .*SSL"):
        client.ready()
    with Client("127.0.0.1:1") as client:
        start = time.monotonic()
        with pytest.raises(TimeoutError, match=r"not ready within 0\.2 seconds: got .*Connection refused"):
            client.wait_until_ready(0.2)
        assert time.monotonic() - start < 1
    server.pause = 3.0
    with Client(server.url) as client, pytest.raises(TimeoutError, match="did not answer within"):
        client.infer("m", {"x": X}, timeout=0.05)


def test_waiting(server: Fake, client: Client) -> None:
    server.ready = False
    timer = threading.Timer(0.15, lambda: setattr(server, "ready", True))
    timer.start()
    client.wait_until_ready(5)
    timer.join()


def test_an_answer_that_is_cut_off(client: Client) -> None:
    with pytest.raises(ValueError, match="cut off"):
        client.infer("cut", {"x": X})


@pytest.mark.parametrize("url", ["ftp://host", "http://", "http://user@host", "http://host?a=b"])
def test_urls(url: str) -> None:
    with pytest.raises(ValueError, match=r"\[Client\] no URL"):
        Client(url)


def test_another_server_is_in_between(server: Fake, client: Client) -> None:
    assert json.dumps(client.metadata("m"))  # plain data
    server.refusals = [(502, None)]
    with pytest.raises(RequestError, match="502"):
        client.infer("m", {"x": X})
