"""What a worker hands to an engine, and what it gets back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import weights
from benchmarks.peers.cases.case import Arrays, Case

BATCHES = 8
CHECKED = 5  # losses of the first steps, which are compared between peers


@dataclass(frozen=True)
class Task:
    """One case to be trained or answered with, at one batch size."""

    case: Case
    train: bool
    batch: int
    threads: int
    folder: Path  # where weights and exported models lie
    cache: Path  # what the framework may keep for its next process
    options: dict[str, Any] = field(default_factory=dict)  # of the peer

    @cached_property
    def weights(self) -> weights.Weights:
        """What everyone starts from."""
        return weights.load(self.folder / "weights.npz")

    @cached_property
    def data(self) -> list[tuple[Arrays, Arrays]]:
        """Inputs and targets of each batch as NumPy arrays; answers have one batch."""
        return [self.case.data(self.batch, i) for i in range(BATCHES if self.train else 1)]


def turns(batches: Sequence[Any]) -> Iterator[Any]:
    """The batch of each step: the first one until losses have been compared, then all in turn."""
    return itertools.chain(itertools.repeat(batches[0], CHECKED), itertools.cycle(batches))


@dataclass
class Runner:
    """A case that is ready to run.

    `run(n)` does n steps, or n answers, and returns when the last result is there; `value()` is
    that result (the loss, or the output in PyTorch's layout); `notes` is what should be told of it.
    """

    run: Callable[[int], None]
    value: Callable[[], np.ndarray]
    notes: list[str] = field(default_factory=list)
