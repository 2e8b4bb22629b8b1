"""The ten models. Each is a file with its sizes, its model in two forms, and its data."""

from __future__ import annotations

import importlib

from benchmarks.peers.cases.case import Case

NAMES = (
    "mlp", "lstm", "gpt", "resnet18", "mobilenet", "vit", "audio", "graph", "unet", "dqn",
)  # fmt: skip
SHIPPED = ("resnet18", "mobilenet", "digits")  # of `python -m benchmarks.edge`


def load(name: str) -> Case:
    """The case of that name."""
    if name not in (*NAMES, *SHIPPED):
        raise ValueError(f"[peers] no such case: got {name!r}; expected one of {', '.join(NAMES)}.")
    return importlib.import_module(f"benchmarks.peers.cases.{name}").CASE
