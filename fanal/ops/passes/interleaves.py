"""Sums of parts that lie between each other as one interleaving: the gradient of slices with a step.

Pooling with windows side by side is made of slices, one for each place of a window, and each of them
gives its gradient back as zeros with the part's elements spread over them. Where the parts together
cover every place once, their sum is an interleaving: no zeros are written, and nothing is added.
Grade A: adding zero makes +0 of -0, and so does this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind
from fanal.graph.ir import Node, Value
from fanal.ops.arithmetic import add_p
from fanal.ops.interleaving import interleave_p, offsets
from fanal.ops.layout import Shape, concat_p, zeros_like_type
from fanal.ops.passes.rewrite import Pass

# Parts of one sum: windows of pooling seldom have more places.
_MOST = 64


def _spread(v: Value) -> Node | None:
    """The padding, where a value is one that spreads its operand's elements over zeros."""
    node = v.node
    if node is None or node.primitive.name != "pad" or node.attributes["value"] != 0:
        return None
    low, high = node.attributes["low"], node.attributes["high"]
    interior, x = node.attributes["interior"], node.inputs[0]
    inside = all(0 <= a <= i for a, i in zip(low, interior, strict=True)) and min(high) >= 0
    return node if any(interior) and inside and math.prod(x.shape) and v.dtype.kind == "f" else None


def interleaved_sum(node: Node, given: Sequence[Value]) -> Any:
    """The last sum of all parts."""
    parts: dict[Shape, Value] = {}
    last = _spread(given[1])
    if last is None:
        return None
    here: Node | None = last
    rest: Value | None = given[0]
    while here is not None:
        at = here.attributes["low"]
        if at in parts or here.attributes["interior"] != last.attributes["interior"]:
            return None
        parts[at] = here.inputs[0]
        if rest is None or len(parts) == _MOST:
            break
        above = rest.node
        if above is not None and above.primitive is add_p:
            here, rest = _spread(above.inputs[1]), above.inputs[0]
        else:
            here, rest = _spread(rest), None
    if here is None or rest is not None:
        return None
    step = tuple(i + 1 for i in last.attributes["interior"])
    types = {p.type for p in parts.values()}
    if len(types) != 1 or len(parts) != math.prod(step):
        return None
    found = [parts.get(at) for at in offsets(step)]
    if any(p is None for p in found):
        return None
    return _filled(bind(interleave_p, *[_added(p) for p in found], step=step), node.outputs[0])


def _added(p: Value | None) -> Value:
    assert p is not None
    value: Value = bind(add_p, p, zeros_like_type(p))
    return value


def _filled(v: Value, out: Value) -> Value:
    """With zeros behind, where windows ended before their input did."""
    for d, extent in enumerate(out.shape):
        if v.shape[d] < extent:
            shape = (*v.shape[:d], extent - v.shape[d], *v.shape[d + 1 :])
            v = bind(concat_p, v, zeros_like_type(v, shape), dim=d)
    return v


INTERLEAVE = Pass("interleave", "A", {"add": (interleaved_sum,)})
