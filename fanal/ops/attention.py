"""Scaled dot-product attention as two primitives, so that a backend may never write the scores down.

`attention` gives the output and, for every query, the logarithm of the sum of its exponentials (lse).
`attention_backward` gives the gradients of q, k and v: the weights are computed again from lse, and
of the output's gradient only its rows and `delta` = Σ out · grad (less lse's own gradient) are needed.
Derivatives of higher order, and those of an added mask, go through the formulas written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Node, Type, Value
from fanal.ops import attention_formulas as formulas
from fanal.ops.composed import jvp_of_body
from fanal.ops.derive.reverse import pull_through_jvp
from fanal.ops.layout import expand_to, in_front, reshape_p
from fanal.ops.primitive import Primitive, check_dtype
from fanal.ops.reductions import sum as sum_op

_DTYPES = (dtypes.float32, dtypes.float64)


def _check(name: str, q: Value, k: Value, v: Value, masks: Sequence[Value]) -> None:
    check_dtype(name, q.dtype, _DTYPES)
    shapes = f"query {q.shape}, key {k.shape}, value {v.shape}"
    if not q.dtype is k.dtype is v.dtype:
        raise TypeError(message(name, "dtypes differ", f"{q.dtype!r}, {k.dtype!r} and {v.dtype!r}"))
    fits = (
        q.ndim == k.ndim == v.ndim == 4
        and q.shape[0] == k.shape[0] == v.shape[0]
        and k.shape[1:3] == v.shape[1:3]
        and q.shape[3] == k.shape[3]
        and (q.shape[1] == k.shape[1] or (k.shape[1] > 0 and q.shape[1] % k.shape[1] == 0))
    )
    if not fits:
        raise RuntimeError(message(name, "shapes don't fit", shapes, "(B, H, L, E), (B, h, S, E), (B, h, S, Ev)"))
    full = (*q.shape[:3], k.shape[2])
    for mask in masks:
        if mask.dtype not in (dtypes.bool_, q.dtype):
            raise TypeError(message(name, "mask of another dtype", repr(mask.dtype), f"bool or {q.dtype!r}"))
        if mask.ndim != 4 or any(m not in (1, n) for m, n in zip(mask.shape, full, strict=True)):
            raise RuntimeError(message(name, "mask doesn't fit", mask.shape, f"{full}, or 1 in places"))


def _infer(q: Value, k: Value, v: Value, *masks: Value, causal: bool, scale: float) -> list[Type]:
    _check("attention", q, k, v, masks)
    return [Type(q.dtype, (*q.shape[:3], v.shape[3])), Type(q.dtype, q.shape[:3])]


def _infer_backward(
    q: Value, k: Value, v: Value, lse: Value, delta: Value, grad: Value, *masks: Value,
    causal: bool, scale: float,
) -> list[Type]:  # fmt: skip
    _check("attention_backward", q, k, v, masks)
    wanted = [Type(q.dtype, q.shape[:3])] * 2 + [Type(q.dtype, (*q.shape[:3], v.shape[3]))]
    for x, t in zip((lse, delta, grad), wanted, strict=True):
        if x.type != t:
            raise RuntimeError(message("attention_backward", "shapes don't fit", x.type, repr(t)))
    return [q.type, k.type, v.type]


# -- the meaning, in NumPy ----------------------------------------------------------------------------


def _scores(q: Any, k: Any, masks: Sequence[Any], causal: bool, scale: float) -> Any:
    scores = np.einsum("bhle,bhse->bhls", q * scale, k)
    if causal:
        scores = np.where(np.tri(*scores.shape[2:]) > 0, scores, -np.inf)
    for mask in masks:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    return scores


def _heads(q: Any, *xs: Any) -> list[Any]:
    return [np.repeat(x, q.shape[1] // x.shape[1], 1) if x.shape[1] else x for x in xs]


def _reference(q: Any, k: Any, v: Any, *masks: Any, causal: bool, scale: float) -> Any:
    k, v = _heads(q, k, v)
    scores = _scores(q, k, masks, causal, scale)
    if scores.shape[3] == 0:
        return np.zeros((*q.shape[:3], v.shape[3])), np.full(q.shape[:3], -np.inf)
    peak = scores.max(3, keepdims=True)
    weights = np.exp(scores - np.where(peak == -np.inf, 0, peak))
    total = weights.sum(3, keepdims=True)
    out = np.einsum("bhls,bhse->bhle", weights, v) / np.where(total == 0, 1, total)
    return out, (peak + np.log(total))[..., 0]


def _reference_backward(
    q: Any, k: Any, v: Any, lse: Any, delta: Any, grad: Any, *masks: Any, causal: bool, scale: float
) -> Any:
    few = k.shape[1]
    k, v = _heads(q, k, v)
    lse = np.where(lse == -np.inf, 0, lse)[..., None]
    weights = np.exp(_scores(q, k, masks, causal, scale) - lse)
    slopes = weights * (np.einsum("bhle,bhse->bhls", grad, v) - delta[..., None])
    dq = np.einsum("bhls,bhse->bhle", slopes, k) * scale
    dk = np.einsum("bhls,bhle->bhse", slopes, q * scale)
    dv = np.einsum("bhls,bhle->bhse", weights, grad)
    if few != q.shape[1]:
        dk, dv = (x.reshape(x.shape[0], few, -1, *x.shape[2:]).sum(2) for x in (dk, dv))
    return dq, dk, dv


# -- derivatives and batches ----------------------------------------------------------------------------


def _pull(node: Node, cts: Sequence[Value | None], linear: Sequence[bool]) -> Any:
    q, k, v, *masks = node.inputs
    out, lse = node.outputs
    grad, grad_lse = cts
    if grad is None or any(linear[3:]):
        return pull_through_jvp(node, list(cts), list(linear))
    delta = sum_op(out * grad, 3)
    if grad_lse is not None:
        delta = delta - grad_lse
    found = bind(attention_backward_p, q, k, v, lse, delta, grad, *masks, **node.attributes)
    return [*found, *(None for _ in masks)]


def _batch_of(primitive: Primitive, whole: int) -> Any:
    """A batch of batches is a longer batch; masks (behind input number `whole`) may repeat."""

    def batch(inputs: Any, axes: Any, size: int, **attributes: Any) -> Any:
        front = [in_front(x, a, size) for x, a in zip(inputs, axes, strict=True)]
        count = front[0].shape[1]

        def joined(number: int, x: Value) -> Value:
            if number >= whole and x.shape[1] == 1 and count != 1:
                x = expand_to(x, (size, count, *x.shape[2:]))
            return bind(reshape_p, x, shape=(size * x.shape[1], *x.shape[2:]))

        results = bind(primitive, *(joined(i, x) for i, x in enumerate(front)), **attributes)
        apart = tuple(bind(reshape_p, y, shape=(size, count, *y.shape[1:])) for y in results)
        return apart, (0,) * len(apart)

    return batch


attention_p = Primitive(
    name="attention",
    kind="attention",
    infer=_infer,
    reference=_reference,
    body=formulas.attention,
    dtypes=_DTYPES,
    multiple=True,
    pull=_pull,
    doc=(
        "softmax(q kᵀ · scale + mask) v and the logarithm of each query's sum of exponentials. q is "
        "(B, H, L, E), k (B, h, S, E), v (B, h, S, Ev) with H a multiple of h; the mask is bool (True: "
        "takes part) or added. `causal`: a key takes part if it is not later than the query. A "
        "query without any key gives zeros and -inf. Keys are taken in blocks of 128, in order."
    ),
)
attention_p.jvp = jvp_of_body(attention_p)
attention_p.batch = _batch_of(attention_p, 3)

attention_backward_p = Primitive(
    name="attention_backward",
    kind="attention",
    infer=_infer_backward,
    reference=_reference_backward,
    body=formulas.attention_backward,
    dtypes=_DTYPES,
    multiple=True,
    doc="Gradients of attention's q, k and v from lse, Σ out · grad of each query, and out's gradient.",
)
attention_backward_p.jvp = jvp_of_body(attention_backward_p)
attention_backward_p.batch = _batch_of(attention_backward_p, 6)
