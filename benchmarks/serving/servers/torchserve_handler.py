"""What TorchServe calls in its workers; packed into the model archive, with setting.json beside it."""

import json
from pathlib import Path

import torch
from ts.torch_handler.base_handler import BaseHandler

from benchmarks.serving.servers.network import network


class Handler(BaseHandler):
    """JSON in, JSON out."""

    def initialize(self, context):
        setting = json.loads((Path(context.system_properties["model_dir"]) / "setting.json").read_text())
        self.network = network(setting["case"], Path(setting["folder"]), setting["width"])
        self.initialized = True

    def handle(self, data, context):
        x = torch.tensor([row["body"]["x"] for row in data])
        with torch.inference_mode():
            logits = self.network(x).tolist()
        return [{"logits": row} for row in logits]
