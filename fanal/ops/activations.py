"""Activations whose slope costs as much as they do: computed beside the value, and kept for later.

y = f(x) is a primitive of its own, so that the forward pass of a derivative can become another: the one
that also gives f'(x), out of the same exponentials and error functions. The backward pass is then one
product, short enough to be done where a contraction ends. What is kept instead of x is as large as x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from fanal.core.dispatch import bind
from fanal.graph.ir import Node, Value
from fanal.ops.composed import composed, jvp_of_body
from fanal.ops.derive.reverse import pull_through_jvp
from fanal.ops.pointwise import erf, exp, sigmoid, tanh
from fanal.ops.primitive import FLOATS, Primitive
from fanal.ops.stops import hold_p

Pair = tuple[Any, Any]


def activation(name: str, both: Callable[..., Pair], doc: str) -> Primitive:
    """Register y = f(x), and `<name>_slope`, which gives (y, f'(x)); `both` computes the two."""

    def value(x: Value, **attributes: Any) -> Any:
        return both(x, **attributes)[0]

    def with_slope(x: Value, **attributes: Any) -> Pair:
        y, slope = both(x, **attributes)
        return y, bind(hold_p, slope)

    def pull(node: Node, cts: Sequence[Value | None], linear: Sequence[bool]) -> Any:
        if cts[0] is None or cts[1] is not None:
            return pull_through_jvp(node, list(cts), list(linear))
        return [cts[0] * node.outputs[1]]

    def jvp(tangents: Any, inputs: Any, outputs: Any, **attributes: Any) -> Any:
        return tangents[0] * both(inputs[0], **attributes)[1]

    def augment(inputs: Any, active: Any, given: Any, **attributes: Any) -> Any:
        return bind(beside, *inputs, **attributes)

    beside = composed(f"{name}_slope", with_slope, FLOATS, multiple=True, pull=pull, doc=f"{doc}, and its slope")
    beside.jvp = jvp_of_body(beside)
    return composed(name, value, FLOATS, jvp=jvp, augment=augment, doc=doc)


def _gelu(x: Any, *, approximate: str) -> Pair:
    if approximate == "none":
        below = (erf(x * math.sqrt(0.5)) + 1.0) * 0.5
        density = exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
        return x * below, below + x * density
    root = math.sqrt(2 / math.pi)
    square = x * x
    t = tanh(x * (square * 0.044715 + 1.0) * root)
    below = (t + 1.0) * 0.5
    return x * below, below + x * 0.5 * (1.0 - t * t) * ((square * (3 * 0.044715) + 1.0) * root)


def _silu(x: Any) -> Pair:
    s = sigmoid(x)
    y = x * s
    return y, s + y * (1.0 - s)


gelu_p = activation("gelu", _gelu, "x Φ(x), Φ the normal distribution function; or its approximation by tanh")
silu_p = activation("silu", _silu, "x / (1 + e⁻ˣ)")
