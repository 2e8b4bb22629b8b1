"""A sequence as a list of its time steps, with one gradient for all of them.

Taking the steps one by one would give each a gradient of the whole sequence's size, mostly zeros;
here the gradients of the steps are put together once.
"""

from __future__ import annotations

from typing import Any

from fanal.autograd.mode import mode, no_grad
from fanal.autograd.tape import PythonNode
from fanal.ops.shape import stack, unbind
from fanal.tensor.creation import zeros
from fanal.tensor.eager import edge_for
from fanal.tensor.tensor import Tensor


def time_steps(x: Any) -> list[Any]:
    """x[0], x[1], … as views."""
    if not isinstance(x, Tensor) or not (x.requires_grad and mode.enabled):
        return list(unbind(x, 0))
    with no_grad():
        parts = list(unbind(x, 0))
    shape, dtype = tuple(x.shape[1:]), x.dtype

    def pull(*grads: Any) -> Any:
        whole = [zeros(shape, dtype=dtype) if g is None else g for g in grads]
        return stack(whole, 0)

    node = PythonNode("unbind", [edge_for(x)], pull, len(parts))
    for number, part in enumerate(parts):
        part._node, part._index = node, number
        part._layout = part._layout.wanting(True)
    return parts
