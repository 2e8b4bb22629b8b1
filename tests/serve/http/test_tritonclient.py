"""tritonclient.http, synchronous and asyncio, unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.serve.http.serving import LABELS, Served

httpclient: Any = pytest.importorskip("tritonclient.http")
aioclient: Any = pytest.importorskip("tritonclient.http.aio")
utils: Any = pytest.importorskip("tritonclient.utils")

ROWS = np.array([[1, 2], [0.5, -1]], "f4")
SCORES = [[2.0, 4.0, -0.5], [0.0, -2.0, -0.75]]


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Any]:
    with httpclient.InferenceServerClient(f"127.0.0.1:{served.port}", concurrency=4) as c:
        yield c


def inputs(x: np.ndarray, datatype: str, binary: bool) -> list[Any]:
    found = httpclient.InferInput("x", list(x.shape), datatype)
    found.set_data_from_numpy(x, binary_data=binary)
    return [found]


def test_what_is_there(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("shapes") and client.is_model_ready("shapes", "1")
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata()["name"] == "fanal"
    assert client.get_model_metadata("shapes")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert client.get_model_config("shapes", "1")["max_batch_size"] == 4
    assert client.get_inference_statistics("shapes")["model_stats"][0]["name"] == "shapes"
    assert len(client.get_inference_statistics()["model_stats"]) > 10


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_infer(client: Any, binary: bool, packed: str | None) -> None:
    big = np.tile(ROWS, (32, 1))
    r = client.infer(
        "shapes", inputs(big, "FP32", binary), request_id="a", request_compression_algorithm=packed, response_compression_algorithm=packed,
        outputs=[httpclient.InferRequestedOutput("scores", binary_data=binary)],
    )  # fmt: skip
    assert r.as_numpy("scores").tolist() == SCORES * 32 and r.get_response()["id"] == "a"


def test_infer_without_outputs_named(client: Any) -> None:
    assert client.infer("shapes", inputs(ROWS, "FP32", True), model_version="1").as_numpy("scores").tolist() == SCORES


@pytest.mark.parametrize("binary", [True, False])
def test_classes(client: Any, binary: bool) -> None:
    wanted = [httpclient.InferRequestedOutput("scores", binary_data=binary, class_count=2)]
    found = client.infer("shapes", inputs(ROWS, "FP32", True), outputs=wanted).as_numpy("scores")
    texts = [[t if isinstance(t, str) else t.decode() for t in row] for row in found.tolist()]
    assert texts == [[f"4.000000:1:{LABELS[1]}", f"2.000000:0:{LABELS[0]}"], [f"0.000000:0:{LABELS[0]}", f"-0.750000:2:{LABELS[2]}"]]


def test_short_floats(client: Any) -> None:
    half = np.array([[0.5, -2]], "f2")
    assert client.infer("fp16", inputs(half, "FP16", True)).as_numpy("y").tolist() == half.tolist()
    short = httpclient.InferInput("x", [1, 2], "BF16")
    short.set_data_from_numpy(np.array([[0.5, 3]], ml_dtypes.bfloat16))
    assert client.infer("bf16", [short]).as_numpy("y").tolist() == [[0.5, 3.0]]


def test_errors(client: Any) -> None:
    with pytest.raises(utils.InferenceServerException, match="no model 'shape'.*Try: shapes"):
        client.infer("shape", inputs(ROWS, "FP32", True))
    with pytest.raises(utils.InferenceServerException, match="inputs.x.datatype"):
        client.infer("shapes", inputs(ROWS.astype("f8"), "FP64", True))
    with pytest.raises(utils.InferenceServerException, match="deadline"):
        client.infer("shapes", inputs(ROWS, "FP32", True), timeout=1)


def test_many_at_once(client: Any) -> None:
    asked = [client.async_infer("shapes", inputs(ROWS[i % 2 : i % 2 + 1], "FP32", True)) for i in range(40)]
    assert [a.get_result().as_numpy("scores").tolist() for a in asked] == [[SCORES[i % 2]] for i in range(40)]


def test_asyncio(served: Served) -> None:
    async def main() -> list[Any]:
        async with aioclient.InferenceServerClient(f"127.0.0.1:{served.port}") as client:
            assert await client.is_server_ready() and await client.is_model_ready("shapes")
            x = aioclient.InferInput("x", [2, 2], "FP32").set_data_from_numpy(ROWS)
            # aiohttp takes gzip unasked; of all answers the client reads it in those of models only.
            assert len((await client.get_inference_statistics())["model_stats"]) > 10
            wide = aioclient.InferInput("x", [1, 1 << 16], "FP32").set_data_from_numpy(np.ones((1, 1 << 16), "f4"))
            assert (await client.infer("wide", [wide])).as_numpy("y").sum() == 1 << 16
            gzip = {"request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"}
            plain = [client.infer("shapes", [x]) for _ in range(20)]
            return [r.as_numpy("scores").tolist() for r in await asyncio.gather(*plain, client.infer("shapes", [x], **gzip))]

    assert asyncio.run(main()) == [SCORES] * 21
