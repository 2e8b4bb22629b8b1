"""Generators: the state behind random numbers, two int64 words (seed, stream)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fanal.core import dtypes
from fanal.core.device import device as device_type
from fanal.core.dispatch import recorder
from fanal.core.errors import message
from fanal.tensor.creation import tensor
from fanal.tensor.layout import layout
from fanal.tensor.tensor import Tensor, allocate

_KEY = layout(dtypes.int64, (2,))
_write = struct.Struct("2q").pack_into


def _signed(seed: int) -> int:
    seed %= 2**64
    return seed - 2**64 if seed >= 2**63 else seed


class Generator:
    """A source of random numbers of its own: `Generator().manual_seed(0)`."""

    def __init__(self, device: Any = "cpu"):
        self.device = device_type(device)
        self._seed = 67280421310721  # PyTorch's default seed, for want of a better one
        self._stream = 0

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of a seed (any int64 or uint64)."""
        if not -(2**63) <= int(seed) < 2**64:
            raise RuntimeError(message("manual_seed", "seed out of range", seed, "a 64-bit integer"))
        self._seed = _signed(int(seed))
        self._stream = 0
        return self

    def seed(self) -> int:
        """Start from a seed of the operating system's; returns it."""
        chosen = int.from_bytes(os.urandom(8), "little") >> 1
        self.manual_seed(chosen)
        return chosen

    def initial_seed(self) -> int:
        """The seed that the stream started from."""
        return self._seed % 2**64

    def get_state(self) -> Tensor:
        """The state as an int64 tensor (seed, stream)."""
        return tensor([self._seed, self._stream], dtype=dtypes.int64)

    def set_state(self, new_state: Tensor) -> Generator:
        """Continue from a state that `get_state` gave."""
        if tuple(new_state.shape) != (2,) or new_state.dtype is not dtypes.int64:
            raise RuntimeError(
                message("set_state", "not a generator's state", new_state.shape, "int64[2]")
            )
        self._seed, self._stream = new_state.tolist()
        return self

    def mark(self) -> tuple[int, int]:
        """The state as numbers, which are there also while a call is captured."""
        return self._seed, self._stream

    def back_to(self, mark: tuple[int, int]) -> None:
        """Continue from a state that `mark` gave."""
        self._seed, self._stream = mark

    def draw(self) -> Tensor:
        """The key of the next draw, int64 (seed, stream)."""
        key = allocate(_KEY)
        _write(key._storage, 0, self._seed, self._stream)
        self._stream += 1
        listening = recorder()
        if listening is not None:
            listening.drawn(self, key)
        return key

    def __repr__(self) -> str:
        return f"<fanal.Generator seed={self.initial_seed()} draws={self._stream}>"


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator; returns it."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the operating system; returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the state of the default generator."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices: Any = (), enabled: bool = True) -> Iterator[None]:
    """Put the default generator's state back at the end of the block."""
    before = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(before)
