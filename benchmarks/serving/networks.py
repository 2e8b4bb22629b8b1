"""The networks that are served: built from any library with PyTorch's names, so with the same names of weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.peers import cases

ROWS = 64  # different requests, sent in turn


@dataclass(frozen=True)
class Network:
    """A network with one input `x` and one output `logits`. `build(lib, width)` makes the module."""

    name: str
    about: str
    shape: tuple[int, ...]  # of a row of x
    build: Callable[[Any, int], Any]
    sized: bool = False  # the width is chosen so that a row takes `SECONDS`

    def inputs(self) -> np.ndarray:
        """The rows that are sent."""
        return np.random.default_rng(1).standard_normal((ROWS, *self.shape), np.float32)


SECONDS = 2e-3


def _digits(lib: Any, width: int) -> Any:
    return cases.load("digits").build(lib)


def _perceptron(lib: Any, width: int) -> Any:
    nn = lib.nn
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))


NETWORKS = {
    n.name: n
    for n in (
        Network("digits", "the demo's network: two convolutions, two linear layers; 1×8×8 in, 10 out", (1, 8, 8), _digits),
        Network("wide", "a perceptron so wide that one row takes about 2 ms on one core; 64 in, 10 out", (64,),
                _perceptron, sized=True),
    )
}  # fmt: skip
