"""Sums of padded parts as one join: what the gradient of a split (chunk, slices, gates) becomes.

Each part of a split gives its gradient back as zeros with the part in its place, and these are added.
Where the parts do not overlap that is a concatenation. Grade A: adding zero makes +0 of -0, and so
does the join.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from fanal.core.dispatch import bind
from fanal.graph.ir import Node, Value
from fanal.ops.arithmetic import add_p
from fanal.ops.create import full_p
from fanal.ops.layout import concat_p, zeros_like_type
from fanal.ops.passes.rewrite import Pass


class Part(NamedTuple):
    """A value padded with zeros along one dimension: where it begins, and how long it is."""

    value: Value
    start: int
    length: int


def _part(v: Value) -> tuple[int, Part] | None:
    """The dimension and the part, where a value is one."""
    node = v.node
    if node is None or node.primitive.name != "pad" or node.attributes["value"] != 0:
        return None
    low, high = node.attributes["low"], node.attributes["high"]
    dims = [d for d in range(v.ndim) if low[d] or high[d]]
    if len(dims) != 1 or any(node.attributes["interior"]) or v.dtype.kind != "f":
        return None
    (d,) = dims
    x = node.inputs[0]
    if low[d] < 0 or high[d] < 0 or x.shape[d] == 0:
        return None
    return d, Part(x, low[d], x.shape[d])


def _joined(v: Value) -> tuple[int, list[Part]] | None:
    """The dimension and the parts of a join that this pass made."""
    node = v.node
    if node is None or node.primitive is not concat_p:
        return None
    d, parts, at = node.attributes["dim"], [], 0
    for x in node.inputs:
        made = x.node
        if made is None:
            return None
        if made.primitive is full_p and made.attributes["value"] == 0:
            pass  # a gap
        elif made.primitive is add_p and _is_zero(made.inputs[1]):
            parts.append(Part(made.inputs[0], at, x.shape[d]))
        else:
            return None
        at += x.shape[d]
    return d, parts


def _is_zero(v: Value) -> bool:
    return v.node is not None and v.node.primitive is full_p and v.node.attributes["value"] == 0


def joined_sum(node: Node, given: Sequence[Value]) -> Any:
    """The sum of two values that are parts, or joins of parts, side by side."""
    found: list[Part] = []
    dims = set()
    for v in given:
        one = _part(v)
        if one is not None:
            dims.add(one[0])
            found.append(one[1])
            continue
        several = _joined(v)
        if several is None:
            return None
        dims.add(several[0])
        found += several[1]
    if len(dims) != 1:
        return None
    found.sort(key=lambda p: p.start)
    if any(a.start + a.length > b.start for a, b in pairwise(found)):
        return None
    return _join(found, dims.pop(), node.outputs[0])


def _join(parts: list[Part], d: int, out: Value) -> Value:
    pieces: list[Value] = []
    at = 0

    def gap(length: int) -> None:
        shape = (*out.shape[:d], length, *out.shape[d + 1 :])
        pieces.append(zeros_like_type(out, shape))

    for p in parts:
        if p.start > at:
            gap(p.start - at)
        pieces.append(bind(add_p, p.value, zeros_like_type(p.value)))
        at = p.start + p.length
    if at < out.shape[d]:
        gap(out.shape[d] - at)
    joined: Value = bind(concat_p, *pieces, dim=d)
    return joined


JOIN = Pass("join", "A", {"add": (joined_sum,)})
