"""Scaled dot-product attention, and what the multi-head form shares with it.

Without dropout attention is one primitive (`fanal.ops.attention`), whose scores stay in the caches. With
dropout the scores, the masks, softmax, dropout and the weighted sum are traced into one graph.
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
from fanal.ops.attention import attention_p
from fanal.ops.attention_formulas import causal, unnormalised_softmax, without_hidden
from fanal.ops.layout import expand_to
from fanal.ops.linear import matmul
from fanal.ops.pointwise import bitwise_not, where
from fanal.ops.promotion import broadcast_shapes, cast, constant
from fanal.ops.shape import reshaped, transpose
from fanal.random.generator import default_generator


@fused
def subsequent_mask(size: int, dtype: Any) -> Any:
    """-inf above the diagonal, 0 elsewhere: what hides the positions that come later."""
    return where(causal(size, size), constant(0, dtype, (size, size)), -math.inf)


def safe_softmax(scores: Any) -> Any:
    """Softmax over the last dimension; zeros, not NaN, where every score is -inf."""
    weights, total, _ = unnormalised_softmax(scores)
    return weights / total


def attend(q: Any, k: Any, v: Any, mask: Any, key: Any, p: Any, is_causal: bool, scale: float) -> Any:
    """softmax(q kᵀ · scale + mask) v over the last two dimensions, with dropout from `key`; the others
    broadcast."""
    batch = broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2], op="attention")
    q, k, v = (expand_to(x, (*batch, *x.shape[-2:])) for x in (q, k, v))
    scores = without_hidden(matmul(q * scale, transpose(k, -2, -1)), mask, is_causal)
    weights, total, _ = unnormalised_softmax(scores)
    return matmul(dropped(weights, key, p), v) / total


def in_heads(q: Any, k: Any, v: Any, mask: Any, is_causal: bool, scale: float) -> Any:
    """The same without dropout, by the primitive, whose operands are (B, H, rows, columns). q may have a
    multiple of the heads (dimension -3) of k and v."""
    masks = [] if mask is None else [mask if mask.dtype is dtypes.bool_ else cast(mask, q.dtype)]
    rank = max(x.ndim for x in (q, k, v, *masks))
    whole = max(rank, 4)
    q, k, v, *masks = (_of_rank(x, whole) for x in (q, k, v, *masks))
    lead = broadcast_shapes(*(x.shape[:-3] for x in (q, k, v, *masks)), op="attention")
    heads = max(x.shape[-3] for x in (q, k, v, *masks))
    few = max(k.shape[-3], v.shape[-3])
    count = math.prod(lead)

    def joined(x: Any, own: int) -> Any:
        return reshaped(expand_to(x, (*lead, own, *x.shape[-2:])), (count, own, *x.shape[-2:]))

    for i, x in enumerate(masks):
        if math.prod(x.shape[:-3]) != 1:
            x = expand_to(x, (*lead, *x.shape[-3:]))
        masks[i] = reshaped(x, (math.prod(x.shape[:-3]), *x.shape[-3:]))
    operands = (joined(q, heads), joined(k, few), joined(v, few), *masks)
    out, _ = bind(attention_p, *operands, causal=is_causal, scale=scale)
    return reshaped(out, (*lead, heads, *out.shape[-2:])[whole - rank :])


def _of_rank(x: Any, rank: int) -> Any:
    return x if x.ndim == rank else reshaped(x, (*(1,) * (rank - x.ndim), *x.shape))


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
    if grouped and (random is not None or key.shape[-3] != value.shape[-3]):
        key, value = (_repeated(x, query.shape[-3]) for x in (key, value))
    if random is not None:
        return attend(query, key, value, mask, random, p, is_causal, scale)
    if not grouped:
        broadcast_shapes(*(x.shape[:-2] for x in (query, key, value)), op="attention")
    return in_heads(query, key, value, mask, is_causal, scale)


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


def without_both(mask: Any, other: Any) -> Any:
    """Two masks, or None, as one of those that `in_heads` takes."""
    given = [x for x in (mask, other) if x is not None]
    if not given:
        return None
    if all(x.dtype is dtypes.bool_ for x in given):
        return bitwise_not(given[0] if len(given) == 1 else given[0] | given[1])
    first, *rest = (where(x, -math.inf, 0.0) if x.dtype is dtypes.bool_ else x for x in given)
    return first + rest[0] if rest else first


def masked(scores: Any, mask: Any) -> Any:
    """Scores with a mask added, or -inf where it is True; the mask broadcasts."""
    if mask.dtype is dtypes.bool_:
        return where(bitwise_not(mask), scores, -math.inf)
    return scores + mask
