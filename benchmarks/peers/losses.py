"""The losses of the cases for libraries with PyTorch's names, and the optimiser's numbers for all.

The functional libraries have theirs beside their operations. The learning rate is small on purpose:
a measurement takes thousands of steps on few batches, and must not train the network to a point
where numbers become subnormal, which some processors compute slowly and some libraries flush to
zero.
"""

from __future__ import annotations

from typing import Any

RATE, BETAS, EPSILON, DECAY = 1e-6, (0.9, 0.999), 1e-8, 1e-2


def cross_entropy(F: Any, output: Any, labels: Any) -> Any:
    """Over the last axis, mean over all others."""
    return F.cross_entropy(output.reshape(-1, output.shape[-1]), labels.reshape(-1))


def bce(F: Any, output: Any, mask: Any) -> Any:
    """Binary cross entropy of logits."""
    return F.binary_cross_entropy_with_logits(output, mask)


def huber(F: Any, output: Any, action: Any, value: Any) -> Any:
    """Of the worth of the action that was taken."""
    return F.huber_loss(output.gather(1, action), value)


LOSSES = {"cross_entropy": cross_entropy, "bce": bce, "huber": huber}
