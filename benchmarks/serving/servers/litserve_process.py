"""LitServe's process: `python -m benchmarks.serving.servers.litserve_process SETTING`. Its workers unpickle the class, so
it stands at the top of a module."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import litserve
import torch

from benchmarks.serving.servers.network import network


class Model(litserve.LitAPI):
    """The network behind LitServe's JSON."""

    def __init__(self, setting: dict[str, Any]):
        batched = setting["batch"] > 1
        super().__init__(max_batch_size=setting["batch"], batch_timeout=1e-3 if batched else 0.0)
        self.setting, self.batched = setting, batched

    def setup(self, device: str) -> None:
        self.network = network(self.setting["case"], Path(self.setting["folder"]), self.setting["width"])

    def decode_request(self, request):  # unannotated: an annotation would become FastAPI's schema
        return torch.tensor(request["x"])

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self.network(x) if self.batched else self.network(x[None])[0]

    def encode_response(self, output: torch.Tensor) -> dict[str, Any]:
        return {"logits": output.tolist()}


def main() -> None:
    """Serve until ended."""
    setting = json.loads(sys.argv[1])
    server = litserve.LitServer(
        Model(setting), accelerator="cpu", workers_per_device=1, fast_queue=True,
    )  # fmt: skip
    server.run(host="127.0.0.1", port=setting["ports"][0], num_api_servers=setting["processors"], log_level="error", generate_client_file=False)


if __name__ == "__main__":
    main()
