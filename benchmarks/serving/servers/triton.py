"""Triton Inference Server from the wheel of PyTriton: its HTTP front end and batcher, PyTorch called back in Python."""

from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path

from benchmarks.serving.servers.server import Command, Server, Setting
from benchmarks.serving.wire import V2_BINARY, V2_JSON


def _command(setting: Setting) -> Command:
    facts = json.dumps({**setting._asdict(), **setting.facts()}, default=str)
    # Its Python backend is linked to a libpython and would take the system's, of another release than the library's.
    found = {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
    return Command([sys.executable, "-m", "benchmarks.serving.servers.triton", facts], found)


SERVER = Server(
    "triton", "Triton (PyTriton)", ("nvidia-pytriton", "torch"),
    "dynamic batcher, max_batch_size 32, no queue delay (batches form while the one before is computed), the wheel's "
    "tritonserver with its Python callback, one instance a processor, a TorchScript module, one thread each",
    _command, "/v2/models/{case}/ready", (V2_JSON, V2_BINARY),
)  # fmt: skip


def main() -> None:
    """The server's process."""
    setting = json.loads(sys.argv[1])
    import numpy as np
    import torch
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    from benchmarks.serving.networks import NETWORKS
    from benchmarks.serving.servers.network import network

    case = setting["case"]
    module = network(case, Path(setting["folder"]), setting["width"])

    @batch
    def infer(x: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            return {"logits": module(torch.from_numpy(x)).numpy()}

    http, grpc, metrics = setting["ports"]
    here = "127.0.0.1"
    config = TritonConfig(
        http_address=here, http_port=http, grpc_address=here, grpc_port=grpc, metrics_address=here, metrics_port=metrics,
        log_verbose=0, exit_on_error=True,
    )  # fmt: skip
    model = ModelConfig(max_batch_size=setting["batch"], batcher=DynamicBatcher(max_queue_delay_microseconds=0))
    with Triton(config=config) as server:
        server.bind(
            case, [infer] * setting["processors"], [Tensor(name="x", dtype=np.float32, shape=NETWORKS[case].shape)],
            [Tensor(name="logits", dtype=np.float32, shape=(10,))], config=model,
        )  # fmt: skip
        server.serve()


if __name__ == "__main__":
    main()
