"""Scaled dot-product attention, and the multi-head form with its projections.

Each is one program: the scores, the masks, softmax, dropout and the weighted sum are traced into one
graph, so that the backend may keep scores in cache.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.nn.functional.composite import composite
from fanal.nn.functional.dropout import dropped
from fanal.ops.create import iota_p
from fanal.ops.layout import expand_to
from fanal.ops.linear import matmul
from fanal.ops.pointwise import bitwise_not, detach, eq, exp, where
from fanal.ops.promotion import broadcast_shapes, constant
from fanal.ops.reductions import amax
from fanal.ops.reductions import sum as sum_op
from fanal.ops.shape import cat, narrow, reshaped, transpose
from fanal.random.generator import default_generator


def causal(rows: int, columns: int, first: int = 0) -> Any:
    """True where column ≤ row, for rows that are numbered from `first`: what each may see."""
    shape = (rows, columns)
    dtype = dtypes.int32 if first + rows + columns < 1 << 31 else dtypes.int64
    row = bind(iota_p, shape=shape, dim=0, dtype=dtype) + first
    return bind(iota_p, shape=shape, dim=1, dtype=dtype) <= row


@fused
def subsequent_mask(size: int, dtype: Any) -> Any:
    """-inf above the diagonal, 0 elsewhere: what hides the positions that come later."""
    return where(causal(size, size), constant(0, dtype, (size, size)), -math.inf)


def unnormalised_softmax(scores: Any) -> tuple[Any, Any]:
    """Softmax over the last dimension as (weights, total): weights / total is the softmax.

    Where every score is -inf the weights are zeros and the total 1: zeros in the end, not NaN.
    """
    last = scores.ndim - 1
    peak = detach(amax(scores, last, True))
    nothing = eq(peak, -math.inf)
    e = exp(scores - where(nothing, 0.0, peak))
    return e, where(nothing, 1.0, sum_op(e, last, True))


def safe_softmax(scores: Any) -> Any:
    """Softmax over the last dimension; zeros, not NaN, where every score is -inf."""
    weights, total = unnormalised_softmax(scores)
    return weights / total


def attend(
    q: Any, k: Any, v: Any, mask: Any, key: Any, p: Any, is_causal: bool, scale: float
) -> Any:
    """softmax(q kᵀ · scale + mask) v over the last two dimensions; the others broadcast."""
    batch = broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2], op="attention")
    q, k, v = (expand_to(x, (*batch, *x.shape[-2:])) for x in (q, k, v))
    rows, columns = q.shape[-2], k.shape[-2]
    step = rows_at_once(rows, columns) if key is None else rows
    parts = []
    for start in range(0, max(rows, 1), max(step, 1)):
        stop = min(start + step, rows)
        # Of keys that come later than the last of these rows nothing is computed.
        seen = max(1, min(stop, columns)) if is_causal and step < rows else columns
        scores = matmul(_rows(q, start, stop) * scale, transpose(_rows(k, 0, seen), -2, -1))
        if is_causal:
            scores = where(causal(stop - start, seen, start), scores, -math.inf)
        if mask is not None:
            part = mask if mask.ndim < 2 or mask.shape[-2] == 1 else _rows(mask, start, stop)
            if mask.dtype is dtypes.bool_:
                scores = where(part, scores, -math.inf)
            else:
                scores = scores + part
        weights, total = unnormalised_softmax(scores)
        if key is not None:
            weights = dropped(weights, key, p)
        # Dividing the sums, not the weights: as many divisions as there are results.
        parts.append(matmul(weights, _rows(v, 0, seen)) / total)
    return parts[0] if len(parts) == 1 else cat(parts, -2)


BLOCK = 128  # query rows whose scores are computed, used and forgotten together
BLOCKS = 16  # at most; a long sequence gets larger blocks, not a longer program


def rows_at_once(rows: int, columns: int) -> int:
    """Rows of scores in one block: few enough to stay in cache. Depends on the lengths alone, never
    on the batch, since with a causal mask it decides how many keys a row's sums run over."""
    if rows * columns <= 256 * 256:
        return rows
    return max(BLOCK, -(-rows // (BLOCKS * 64)) * 64)


def _rows(x: Any, start: int, stop: int) -> Any:
    """Rows start..stop of the dimension before the last."""
    return x if (start, stop) == (0, x.shape[-2]) else narrow(x, -2, start, stop - start)


def _repeated(x: Any, heads: int) -> Any:
    """(…, h, s, e) with each of its heads repeated, to `heads` in all."""
    *lead, few, length, width = x.shape
    if few == heads:
        return x
    wide = reshaped(x, (*lead, few, 1, length, width))
    wide = expand_to(wide, (*lead, few, heads // few, length, width))
    return reshaped(wide, (*lead, heads, length, width))


@composite(scalars=("p",))
def _attention(
    query: Any, key: Any, value: Any, mask: Any, random: Any, p: Any, is_causal: bool,
    scale: float, grouped: bool,
) -> Any:  # fmt: skip
    if grouped:
        key, value = (_repeated(x, query.shape[-3]) for x in (key, value))
    return attend(query, key, value, mask, random, p, is_causal, scale)


def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """softmax(q kᵀ / √E + mask) v. Vaswani et al., 2017.

    Shapes: query (…, L, E), key (…, S, E), value (…, S, Ev) → (…, L, Ev); attn_mask broadcasts to
    (…, L, S) and is bool (True: takes part) or added to the scores. `enable_gqa`: query may have a
    multiple of the heads (dimension -3) of key and value.
    """
    name = "scaled_dot_product_attention"
    _check_attention(name, query, key, value, enable_gqa)
    if is_causal and attn_mask is not None:
        raise RuntimeError(
            message(name, "Explicit attn_mask should not be set when is_causal=True")
        )
    if attn_mask is not None and attn_mask.dtype.kind not in "bf":
        raise RuntimeError(
            message(name, "attn_mask is neither bool nor floating", repr(attn_mask.dtype))
        )
    if not 0.0 <= dropout_p <= 1.0:
        raise RuntimeError(
            f"dropout probability has to be between 0 and 1, but got {dropout_p}"
        )
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    random = default_generator.draw() if dropout_p > 0 else None
    return _attention(
        query, key, value, attn_mask, random, float(dropout_p), is_causal, factor, enable_gqa
    )


def _check_attention(name: str, query: Any, key: Any, value: Any, grouped: bool) -> None:
    shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(message(name, "needs at least two dimensions", shapes))
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            message(
                name, "shapes don't fit", shapes,
                "the same last extent of query and key, the same length of key and value",
            )
        )
    if not query.dtype is key.dtype is value.dtype:
        raise RuntimeError(
            message(
                name, "Expected query, key, and value to have the same dtype",
                f"{query.dtype!r}, {key.dtype!r} and {value.dtype!r}",
            )
        )
    if grouped:
        heads = [x.shape[-3] if x.ndim > 2 else 0 for x in (query, key, value)]
        if 0 in heads or heads[0] % heads[1] or heads[0] % heads[2]:
            raise RuntimeError(
                message(name, "the query's heads are no multiple of the key's", shapes)
            )


# -- masks of the multi-head form, where True means "left out" ---------------------------------------------


def canonical_mask(
    mask: Any, mask_name: str, other_type: Any, other_name: str, check_other: bool = True
) -> Any:
    """A mask of a dtype that is understood; a warning where two masks differ in kind."""
    if mask is None:
        return None
    if mask.dtype.kind not in "bf":
        raise AssertionError(f"only bool and floating types of {mask_name} are supported")
    if check_other and other_type is not None and mask.dtype is not other_type:
        warnings.warn(
            f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type "
            "for both instead.",
            stacklevel=3,
        )
    return mask


def masked(scores: Any, mask: Any) -> Any:
    """Scores with a mask added, or -inf where it is True; the mask broadcasts."""
    if mask.dtype is dtypes.bool_:
        return where(bitwise_not(mask), scores, -math.inf)
    return scores + mask
