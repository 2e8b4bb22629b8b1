"""Values interleaved: what slices with one step, one for each offset, were taken from.

`interleave` of parts with step (1, 2) puts the first part's columns at 0, 2, 4, ... and the second's
at 1, 3, 5, .... It is the gradient of such slices: pooling with windows side by side is made of them,
one for each place of a window, and each gives its gradient back spread over zeros. Where these together
cover every place once, their sum is an interleaving: no zeros are written, and nothing is added.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Node, Type, Value
from fanal.ops.arithmetic import add_p
from fanal.ops.layout import (
    Shape,
    all_tangents,
    in_front,
    pad_p,
    slice_p,
)
from fanal.ops.primitive import Primitive

# Parts of one sum: windows of pooling seldom have more places.
_MOST = 64


def offsets(step: Shape) -> Iterator[Shape]:
    """Where each part begins, in the order of the operands."""
    return itertools.product(*map(range, step))


def _infer(*parts: Value, step: Shape) -> list[Type]:
    first = parts[0]
    if len(parts) != math.prod(step) or any(p.type != first.type for p in parts):
        raise ValueError(
            message(
                "interleave", "parts differ, or there are too few or too many",
                ", ".join(str(p.type) for p in parts), f"{math.prod(step)} of one type",
            )
        )
    return [Type(first.dtype, tuple(n * s for n, s in zip(first.shape, step, strict=True)))]


def _reference(*parts: Any, step: Shape) -> Any:
    out = np.empty([n * s for n, s in zip(parts[0].shape, step, strict=True)], parts[0].dtype)
    for at, part in zip(offsets(step), parts, strict=True):
        out[tuple(slice(a, None, s) for a, s in zip(at, step, strict=True))] = part
    return out


def _jvp(tangents: Any, inputs: Any, outputs: Any, *, step: Shape) -> Any:
    return bind(interleave_p, *all_tangents(tangents, inputs), step=step)


def _transpose(ct: Value, inputs: Any, linear: Any, *, step: Shape) -> Any:
    return [
        bind(slice_p, ct, start=at, stop=ct.shape, step=step) if wanted else None
        for at, wanted in zip(offsets(step), linear, strict=True)
    ]


def _batch(inputs: Any, axes: Any, size: int, *, step: Shape) -> Any:
    moved = [in_front(x, a, size) for x, a in zip(inputs, axes, strict=True)]
    return bind(interleave_p, *moved, step=(1, *step)), 0


interleave_p: Primitive = Primitive(
    name="interleave",
    kind="layout",
    infer=_infer,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    doc="Parts at every step-th place, one part for each offset in row-major order.",
)


def spread_parts(a: Value, b: Value) -> dict[Shape, Value] | None:
    """What a + b interleaves, by offsets, if it is the last of the sums of all parts."""
    last = _spread(b)
    if last is None:
        return None
    parts: dict[Shape, Value] = {}
    here: Node | None = last
    rest: Value | None = a
    while here is not None:
        at, part = here.attributes["low"], here.inputs[0]
        alike = here.attributes["interior"] == last.attributes["interior"]
        if at in parts or not alike or part.type != last.inputs[0].type:
            return None
        parts[at] = part
        if rest is None or len(parts) == _MOST:
            break
        above = rest.node
        if above is not None and above.primitive is add_p:
            here, rest = _spread(above.inputs[1]), above.inputs[0]
        else:
            here, rest = _spread(rest), None
    whole = len(parts) == math.prod(i + 1 for i in last.attributes["interior"])
    return parts if here is not None and rest is None and whole else None


def _spread(v: Value) -> Node | None:
    """The padding, where a value is one that spreads its operand's elements over zeros."""
    node = v.node
    if node is None or node.primitive is not pad_p or node.attributes["value"] != 0:
        return None
    low, high = node.attributes["low"], node.attributes["high"]
    interior, x = node.attributes["interior"], node.inputs[0]
    inside = all(0 <= a <= i for a, i in zip(low, interior, strict=True)) and min(high, default=0) >= 0
    return node if any(interior) and inside and math.prod(x.shape) and v.dtype.kind == "f" else None


def interleaved(parts: Mapping[Shape, Value], shape: Shape) -> Value:
    """All parts by their offsets, with zeros behind them up to a shape."""
    step = tuple(n + 1 for n in max(parts))
    whole: Value = bind(interleave_p, *[parts[at] for at in offsets(step)], step=step)
    if whole.shape == shape:
        return whole
    high = tuple(n - m for n, m in zip(shape, whole.shape, strict=True))
    none = (0,) * len(shape)
    return bind(pad_p, whole, low=none, high=high, interior=none, value=0)
