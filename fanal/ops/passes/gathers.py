"""Few elements of a large elementwise result: the elements are picked first, then computed with.

A gather reads its table in memory. Where the table is an elementwise function of others and much larger
than what is picked (the log-probabilities of all classes, of which a loss wants one a row), the operands
are gathered and the function is applied to what was found: the table need not exist. Grade A.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind
from fanal.graph.ir import Node, Value
from fanal.ops.create import full_p
from fanal.ops.index import gather_p
from fanal.ops.passes.rewrite import Pass

_FEWER = 8  # times fewer elements are picked than there are
_MANY = 6  # operands that are gathered in place of one
# What elementwise functions are computed together with, where nothing else reads their results.
_CONTRACTIONS = ("dot", "conv", "conv_input_grad", "conv_weight_grad")


def picked_first(node: Node, given: Sequence[Value]) -> Any:
    """A gather of an elementwise result."""
    table, *indices = given
    out = node.outputs[0]
    if math.prod(out.shape) * _FEWER > math.prod(table.shape) or not _is_transparent(table):
        return None
    leaves: dict[Value, None] = {}
    _find_leaves(table, leaves)
    if len(leaves) > _MANY:
        return None
    picked: dict[Value, Value] = {}

    def of(v: Value) -> Value:
        if v not in picked:
            made = v.node
            if v not in leaves and made is not None:
                inputs = [of(x) for x in made.inputs]
                picked[v] = bind(made.primitive, *inputs, **made.attributes)
            elif made is not None and made.primitive is full_p:
                attributes = {**made.attributes, "shape": out.shape}
                picked[v] = bind(full_p, **attributes)
            else:
                picked[v] = bind(gather_p, v, *indices, **node.attributes)
        return picked[v]

    return of(table)


def _is_transparent(v: Value) -> bool:
    """Whether a value is an elementwise function of floats, which can't fail and is no epilogue."""
    node = v.node
    if node is None or node.primitive.kind != "elementwise":
        return False
    return all(
        x.dtype.kind in "fb" and (x.node is None or x.node.primitive.name not in _CONTRACTIONS)
        for x in (v, *node.inputs)
    )


def _find_leaves(v: Value, leaves: dict[Value, None]) -> None:
    assert v.node is not None
    for x in v.node.inputs:
        if len(leaves) > _MANY:
            return
        if _is_transparent(x):
            _find_leaves(x, leaves)
        else:
            leaves[x] = None


GATHER = Pass("gather", "A", {"gather": (picked_first,)})
