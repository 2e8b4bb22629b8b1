"""Attention by its formula: products, Softmax, products, as runtimes look for it.

Where the logarithms of the sums are wanted too, the primitive's own formula is written.
"""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.export.onnx.elementwise import where
from fanal.export.onnx.formulas import inlined
from fanal.export.onnx.norms import write_soft
from fanal.export.onnx.records import Ref
from fanal.export.onnx.writer import Writer, is_number
from fanal.graph.ir import Node, Value
from fanal.ops.attention_formulas import each_head, products, without_hidden
from fanal.ops.dot import dot_p


def is_plain(node: Node, wanted: bool) -> bool:
    """Whether there are keys, and nobody wants the sums (`wanted`)."""
    return not wanted and not is_number(node.inputs[1].shape[2], 0)


def written_plainly(w: Writer, node: Node, q: Ref, k: Ref, v: Ref, *masks: Ref) -> Ref:
    """softmax(q kᵀ · scale + mask) v, later keys hidden where it is causal."""
    at = node.attributes

    def scores(a: Value, b: Value, *more: Value) -> Any:
        found = products(a * at["scale"], each_head(b, a.shape[1]))
        return without_hidden(found, more[0] if more else None, at["causal"])

    def mixed(weights: Value, c: Value) -> Any:
        wide = each_head(c, weights.shape[1])
        return bind(dot_p, weights, wide, contract=((3,), (2,)), batch=((0, 1), (0, 1)))

    found = inlined(w, scores, q, k, *masks)
    weights: Ref = write_soft("Softmax", 3)(w, node, found)
    if masks:
        weights = _of_some(w, found, weights)
    result: Ref = inlined(w, mixed, weights, v)
    return result


def _of_some(w: Writer, scores: Ref, weights: Ref) -> Ref:
    """Zeros for a query that sees no key, which Softmax has no answer for."""
    dtype = scores.dtype
    shape = (*scores.shape[:3], 1)
    most = w.op("ReduceMax", [w.whole(scores), w.ints([3])], dtype, shape, keepdims=1)
    nothing = w.map("Equal", most, w.number(-math.inf, dtype, shape), dtype=dtypes.bool_)
    spread = Ref(nothing.name, nothing.dtype, scores.shape, shape)
    return where(w, spread, w.number(0.0, dtype, scores.shape), weights)
