"""What is wrong with a request is said with the name of its field, as INVALID_ARGUMENT; the server goes on, and counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanal.serve.version import Flow
from tests.serve import models
from tests.serve.grpc.calls import infer, output, request
from tests.serve.grpc.house import House, house, status

X = np.ones((1, 3), np.float32)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("models")
    files: dict[str, Path] = {"m": models.adding(folder / "m.fanal", 1.0), "spin": models.spinning(folder / "spin.fanal")}
    with house(files, max_body=1 << 20) as found:
        yield found


@pytest.fixture(scope="module")
def channel(served: House) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.address) as found:
        yield found


def good() -> Any:
    return request("m", x=X)


def _shape(*shape: int) -> Callable[[Any], None]:
    def change(r: Any) -> None:
        r.inputs[0].shape[:] = shape

    return change


def _set(**fields: Any) -> Callable[[Any], None]:
    def change(r: Any) -> None:
        for name, value in fields.items():
            setattr(r.inputs[0] if name in ("datatype", "name") else r, name, value)

    return change


def _typed(field: str, *values: Any, datatype: str = "FP32", raw: bool = False) -> Callable[[Any], None]:
    def change(r: Any) -> None:
        if not raw:
            del r.raw_input_contents[:]
        r.inputs[0].datatype = datatype
        getattr(r.inputs[0].contents, field).extend(values)

    return change


def _raw(*parts: bytes) -> Callable[[Any], None]:
    def change(r: Any) -> None:
        r.raw_input_contents[:] = parts

    return change


def _parameter(name: str, on: str = "request", **value: Any) -> Callable[[Any], None]:
    def change(r: Any) -> None:
        holder = r if on == "request" else r.inputs[0] if on == "input" else (r.outputs[0] if r.outputs else r.outputs.add(name="y"))
        for kind, v in value.items():
            setattr(holder.parameters[name], kind, v)

    return change


def _outputs(*names: str) -> Callable[[Any], None]:
    def change(r: Any) -> None:
        for name in names:
            r.outputs.add(name=name)

    return change


def _twice(r: Any) -> None:
    r.inputs.add().CopyFrom(r.inputs[0])
    r.raw_input_contents.append(r.raw_input_contents[0])


def _no_inputs(r: Any) -> None:
    del r.inputs[:], r.raw_input_contents[:]


WRONG = {
    "no model": (_set(model_name="n"), "NOT_FOUND", "no model 'n'"),
    "a path": (_set(model_name="../m"), "INVALID_ARGUMENT", "model_name"),
    "a long name": (_set(model_name="m" * 100_000), "INVALID_ARGUMENT", "model_name"),
    "version is text": (_set(model_version="new"), "INVALID_ARGUMENT", "model_version"),
    "version is negative": (_set(model_version="-1"), "INVALID_ARGUMENT", "model_version"),
    "version is huge": (_set(model_version="9" * 5000), "INVALID_ARGUMENT", "model_version"),
    "no such version": (_set(model_version="7"), "NOT_FOUND", "no version 7"),
    "no inputs": (_no_inputs, "INVALID_ARGUMENT", "'x' is missing"),
    "an unknown input": (_set(name="z"), "INVALID_ARGUMENT", "no input 'z'"),
    "an input twice": (_twice, "INVALID_ARGUMENT", "'x' is there twice"),
    "an unknown datatype": (_set(datatype="FP31"), "INVALID_ARGUMENT", "inputs.x.datatype"),
    "text": (_set(datatype="BYTES"), "INVALID_ARGUMENT", "takes BYTES"),
    "another datatype": (_set(datatype="INT32"), "INVALID_ARGUMENT", "inputs.x.datatype"),
    "another shape": (_shape(3, 1), "INVALID_ARGUMENT", "inputs.x.shape"),
    "a negative dim": (_shape(-1, -3), "INVALID_ARGUMENT", "inputs.x.shape"),
    "dims whose product overflows": (_shape(2**62, 3, 4), "INVALID_ARGUMENT", "inputs.x.shape is of more elements"),
    "dims whose product is 3 modulo 2**64": (_shape(3, 2**32 + 1, 2**32 - 1), "INVALID_ARGUMENT", "inputs.x.shape is of more elements"),
    "33 dims": (_shape(*[1] * 32, 3), "INVALID_ARGUMENT", "inputs.x.shape has too many dimensions: got 33; expected at most 32"),
    "many dims": (_shape(*[1] * 100_000, 3), "INVALID_ARGUMENT", "inputs.x.shape"),
    "no dims": (_shape(), "INVALID_ARGUMENT", "raw_input_contents"),
    "no rows": (_shape(0, 3), "INVALID_ARGUMENT", "raw_input_contents"),
    "too few bytes": (_raw(X.tobytes()[:-1]), "INVALID_ARGUMENT", "11 bytes; expected 12"),
    "too many bytes": (_raw(X.tobytes() + b"x"), "INVALID_ARGUMENT", "13 bytes"),
    "more contents than inputs": (_raw(X.tobytes(), b""), "INVALID_ARGUMENT", "2 and 1"),
    "contents of nothing": (_raw(), "INVALID_ARGUMENT", "inputs.x.contents"),
    "contents beside raw": (_typed("fp32_contents", 1, 2, 3, raw=True), "INVALID_ARGUMENT", "inputs.x.contents"),
    "contents of another type": (_typed("int_contents", 1, 2, 3), "INVALID_ARGUMENT", "int_contents"),
    "too few numbers": (_typed("fp32_contents", 1, 2), "INVALID_ARGUMENT", "inputs.x.contents.fp32_contents"),
    "a number too large": (_typed("uint_contents", 300, 1, 1, datatype="UINT8"), "INVALID_ARGUMENT", "got 300; expected UINT8"),
    "a number too small": (_typed("int_contents", -129, 1, 1, datatype="INT8"), "INVALID_ARGUMENT", "got -129"),
    "half precision as numbers": (_typed("fp32_contents", 1, 2, 3, datatype="FP16"), "INVALID_ARGUMENT", "cannot hold FP16"),
    "an unknown output": (_outputs("q"), "INVALID_ARGUMENT", "no output 'q'"),
    "an output twice": (_outputs("y", "y"), "INVALID_ARGUMENT", "'y' is there twice"),
    "a negative timeout": (_parameter("timeout", int64_param=-1), "INVALID_ARGUMENT", "parameters.timeout"),
    "a timeout in words": (_parameter("timeout", string_param="soon"), "INVALID_ARGUMENT", "parameters.timeout"),
    "a huge timeout": (_parameter("timeout", uint64_param=2**64 - 1), "INVALID_ARGUMENT", "parameters.timeout"),
    "a negative priority": (_parameter("priority", int64_param=-1), "INVALID_ARGUMENT", "parameters.priority"),
    "shared memory": (_parameter("shared_memory_region", "input", string_param="r"), "INVALID_ARGUMENT", "inputs.x"),
    "shared memory out": (_parameter("shared_memory_region", "output", string_param="r"), "INVALID_ARGUMENT", "outputs.y"),
    "negative classes": (_parameter("classification", "output", int64_param=-2), "INVALID_ARGUMENT", "outputs.y.parameters.classification"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_requests(served: House, channel: grpc.Channel, what: str) -> None:
    change, code, text = WRONG[what]
    message = good()
    change(message)
    statistics = served.version().statistics
    before = statistics.received - statistics.success - sum(statistics.failures.values())
    found, said = status(lambda: infer(channel, message))
    assert found == code and text in said and said.startswith("[infer]") and len(said) < 1001
    assert statistics.received - statistics.success - sum(statistics.failures.values()) == before == 0
    assert output(infer(channel, good()))[0, 0] == 2  # it is alive


def test_empty_contents_are_zero_elements_only(channel: grpc.Channel) -> None:
    message = request("spin")
    message.inputs.add(name="turns", datatype="INT64", shape=[])
    code, text = status(lambda: infer(channel, message))
    assert code == "INVALID_ARGUMENT" and "int64_contents" in text


def test_unknown_parameters_are_nobodys_business(channel: grpc.Channel) -> None:
    message = good()
    message.parameters["sequence_id"].int64_param = 3
    message.parameters["mine"].string_param = "yes"
    assert output(infer(channel, message))[0, 0] == 2


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x08\x01" * 3, b"\x0a\x02\xff\xfe", bytes(100)])
def test_bytes_that_are_no_message(channel: grpc.Channel, data: bytes) -> None:
    assert status(lambda: infer(channel, data))[0] == "INVALID_ARGUMENT"


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 60))
def test_messages_with_bytes_by_chance(channel: grpc.Channel, data: bytes, at: int, cut: int) -> None:
    whole = good().SerializeToString()
    at %= len(whole)
    try:
        infer(channel, whole[:at] + data + whole[at + cut :])
    except grpc.RpcError as error:
        assert error.code().name in ("INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"), error.details()


def test_messages_that_are_too_large_are_not_taken_compressed_or_not(channel: grpc.Channel) -> None:
    message = good()
    message.raw_input_contents[0] = bytes(3 << 20)
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate):
        code, _ = status(lambda c=compression: infer(channel, message, compression=c))
        assert code == "RESOURCE_EXHAUSTED"
    assert output(infer(channel, good()))[0, 0] == 2


def test_a_full_queue_says_when_to_come_back(tmp_path: Path) -> None:
    files = {"m": models.spinning(tmp_path / "m.fanal")}
    with house(files, flow=Flow(queue_size=1)) as served, grpc.insecure_channel(served.address) as channel:
        message = request("m", turns=np.array(10_000_000)).SerializeToString()
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        futures = [call.future(message) for _ in range(6)]
        ended = [f.exception(20) for f in futures]
        refused = [e for e in ended if e is not None]
        assert refused and all(e.code().name == "RESOURCE_EXHAUSTED" for e in refused)
        trailers = dict(refused[0].trailing_metadata())
        assert float(trailers["retry-after"]) > 0 and int(trailers["grpc-retry-pushback-ms"]) > 0
