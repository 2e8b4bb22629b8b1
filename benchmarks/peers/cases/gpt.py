"""A small language model: 4 layers, 256 wide, 4 heads, 128 tokens, a vocabulary of 1000."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.cases.blocks import block, block_class
from benchmarks.peers.cases.case import Arrays, Case, labels

LAYERS, WIDTH, HEADS, TOKENS, VOCABULARY = 4, 256, 4, 128, 1000


def build(lib: Any) -> Any:
    """The module: learned positions, a head with weights of its own."""
    nn = lib.nn
    block_ = block_class(lib)

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tok = nn.Embedding(VOCABULARY, WIDTH)
            self.pos = nn.Embedding(TOKENS, WIDTH)
            self.blocks = nn.ModuleList([block_(WIDTH, HEADS, True) for _ in range(LAYERS)])
            self.norm = nn.LayerNorm(WIDTH)
            self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

        def forward(self, ids: Any) -> Any:
            x = self.tok(ids) + self.pos.weight
            for layer in self.blocks:
                x = layer(x)
            return self.head(self.norm(x))

    return GPT()


def forward(o: Any, ids: Any) -> Any:
    """The same over functions."""
    x = o.embedding(ids, "tok") + o["pos.weight"]
    for i in range(LAYERS):
        x = block(o, x, f"blocks.{i}", HEADS, True)
    return o.linear(o.layer_norm(x, "norm"), "head")


def inputs(rng: np.random.Generator, batch: int) -> Arrays:
    """Token ids."""
    return (rng.integers(0, VOCABULARY, (batch, TOKENS)),)


CASE = Case(
    name="gpt",
    title="GPT",
    about="4 layers, 256 wide, 4 heads, causal, vocabulary 1000, 128 tokens, batch 8",
    build=build,
    forward=forward,
    inputs=inputs,
    targets=labels(VOCABULARY, TOKENS),
    batch=8,
)
