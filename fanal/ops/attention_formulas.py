"""Scaled dot-product attention written out in other primitives: what the attention records mean.

Here the scores of all queries and keys exist as one array. Backends that have no attention of their
own compute these, derivatives of higher order go through them, and tests compare with them.
"""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.graph.ir import Value
from fanal.ops.create import iota_p
from fanal.ops.dot import dot_p
from fanal.ops.layout import expand_to, reshape_p
from fanal.ops.pointwise import detach, eq, exp, log, where
from fanal.ops.promotion import constant
from fanal.ops.reductions import amax
from fanal.ops.reductions import sum as sum_op


def causal(rows: int, columns: int, first: int = 0) -> Any:
    """True where column ≤ row, for rows that are numbered from `first`: what each may see."""
    shape = (rows, columns)
    dtype = dtypes.int32 if first + rows + columns < 1 << 31 else dtypes.int64
    row = bind(iota_p, shape=shape, dim=0, dtype=dtype) + first
    return bind(iota_p, shape=shape, dim=1, dtype=dtype) <= row


def without_hidden(scores: Any, mask: Any, is_causal: bool) -> Any:
    """Scores with -inf at keys that come later, and with a mask: bool (True: takes part) or added."""
    if is_causal:
        scores = where(causal(*scores.shape[-2:]), scores, -math.inf)
    if mask is None:
        return scores
    return where(mask, scores, -math.inf) if mask.dtype is dtypes.bool_ else scores + mask


def unnormalised_softmax(scores: Any) -> tuple[Any, Any, Any]:
    """Softmax over the last dimension as (weights, total, peak): weights / total is the softmax.

    Where every score is -inf the weights are zeros and the total 1: zeros in the end, not NaN.
    """
    last = scores.ndim - 1
    peak = detach(amax(scores, last, True))
    nothing = eq(peak, -math.inf)
    e = exp(scores - where(nothing, 0.0, peak))
    return e, where(nothing, 1.0, sum_op(e, last, True)), peak


def attention(
    q: Value, k: Value, v: Value, *masks: Value, causal: bool, scale: float
) -> tuple[Any, Any]:
    """(softmax(q kᵀ · scale + mask) v, logarithm of the sum of exponentials) of every query."""
    if k.shape[2] == 0:
        out = constant(0, q.dtype, (*q.shape[:3], v.shape[3]))
        return out, constant(-math.inf, q.dtype, q.shape[:3])
    k, v = (each_head(x, q.shape[1]) for x in (k, v))
    scores = without_hidden(products(q * scale, k), masks[0] if masks else None, causal)
    weights, total, peak = unnormalised_softmax(scores)
    # Dividing the sums, not the weights: as many divisions as there are results.
    out = bind(dot_p, weights, v, contract=((3,), (2,)), batch=((0, 1), (0, 1))) / total
    lse = peak + log(total)
    return out, bind(reshape_p, lse, shape=lse.shape[:3])


def attention_backward(
    q: Value, k: Value, v: Value, lse: Value, delta: Value, grad: Value, *masks: Value,
    causal: bool, scale: float,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Gradients of q, k and v: weights again from `lse`, then one product after another."""
    few, heads = k.shape[1], q.shape[1]
    wide_k, wide_v = (each_head(x, heads) for x in (k, v))
    scaled = q * scale
    scores = without_hidden(products(scaled, wide_k), masks[0] if masks else None, causal)
    lse = where(eq(lse, -math.inf), 0.0, lse)
    weights = exp(scores - _column(lse))
    slopes = weights * (products(grad, wide_v) - _column(delta))
    by_key = {"contract": ((2,), (2,)), "batch": ((0, 1), (0, 1))}
    dq = bind(dot_p, slopes, wide_k, contract=((3,), (2,)), batch=((0, 1), (0, 1))) * scale
    dk = bind(dot_p, slopes, scaled, **by_key)
    dv = bind(dot_p, weights, grad, **by_key)
    return dq, _of_groups(dk, few), _of_groups(dv, few)


def products(a: Value, b: Value) -> Any:
    """Rows of a times rows of b, in each head."""
    return bind(dot_p, a, b, contract=((3,), (3,)), batch=((0, 1), (0, 1)))


def _column(x: Any) -> Any:
    return bind(reshape_p, x, shape=(*x.shape, 1))


def each_head(x: Value, heads: int) -> Value:
    """(B, h, S, E) with each of its heads repeated, to `heads` in all."""
    b, few, length, width = x.shape
    if few == heads:
        return x
    wide = bind(reshape_p, x, shape=(b, few, 1, length, width))
    wide = expand_to(wide, (b, few, heads // few, length, width))
    return bind(reshape_p, wide, shape=(b, heads, length, width))


def _of_groups(x: Value, few: int) -> Any:
    """The sum over the heads that share a key."""
    b, heads, length, width = x.shape
    if few == heads:
        return x
    return sum_op(bind(reshape_p, x, shape=(b, few, heads // few, length, width)), 2)

