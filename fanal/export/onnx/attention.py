"""Attention by its formula: products, Softmax, products, as runtimes look for it.

With a mask a query may see no key at all, which Softmax has no answer for; then, and where the logarithms
of the sums are wanted, the primitive's own formula is written.
"""

from __future__ import annotations

from typing import Any

from fanal.core.dispatch import bind
from fanal.export.onnx.formulas import inlined
from fanal.export.onnx.norms import write_soft
from fanal.export.onnx.records import Ref
from fanal.export.onnx.writer import Writer, is_number
from fanal.graph.ir import Node, Value
from fanal.ops.attention_formulas import each_head, products, without_hidden
from fanal.ops.dot import dot_p


def is_plain(node: Node, wanted: bool) -> bool:
    """Whether every query sees a key, and nobody wants the sums (`wanted`)."""
    return len(node.inputs) == 3 and not wanted and not is_number(node.inputs[1].shape[2], 0)


def written_plainly(w: Writer, node: Node, q: Ref, k: Ref, v: Ref) -> Ref:
    """softmax(q kᵀ · scale) v, later keys hidden where it is causal."""
    at = node.attributes

    def scores(a: Value, b: Value) -> Any:
        return without_hidden(products(a * at["scale"], each_head(b, a.shape[1])), None, at["causal"])

    def mixed(weights: Value, c: Value) -> Any:
        wide = each_head(c, weights.shape[1])
        return bind(dot_p, weights, wide, contract=((3,), (2,)), batch=((0, 1), (0, 1)))

    weights = write_soft("Softmax", 3)(w, node, inlined(w, scores, q, k))
    result: Ref = inlined(w, mixed, weights, v)
    return result
