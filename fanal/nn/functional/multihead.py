"""Multi-head attention: projections in, attention in each head, projection out, as one program."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from fanal.core.dispatch import bind
from fanal.nn.functional.attention import (
    canonical_mask,
    in_heads,
    masked,
    safe_softmax,
    without_both,
)
from fanal.nn.functional.composite import composite
from fanal.nn.functional.dropout import dropped
from fanal.ops.attention_formulas import causal
from fanal.ops.dot import dot_p
from fanal.ops.layout import expand_to, slice_dim
from fanal.ops.linear import linear
from fanal.ops.pointwise import where
from fanal.ops.promotion import constant
from fanal.ops.reductions import mean as mean_op
from fanal.ops.reductions import softmax as softmax_op
from fanal.ops.shape import cat, constant_pad, permuted, reshaped, squeeze, unsqueeze
from fanal.random.generator import default_generator


class Heads(NamedTuple):
    """The static side of a call: number of heads, and which choices it makes."""

    count: int  # type: ignore[assignment]  # not the method of tuples
    batch_first: bool
    need_weights: bool
    average: bool
    add_zero: bool
    causal: bool


def _projected(
    query: Any, key: Any, value: Any, weights: tuple[Any, ...], bias: Any
) -> tuple[Any, Any, Any]:
    """Query, key and value times their weights: one packed matrix, or one each.

    A key (value) of None is the same tensor as the query (key), and shares one product with it.
    """
    width = weights[0].shape[0] if len(weights) == 3 else weights[0].shape[0] // 3
    biases = [
        None if bias is None else slice_dim(bias, 0, i * width, (i + 1) * width)
        for i in range(3)
    ]
    if len(weights) == 3:
        key = query if key is None else key
        value = key if value is None else value
        q, k, v = (
            linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
        return q, k, v
    packed = weights[0]
    if key is None and value is None:
        return _split(linear(query, packed, bias), width, 3)
    q = linear(query, slice_dim(packed, 0, 0, width), biases[0])
    if value is None:
        rest = None if bias is None else slice_dim(bias, 0, width, 3 * width)
        k, v = _split(linear(key, slice_dim(packed, 0, width, 3 * width), rest), width, 2)
        return q, k, v
    key = query if key is None else key
    k = linear(key, slice_dim(packed, 0, width, 2 * width), biases[1])
    return q, k, linear(value, slice_dim(packed, 0, 2 * width, 3 * width), biases[2])


def _split(x: Any, width: int, parts: int) -> tuple[Any, ...]:
    last = x.ndim - 1
    return tuple(slice_dim(x, last, i * width, (i + 1) * width) for i in range(parts))


def _appended(x: Any, row: Any, length_dim: int) -> Any:
    """x with one more position; `row` (1, 1, E), or None for zeros."""
    shape = tuple(1 if d == length_dim else n for d, n in enumerate(x.shape))
    more = constant(0, x.dtype, shape) if row is None else expand_to(row, shape)
    return cat((x, more), length_dim)


def _heads(x: Any, count: int) -> Any:
    return reshaped(x, (*x.shape[:2], count, x.shape[2] // count))


def _static_heads(x: Any, count: int, batch_first: bool) -> Any:
    """(N · heads, S, D) of a caller as (N, S, heads, D), or (S, N, heads, D)."""
    rows, length, width = x.shape
    x = reshaped(x, (rows // count, count, length, width))
    return permuted(x, (0, 2, 1, 3) if batch_first else (2, 0, 1, 3))


def _scores_mask(mask: Any, batch: int, heads: int) -> Any:
    """(L, S) or (N · heads, L, S) as a mask that broadcasts to (N, heads, L, S)."""
    if mask.ndim == 2:
        return mask
    return reshaped(mask, (batch, heads, *mask.shape[1:]))


def _wider(mask: Any) -> Any:
    return None if mask is None else constant_pad(mask, (0, 1), 0)


@composite(scalars=("p",))
def _multi_head(
    query: Any, key: Any, value: Any, in_weights: tuple[Any, ...], in_bias: Any,
    extra: tuple[Any, ...], statics: tuple[Any, ...], masks: tuple[Any, ...], out_weight: Any,
    out_bias: Any, random: Any, p: Any, how: Heads,
) -> Any:  # fmt: skip
    q, k, v = _projected(query, key, value, in_weights, in_bias)
    n, s = (0, 1) if how.batch_first else (1, 0)
    attn_mask, padding = masks
    if extra:
        k, v = (_appended(x, row, s) for x, row in zip((k, v), extra, strict=True))
        attn_mask, padding = _wider(attn_mask), _wider(padding)
    q, k, v = (_heads(x, how.count) for x in (q, k, v))
    k, v = (
        x if given is None else _static_heads(given, how.count, how.batch_first)
        for x, given in zip((k, v), statics, strict=True)
    )
    if how.add_zero:
        k, v = (_appended(x, None, s) for x in (k, v))
        attn_mask, padding = _wider(attn_mask), _wider(padding)
    scale = math.sqrt(1.0 / q.shape[3])
    if padding is not None:
        padding = reshaped(padding, (padding.shape[0], 1, 1, padding.shape[1]))
    if attn_mask is not None:
        attn_mask = _scores_mask(attn_mask, q.shape[n], how.count)
    order = (0, 2, 1, 3) if how.batch_first else (1, 2, 0, 3)
    back = (0, 2, 1, 3) if how.batch_first else (2, 0, 1, 3)
    weights = None
    if not how.need_weights and random is None:
        q, k, v = (permuted(x, order) for x in (q, k, v))
        mixed = in_heads(q, k, v, without_both(attn_mask, padding), how.causal, scale)
    else:
        weights = _weights(q * scale, k, attn_mask, padding, random, p, how)
        # (N, heads, L, S) · (N, S, heads, D) → (N, heads, L, D)
        mixed = bind(dot_p, weights, v, contract=((3,), (s,)), batch=((0, 1), (n, 2)))
    mixed = permuted(mixed, back)
    joined = reshaped(mixed, (*mixed.shape[:2], mixed.shape[2] * mixed.shape[3]))
    out = linear(joined, out_weight, out_bias)
    if not how.need_weights:
        return out
    return out, mean_op(weights, 1) if how.average else weights


def _weights(
    q: Any, k: Any, attn_mask: Any, padding: Any, random: Any, p: Any, how: Heads
) -> Any:
    """What each query takes of each value, (N, heads, L, S)."""
    n = 0 if how.batch_first else 1
    scores = bind(dot_p, q, k, contract=((3,), (3,)), batch=((n, 2), (n, 2)))
    if how.causal:
        scores = where(causal(*scores.shape[2:]), scores, -math.inf)
    if attn_mask is not None:
        scores = masked(scores, attn_mask)
    if padding is not None:
        scores = masked(scores, padding)
    weights = softmax_op(scores, 3) if how.need_weights else safe_softmax(scores)
    return weights if random is None else dropped(weights, random, p)


def _check_shapes(
    query: Any, key: Any, value: Any, key_padding_mask: Any, attn_mask: Any, num_heads: int
) -> bool:
    """Whether the call is batched; AssertionError where dimensions don't fit, as in PyTorch."""
    if query.ndim not in (2, 3):
        raise AssertionError(
            "query should be unbatched 2D or batched 3D tensor but received "
            f"{query.ndim}-D query tensor"
        )
    batched = query.ndim == 3
    kind = "batched (3-D)" if batched else "unbatched (2-D)"
    if key.ndim != query.ndim or value.ndim != query.ndim:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {query.ndim}-D but found "
            f"{key.ndim}-D and {value.ndim}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.ndim != query.ndim - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {query.ndim - 1}-D "
            f"but found {key_padding_mask.ndim}-D tensor instead"
        )
    if attn_mask is not None:
        if attn_mask.ndim not in (2, 3):
            raise AssertionError(
                f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found "
                f"{attn_mask.ndim}-D tensor instead"
            )
        if not batched and attn_mask.ndim == 3:
            expected = (num_heads, query.shape[0], key.shape[0])
            if tuple(attn_mask.shape) != expected:
                raise AssertionError(
                    f"Expected `attn_mask` shape to be {expected} but got {attn_mask.shape}"
                )
    return batched


def _check_mask(mask: Any, batch: int, heads: int, rows: int, columns: int) -> None:
    expected = (rows, columns) if mask.ndim == 2 else (batch * heads, rows, columns)
    if tuple(mask.shape) != expected:
        raise RuntimeError(
            f"The shape of the {mask.ndim}D attn_mask is {mask.shape}, but should be {expected}."
        )


def _check_padding(mask: Any, batch: int, columns: int) -> None:
    for d, wanted in enumerate((batch, columns)):
        if mask.shape[d] != wanted:
            raise AssertionError(
                f"Expected key_padded_mask.shape[{d}] to be {wanted}, but got {mask.shape[d]}"
            )


def attention_with_heads(
    query: Any, key: Any, value: Any, num_heads: int, in_weights: tuple[Any, ...], in_bias: Any,
    extra: tuple[Any, ...], out_weight: Any, out_bias: Any, *, dropout_p: float = 0.0,
    add_zero_attn: bool = False, key_padding_mask: Any = None, attn_mask: Any = None,
    need_weights: bool = True, average_attn_weights: bool = True, is_causal: bool = False,
    statics: tuple[Any, Any] = (None, None), batch_first: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Multi-head attention of checked arguments: (output, weights or None)."""
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    same_key, same_value = key is query, value is key
    if not batched:
        at = 0 if batch_first else 1
        query, key, value = (unsqueeze(x, at) for x in (query, key, value))
        if key_padding_mask is not None:
            key_padding_mask = unsqueeze(key_padding_mask, 0)
    n, s = (0, 1) if batch_first else (1, 0)
    batch, rows, columns = query.shape[n], query.shape[s], key.shape[s]
    padding = canonical_mask(
        key_padding_mask, "key_padding_mask", getattr(attn_mask, "dtype", None), "attn_mask"
    )
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and padding is None and not need_weights:
        attn_mask = None
    else:
        is_causal = False
        attn_mask = canonical_mask(attn_mask, "attn_mask", None, "", check_other=False)
    if attn_mask is not None:
        _check_mask(attn_mask, batch, num_heads, rows, columns)
    if padding is not None:
        _check_padding(padding, batch, columns)
    how = Heads(num_heads, batch_first, need_weights, average_attn_weights, add_zero_attn, is_causal)
    random = default_generator.draw() if dropout_p > 0 else None
    found = _multi_head(
        query, None if same_key else key, None if same_value else value, in_weights, in_bias,
        extra, statics, (attn_mask, padding), out_weight, out_bias, random, float(dropout_p), how,
    )  # fmt: skip
    out, weights = found if need_weights else (found, None)
    if not batched:
        out = squeeze(out, at)
        weights = None if weights is None else squeeze(weights, 0)
    return out, weights


def multi_head_attention_forward(
    query: Any, key: Any, value: Any, embed_dim_to_check: int, num_heads: int,
    in_proj_weight: Any, in_proj_bias: Any, bias_k: Any, bias_v: Any, add_zero_attn: bool,
    dropout_p: float, out_proj_weight: Any, out_proj_bias: Any, training: bool = True,
    key_padding_mask: Any = None, need_weights: bool = True, attn_mask: Any = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Any = None, k_proj_weight: Any = None,
    v_proj_weight: Any = None, static_k: Any = None, static_v: Any = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Attention in `num_heads` subspaces of the embedding: (output, weights or None).

    Shapes: query (L, N, E), key (S, N, kE), value (S, N, vE), or without N → (L, N, E) and weights
    (N, L, S), a head each without `average_attn_weights`. attn_mask (L, S) or (N · heads, L, S),
    key_padding_mask (N, S): True, or -inf, where a key is left out. Vaswani et al., 2017.
    """
    embed_dim = query.shape[-1]
    if embed_dim != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed_dim}"
        )
    if embed_dim % num_heads:
        raise AssertionError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        weights: tuple[Any, ...] = (q_proj_weight, k_proj_weight, v_proj_weight)
        if any(w is None for w in weights):
            raise AssertionError("use_separate_proj_weight is True but a projection weight is None")
        if key.shape[:-1] != value.shape[:-1]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's "
                f"{value.shape[:2]}"
            )
    else:
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        if key.shape != value.shape:
            raise AssertionError(
                f"key shape {key.shape} does not match value shape {value.shape}"
            )
        weights = (in_proj_weight,)
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("bias_k and bias_v must both be set, or both be None")
    extra = () if bias_k is None else (bias_k, bias_v)
    if extra and (static_k is not None or static_v is not None):
        raise AssertionError("bias cannot be added to static key or value.")
    return attention_with_heads(
        query, key, value, num_heads, weights, in_proj_bias, extra, out_proj_weight,
        out_proj_bias, dropout_p=dropout_p if training else 0.0, add_zero_attn=add_zero_attn,
        key_padding_mask=key_padding_mask, attn_mask=attn_mask, need_weights=need_weights,
        average_attn_weights=average_attn_weights, is_causal=is_causal,
        statics=(static_k, static_v),
    )  # fmt: skip
