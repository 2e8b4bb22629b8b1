"""Training steps that several tests compile."""

from __future__ import annotations

from typing import Any

import fanal
from fanal import nn
from fanal.nn import functional as F


def classifying(model: nn.Module, optimizer: Any) -> Any:
    """A compiled step: the loss of a batch of inputs and labels."""

    @fanal.compile
    def step(x: fanal.Tensor, y: fanal.Tensor) -> fanal.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step
