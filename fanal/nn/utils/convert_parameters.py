"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fanal.core.errors import message
from fanal.ops.shape import cat
from fanal.tensor.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Any:
    """All parameters one after another as a vector; differentiable."""
    return cat([p.reshape(-1) for p in parameters], 0)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Replace the parameters' data by slices of a vector, in order (they share its memory)."""
    if not isinstance(vec, Tensor):
        raise TypeError(
            message("vector_to_parameters", "not a tensor", type(vec).__name__, "a Tensor")
        )
    at = 0
    for p in parameters:
        count = p.numel()
        p.data = vec[at : at + count].view(tuple(p.shape)).data
        at += count
