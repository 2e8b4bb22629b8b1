"""ctc_loss where every target is empty: the only alignment is a blank at each time."""

from __future__ import annotations

from typing import Any

import pytest

import fanal
from fanal.nn.functional import ctc_loss


@pytest.mark.parametrize("targets", [(3, 0), (0,), (3, 2)])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_empty_targets(targets: Any, reduction: str) -> None:
    fanal.manual_seed(0)
    log_probs = fanal.randn(5, 3, 4, dtype=fanal.float64).log_softmax(-1).requires_grad_()
    times, labels = [5, 0, 2], fanal.ones(targets, dtype=fanal.int64)
    loss = ctc_loss(log_probs, labels, times, [0, 0, 0], blank=1, reduction=reduction)
    loss.sum().backward()
    runs = fanal.arange(5).unsqueeze(1) < fanal.tensor(times)
    each = -(log_probs.detach()[..., 1] * runs).sum(0)
    expected = {"none": each, "sum": each.sum(), "mean": each.mean()}[reduction]
    assert fanal.allclose(loss, expected)
    gradient = fanal.zeros(5, 3, 4, dtype=fanal.float64)
    gradient[..., 1] = -runs.double() / (3 if reduction == "mean" else 1)
    assert log_probs.grad is not None and fanal.allclose(log_probs.grad, gradient)
