"""Fifty steps with dropout and a schedule: eager and compiled losses are the same."""

from __future__ import annotations

import fanal
from fanal import nn
from fanal.nn import functional as F


def losses(compiled: bool, steps: int = 50) -> list[float]:
    fanal.manual_seed(0)
    net = nn.Sequential(
        nn.Embedding(50, 16), nn.TransformerEncoderLayer(16, 2, 32, 0.2, batch_first=True),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(16 * 6, 5),
    )  # fmt: skip
    optimizer = fanal.optim.AdamW(net.parameters(), lr=1e-2)
    scheduler = fanal.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    x, y = fanal.randint(0, 50, (32, 6)), fanal.randint(0, 5, (32,))

    def step() -> fanal.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        return loss

    run = fanal.compile(step) if compiled else step
    return [run().item() for _ in range(steps)]


def test_fifty_steps() -> None:
    eager, compiled = losses(False), losses(True)
    assert eager == compiled
    assert eager[-1] < 0.7 * eager[0]
