"""Padding as a join of what is padded and its borders: only the borders are filled.

A join's parts are computed in their places, so what is padded is not copied either. The later passes'
work is done when this one comes: sums of padded parts are recognised as paddings. Grade A.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind
from fanal.graph.ir import Node, Value
from fanal.ops.create import full_p
from fanal.ops.layout import concat_p
from fanal.ops.passes.rewrite import Pass

# Below this share of the result that is border, two more passes cost less than filling all of it.
_BORDER = 0.25


def bordered(node: Node, given: Sequence[Value]) -> Any:
    """Padding of what is computed, along one dimension, with a small border."""
    (x,), out = given, node.outputs[0]
    low, high = node.attributes["low"], node.attributes["high"]
    dims = [d for d in range(x.ndim) if low[d] or high[d]]
    if len(dims) != 1 or any(node.attributes["interior"]) or x.node is None:
        return None
    (d,) = dims
    if min(low[d], high[d]) < 0 or low[d] + high[d] > _BORDER * out.shape[d] or not math.prod(x.shape):
        return None

    def border(n: int) -> list[Value]:
        shape = (*x.shape[:d], n, *x.shape[d + 1 :])
        value = node.attributes["value"]
        return [bind(full_p, value=value, shape=shape, dtype=x.dtype)] if n else []

    return bind(concat_p, *border(low[d]), x, *border(high[d]), dim=d)


BORDER = Pass("border", "A", {"pad": (bordered,)})
