"""Arguments that are one number or one for each spatial dimension."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def ntuple(x: Any, n: int) -> tuple[Any, ...]:
    """n values, from one or from an iterable (which is kept as it is)."""
    return tuple(x) if isinstance(x, Iterable) and not isinstance(x, str) else (x,) * n


def reversed_twice(values: Sequence[int]) -> tuple[int, ...]:
    """(a, b) as (b, b, a, a): the order of `pad`."""
    return tuple(v for v in reversed(values) for _ in range(2))


def default_sizes(out_size: Sequence[Any], defaults: Sequence[int]) -> list[int]:
    """Sizes with None replaced by the last of the defaults; ValueError if there are too many."""
    if len(defaults) <= len(out_size):
        raise ValueError(f"Input dimension should be at least {len(out_size) + 1}")
    tail = defaults[-len(out_size) :]
    return [d if v is None else v for v, d in zip(out_size, tail, strict=True)]
