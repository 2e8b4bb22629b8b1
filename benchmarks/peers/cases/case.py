"""What a case is: one model with one size, said twice, and the numbers that go in.

`build(lib)` makes the module from a library with PyTorch's names (`torch` or `fanal`): its
parameters' names are the names of the weights everywhere. `forward(o, *inputs)` is the same
computation over a library of functions (JAX, TensorFlow) with the operations `o`, which look
weights up by those names. Image-like arrays are channels-first in `inputs`; a functional library
gets and sees them channels-last, its usual form on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Case:
    """A model with its data. `loss` names one of the losses in `losses.py`."""

    name: str
    title: str
    about: str  # sizes, for the page
    build: Callable[[Any], Any]
    forward: Callable[..., Any]
    inputs: Callable[[np.random.Generator, int], Arrays]
    targets: Callable[[np.random.Generator, int], Arrays]
    batch: int  # of a training step
    loss: str = "cross_entropy"
    images: bool = False  # inputs (and outputs of more than two axes) have channels at axis 1
    channels_last: bool = False  # 2-d convolutions: libraries with PyTorch's names may re-lay them

    def data(self, batch: int, number: int = 0) -> tuple[Arrays, Arrays]:
        """Inputs and targets of one batch, the same for everyone."""
        rng = np.random.default_rng((batch, number))
        return self.inputs(rng, batch), self.targets(rng, batch)


def normal(*shape: int) -> Callable[[np.random.Generator, int], Arrays]:
    """Inputs: one float32 array of normal numbers, batch first."""
    return lambda rng, batch: (rng.standard_normal((batch, *shape), np.float32),)


def labels(classes: int, *shape: int) -> Callable[[np.random.Generator, int], Arrays]:
    """Targets: one class for each (batch, *shape)."""
    return lambda rng, batch: (rng.integers(0, classes, (batch, *shape)),)
