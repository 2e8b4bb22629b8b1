"""Inference over gRPC as standard clients do it: tritonclient (with and without asyncio), typed and raw tensors, streams."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

import fanal
from fanal.export import Dim, export, load, save
from tests.serve import models
from tests.serve.grpc.calls import infer, output, request, stream
from tests.serve.grpc.house import House, house, status


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "m": models.adding(folder / "m.fanal", 1.0), "net": models.network(folder / "net.fanal"),
        "scores": _scores(folder / "scores.fanal"), "slow": models.spinning(folder / "slow.fanal"),
        "half": _half(folder / "half.fanal"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def served(files: dict[str, Path]) -> Iterator[House]:
    with house(files) as found:
        yield found


def _scores(path: Path) -> Path:
    def same(x: fanal.Tensor) -> fanal.Tensor:
        return x * 1.0

    dims = {"x": {0: Dim("batch", max=8)}}
    save(export(same, (fanal.zeros(2, 3),), dynamic_shapes=dims, output_names=["y"], labels={"y": ["cat", "dog", "owl"]}), path)
    return path


def _half(path: Path) -> Path:
    def twice(x: fanal.Tensor) -> fanal.Tensor:
        return x + x

    example = fanal.zeros(2, 3, dtype=fanal.bfloat16)
    return models.write(path, twice, example, dims={"x": {0: Dim("batch", max=8)}})


@pytest.fixture
def channel(served: House) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.address) as found:
        yield found


def spin(turns: int = 10_000_000, id: str = "") -> Any:
    """A request that takes some tenths of a second."""
    return request("slow", id=id, turns=np.array(turns))


def given(x: np.ndarray, name: str = "x") -> list[Any]:
    made = triton.InferInput(name, x.shape, "FP32")
    made.set_data_from_numpy(x)
    return [made]


def test_tritonclient(served: House, files: dict[str, Path]) -> None:
    with triton.InferenceServerClient(served.address) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("net", "1")
        assert not client.is_model_ready("other") and not client.is_model_ready("net", "2")
        assert client.get_server_metadata().name == "fanal"
        metadata = client.get_model_metadata("net")
        assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [("x", "FP32", [-1, 1, 8, 8])]
        config = client.get_model_config("net").config
        assert config.max_batch_size == 32 and list(config.input[0].dims) == [1, 8, 8]
        x = models.rows(3, 1, 8, 8)
        found = client.infer("net", given(x), request_id="seven", outputs=[triton.InferRequestedOutput("y")], priority=2, timeout=9_000_000)
        assert found.get_response().id == "seven" and found.get_response().model_version == "1"
        wanted = load(files["net"])(fanal.from_numpy(x)).numpy()
        assert np.array_equal(found.as_numpy("y"), wanted)  # the bits of the program
        stats = client.get_inference_statistics("net").model_stats[0]
        assert stats.inference_stats.success.count == 1 and stats.inference_count == 3
        assert {s.name for s in client.get_inference_statistics().model_stats} == {"m", "net", "scores", "slow", "half"}
        compressed = client.infer("net", given(x), compression_algorithm="gzip")
        assert np.array_equal(compressed.as_numpy("y"), wanted)


def test_tritonclient_with_asyncio(served: House) -> None:
    async def main() -> None:
        async with triton_aio.InferenceServerClient(served.address) as client:
            assert await client.is_model_ready("m")
            xs = [np.full((1, 3), i, np.float32) for i in range(20)]
            found = await asyncio.gather(*(client.infer("m", given(x)) for x in xs))
            assert all(np.array_equal(f.as_numpy("y"), x + 1) for f, x in zip(found, xs, strict=True))
            with pytest.raises(InferenceServerException, match="no model 'n'"):
                await client.infer("n", given(xs[0]))

    asyncio.run(main())


def test_tritonclient_streams(served: House) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    with triton.InferenceServerClient(served.address) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for i in range(50):
            client.async_stream_infer("m", given(np.full((1, 3), i, np.float32)), request_id=str(i))
        found = [answers.get(timeout=10) for _ in range(50)]
        assert all(error is None for _, error in found)
        for result, _ in found:
            assert result.as_numpy("y")[0, 0] == float(result.get_response().id) + 1
        # An error is an answer like others, and the stream goes on.
        client.async_stream_infer("m", given(np.zeros((1, 4), np.float32)), request_id="bad")
        _, error = answers.get(timeout=10)
        assert "inputs.x.shape" in str(error)
        client.async_stream_infer("m", given(np.zeros((1, 3), np.float32)), enable_empty_final_response=True)
        result, _ = answers.get(timeout=10)
        assert result.get_response().parameters["triton_final_response"].bool_param
        client.stop_stream()


def test_classes(served: House) -> None:
    x = np.array([[0.5, 2.0, -1.0], [np.nan, 0.25, 0.25]], np.float32)
    with triton.InferenceServerClient(served.address) as client:
        found = client.infer("scores", given(x), outputs=[triton.InferRequestedOutput("y", class_count=2)])
        wanted = [[b"2.000000:1:dog", b"0.500000:0:cat"], [b"0.250000:1:dog", b"0.250000:2:owl"]]
        assert found.as_numpy("y").tolist() == wanted
        found = client.infer("scores", given(x), outputs=[triton.InferRequestedOutput("y", class_count=9)])
        assert found.as_numpy("y").shape == (2, 3)


def test_typed_contents_and_raw_give_the_same(channel: grpc.Channel) -> None:
    x = models.rows(2, 1, 8, 8)
    raw, typed = infer(channel, request("net", x=x)), infer(channel, request("net", raw=False, x=x))
    assert raw.raw_output_contents == typed.raw_output_contents and not typed.outputs[0].HasField("contents")


def test_bfloat16_is_raw_only(channel: grpc.Channel) -> None:
    bits = np.array([[0x3F80, 0x4000, 0x4040]], np.uint16)  # 1, 2, 3
    message = request("half", x=bits)
    message.inputs[0].datatype = "BF16"
    found = infer(channel, message)
    assert np.frombuffer(found.raw_output_contents[0], np.uint16).tolist() == [0x4000, 0x4080, 0x40C0]
    del message.raw_input_contents[:]
    message.inputs[0].contents.fp32_contents.extend([1, 2, 3])
    assert status(lambda: infer(channel, message)) == (
        "INVALID_ARGUMENT", "[infer] inputs.x.contents cannot hold BF16. Try: raw_input_contents.",
    )  # fmt: skip


# -- streams without ids, deadlines, cancellation --------------------------------------------------------------


def test_answers_without_ids_come_in_order_and_those_with_ids_when_they_are_there(channel: grpc.Channel) -> None:
    one = np.ones((1, 3), np.float32)
    messages = [spin(), request("m", x=one), request("m", id="quick", x=one)]
    found = list(stream(channel, messages, timeout=20))
    assert [f.infer_response.id for f in found] == ["quick", "", ""]
    assert [f.infer_response.model_name for f in found] == ["m", "slow", "m"]


def test_what_is_no_message_is_an_answer_of_the_stream(channel: grpc.Channel) -> None:
    good = request("m", x=np.ones((1, 3), np.float32))
    found = list(stream(channel, [b"\xff\xff", good], timeout=10))
    assert "no ModelInferRequest" in found[0].error_message and output(found[1].infer_response)[0, 0] == 2


def test_a_client_that_does_not_read_is_held_back(served: House, channel: grpc.Channel) -> None:
    taken, zeros = 0, np.zeros((1000, 3), np.float32)

    def messages() -> Iterator[Any]:
        nonlocal taken
        for i in range(3000):
            taken = i
            yield request("m", x=zeros)

    call = stream(channel, messages(), timeout=20)
    time.sleep(1.0)
    assert taken < 2500 and served.do(lambda: served.version().statistics.pending) <= 128
    assert len(list(call)) == 3000


def test_deadlines(served: House, channel: grpc.Channel) -> None:
    before = served.version("slow").statistics.missed
    code, _ = status(lambda: infer(channel, spin(), timeout=0.02))
    assert code == "DEADLINE_EXCEEDED"
    message = spin()
    message.parameters["timeout"].int64_param = 1000
    code, text = status(lambda: infer(channel, message, timeout=None))
    assert code == "DEADLINE_EXCEEDED" and "deadline passed" in text
    _until(lambda: served.version("slow").statistics.pending == 0)
    assert served.version("slow").statistics.missed + served.version("slow").statistics.cancelled >= before + 2


@pytest.mark.parametrize("streaming", [False, True])
def test_cancelling_frees_the_queue(served: House, channel: grpc.Channel, streaming: bool) -> None:
    version = served.version("slow")
    before = version.statistics.cancelled
    _until(lambda: version.executors[0].idle)  # a batch whose deadline has passed is still computed
    first = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer").future(spin().SerializeToString())
    _until(lambda: version.statistics.pending == 1)
    if streaming:
        open_ = threading.Event()
        call = stream(channel, _held([spin(id=str(i)) for i in range(5)], open_))
        count = 5
    else:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer").future(spin().SerializeToString())
        count = 1
    _until(lambda: version.waiting == count)
    call.cancel()
    _until(lambda: version.waiting == 0)
    assert version.statistics.cancelled == before + count
    first.result(20)
    _until(lambda: version.statistics.pending == 0)
    if streaming:
        open_.set()


def _held(messages: list[Any], until: threading.Event) -> Iterator[Any]:
    yield from messages
    until.wait(20)


def _until(true: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)
