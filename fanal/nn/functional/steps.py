"""A sequence as a list of its time steps, with one gradient for all of them.

Taking the steps one by one would give each a gradient of the whole sequence's size, mostly zeros;
here the gradients of the steps are put together once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.autograd.mode import mode, no_grad
from fanal.autograd.tape import PythonNode
from fanal.ops.shape import cat, split
from fanal.tensor.creation import zeros
from fanal.tensor.recording import edge_for
from fanal.tensor.tensor import Tensor


def pieces(x: Any, sizes: Sequence[int]) -> list[Any]:
    """x cut along its first dimension into views of the given lengths."""
    if not isinstance(x, Tensor) or not (x.requires_grad and mode.enabled):
        return list(split(x, list(sizes), 0))
    with no_grad():
        parts = list(split(x, list(sizes), 0))
    rest, dtype = tuple(x.shape[1:]), x.dtype

    def pull(*grads: Any) -> Any:
        whole = [
            zeros(n, *rest, dtype=dtype) if g is None else g
            for n, g in zip(sizes, grads, strict=True)
        ]
        return cat(whole, 0)

    node = PythonNode("split", [edge_for(x)], pull, len(parts))
    for number, part in enumerate(parts):
        part._node, part._index = node, number
        part._layout = part._layout.wanting(True)
    return parts
