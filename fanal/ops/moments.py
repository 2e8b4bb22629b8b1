"""The mean and the sum of squared differences from it, with a derivative that knows what these are.

Differentiated node by node, the differences' dependence on the mean asks for a further sum over all
elements, of terms that cancel: Σ(x − mean) is 0. So the pair is a primitive with a rule of its own.
"""

from __future__ import annotations

import math
from typing import Any

from fanal.core.dispatch import bind
from fanal.core.symbols import real
from fanal.graph.ir import Value
from fanal.ops.composed import composed
from fanal.ops.primitive import FLOATS
from fanal.ops.reduce import ones_shape, reduce_sum_p
from fanal.ops.shape import reshaped


def _total(x: Value, dims: tuple[int, ...]) -> Value:
    y = bind(reduce_sum_p, x, dims=dims) if dims else x
    return reshaped(y, ones_shape(x.shape, dims))


def _mean(x: Value, dims: tuple[int, ...]) -> Value:
    n = math.prod(x.shape[d] for d in dims)
    total = _total(x, dims)
    return total / real(n) if n else total * float("nan")


def _moments(x: Value, dims: tuple[int, ...]) -> tuple[Value, Value]:
    center = _mean(x, dims)
    difference = x - center
    return center, _total(difference * difference, dims)


def _jvp(t: Any, inputs: Any, outputs: Any, dims: tuple[int, ...]) -> Any:
    if t[0] is None:
        return None
    difference = inputs[0] - outputs[0]
    return _mean(t[0], dims), _total(difference * t[0], dims) * 2.0


moments_p = composed(
    "moments", _moments, FLOATS, multiple=True, jvp=_jvp,
    doc="The mean over dimensions, and the sum of squared differences from it; both keep extents of 1.",
)  # fmt: skip


def moments(x: Value, dims: tuple[int, ...]) -> tuple[Value, Value]:
    """Mean and sum of squared differences over dimensions, in two passes."""
    center, squares = bind(moments_p, x, dims=dims)
    return center, squares
