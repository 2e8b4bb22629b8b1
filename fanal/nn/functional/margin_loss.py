"""Losses that ask for a margin: ranking, hinge, embeddings, triplets, several classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanal.core.dispatch import bind
from fanal.core.dtypes import int64
from fanal.core.errors import message
from fanal.nn.functional.composite import composite
from fanal.nn.functional.distance import pairwise_distance
from fanal.nn.functional.reduction import chosen, reduced
from fanal.ops.create import iota_p
from fanal.ops.cumulative import cumprod_p
from fanal.ops.index import gather_p, take_along
from fanal.ops.layout import expand_to
from fanal.ops.pointwise import bitwise_and, bitwise_not, eq, minimum, ne, sqrt, where
from fanal.ops.promotion import cast
from fanal.ops.reductions import any as any_op
from fanal.ops.reductions import sum as sum_op
from fanal.ops.shape import reshaped


def not_below_zero(x: Any) -> Any:
    """max(x, 0), whose derivative at 0 is 1 (PyTorch's clamp_min)."""
    return where(x < 0, 0.0, x)


def _hinge(x: Any) -> Any:
    """max(x, 0), whose derivative at 0 is 0."""
    return where(x > 0, x, 0.0)


@composite
def _margin_ranking(a: Any, b: Any, target: Any, margin: float, reduction: str) -> Any:
    return reduced(not_below_zero(margin - target * (a - b)), reduction)


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """max(0, margin - y (x₁ - x₂)): y = 1 where x₁ should rank higher, else -1."""
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            message(
                "margin_ranking_loss", "All input tensors should have same dimension",
                f"{tuple(input1.shape)}, {tuple(input2.shape)}, {tuple(target.shape)}",
            )
        )
    how = chosen("margin_ranking_loss", size_average, reduce, reduction)
    return _margin_ranking(input1, input2, target, margin, how)


@composite
def _hinge_embedding(input: Any, target: Any, margin: float, reduction: str) -> Any:
    apart = where(ne(target, 1), not_below_zero(margin - input), 0.0)
    near = where(ne(target, -1), input, 0.0)
    return reduced(apart + near, reduction)


def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """x where y = 1, max(0, margin - x) where y = -1."""
    how = chosen("hinge_embedding_loss", size_average, reduce, reduction)
    return _hinge_embedding(input, target, float(margin), how)


@composite
def _cosine_embedding(a: Any, b: Any, target: Any, margin: float, reduction: str) -> Any:
    d = a.ndim - 1
    lengths = [sum_op(v * v, d) + 1e-12 for v in (a, b)]
    cosine = sum_op(a * b, d) / sqrt(lengths[0] * lengths[1])
    same = where(eq(target, 1), 1.0 - cosine, 0.0)
    other = where(eq(target, -1), not_below_zero(cosine - margin), 0.0)
    return reduced(same + other, reduction)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """1 - cos(x₁, x₂) where y = 1, max(0, cos - margin) where y = -1; (N, D) or (D,) inputs."""
    if target.ndim not in (0, 1) or input1.ndim != target.ndim + 1 or input2.ndim != input1.ndim:
        raise RuntimeError(
            message(
                "cosine_embedding_loss", "numbers of dimensions don't fit",
                f"{tuple(input1.shape)}, {tuple(input2.shape)}, target {tuple(target.shape)}",
                "(N, D), (N, D), (N,) or (D,), (D,), ()",
            )
        )
    how = chosen("cosine_embedding_loss", size_average, reduce, reduction)
    return _cosine_embedding(input1, input2, target, margin, how)


@composite
def _triplet(
    a: Any, p: Any, n: Any, margin: float, norm: float, eps: float, swap: bool, reduction: str
) -> Any:
    positive = pairwise_distance(a, p, norm, eps)
    negative = pairwise_distance(a, n, norm, eps)
    if swap:
        negative = minimum(negative, pairwise_distance(p, n, norm, eps))
    return reduced(not_below_zero(positive - negative + margin), reduction)


def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2,
    eps: float = 1e-6, swap: bool = False, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """max(0, d(a, p) - d(a, n) + margin), d a p-norm; `swap`: also d(p, n). Balntas et al., 2016."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    how = chosen("triplet_margin_loss", size_average, reduce, reduction)
    return _triplet(anchor, positive, negative, margin, float(p), eps, swap, how)


@composite
def _distances_apart(
    positive: Any, negative: Any, other: Any, margin: float, reduction: str
) -> Any:
    if other is not None:
        negative = minimum(negative, other)
    return reduced(not_below_zero(positive - negative + margin), reduction)


def triplet_margin_with_distance_loss(
    anchor: Any, positive: Any, negative: Any, *,
    distance_function: Callable[[Any, Any], Any] | None = None, margin: float = 1.0,
    swap: bool = False, reduction: str = "mean",
) -> Any:  # fmt: skip
    """The triplet loss with a distance function of the user's own."""
    how = chosen("triplet_margin_with_distance_loss", None, None, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            message(
                "triplet_margin_with_distance_loss", "numbers of dimensions differ",
                f"anchor {anchor.ndim}, positive {positive.ndim}, negative {negative.ndim}",
            )
        )
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    other = distance(positive, negative) if swap else None
    return _distances_apart(near, far, other, margin, how)


def _rows(name: str, input: Any, target: Any, classes_in_target: bool) -> None:
    if target.dtype is not int64:
        raise RuntimeError(message(name, "the target's classes are not int64", repr(target.dtype)))
    if input.ndim and input.shape[-1] == 0:
        raise RuntimeError(message(name, "no classes", tuple(input.shape)))
    fits = input.ndim in (1, 2) and target.ndim == input.ndim - (not classes_in_target)
    if not fits or (target.ndim and target.shape[0] != input.shape[0]):
        raise RuntimeError(
            message(
                name, "inconsistent shapes",
                f"input {tuple(input.shape)}, target {tuple(target.shape)}",
                "(N, C) and (N, C)" if classes_in_target else "(N, C) and (N,)",
            )
        )


@composite
def _multi_margin(
    input: Any, target: Any, weight: Any, p: int, margin: float, reduction: str
) -> Any:
    single = input.ndim == 1
    x = reshaped(input, (1, *input.shape)) if single else input
    n, classes = x.shape
    t = reshaped(cast(target, int64), (n, 1))
    difference = _hinge(margin - take_along(x, t, 1) + x)
    terms = difference * difference if p == 2 else difference
    place = bind(iota_p, shape=(n, classes), dim=1, dtype=int64)
    terms = where(eq(place, expand_to(t, (n, classes))), 0.0, terms)
    loss = sum_op(terms, 1)
    if weight is not None:
        loss = loss * bind(gather_p, weight, reshaped(t, (n,)), dims=(0,))
    loss = loss / float(classes)
    return reduced(reshaped(loss, ()) if single else loss, reduction)


def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """Σ over classes k ≠ t of max(0, margin - x[t] + x[k])^p / C; (N, C) and (N,), or (C,), ()."""
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    how = chosen("multi_margin_loss", size_average, reduce, reduction)
    if input.ndim == target.ndim == 0:
        input = input.reshape(1)
    # A vector of one class may have a target of one dimension.
    if input.ndim != 1 or target.ndim == 0 or input.shape[-1] == 0 or target.dtype is not int64:
        _rows("multi_margin_loss", input, target, False)
    if weight is not None and weight.shape[0] != input.shape[-1]:
        raise RuntimeError(
            message("multi_margin_loss", "one weight a class is needed", tuple(weight.shape),
                    f"({input.shape[-1]},)")
        )
    return _multi_margin(input, target, weight, p, margin, how)


@composite
def _multilabel_margin(input: Any, target: Any, reduction: str) -> Any:
    single = input.ndim == 1
    x = reshaped(input, (1, *input.shape)) if single else input
    t = reshaped(cast(target, int64), x.shape)
    n, classes = x.shape
    cube = (n, classes, classes)  # (row, position in the target, class)
    # The target ends at its first negative number.
    listed = ne(bind(cumprod_p, cast(t >= 0, int64), dim=1), 0)
    index = where(listed, t, 0)
    place = bind(iota_p, shape=cube, dim=2, dtype=int64)
    hits = eq(place, expand_to(reshaped(index, (n, classes, 1)), cube))
    hits = bitwise_and(hits, expand_to(reshaped(listed, (n, classes, 1)), cube))
    wanted = any_op(hits, 1)
    score = reshaped(take_along(x, index, 1), (n, classes, 1))
    terms = _hinge(1.0 - score + reshaped(x, (n, 1, classes)))
    counted = bitwise_and(
        expand_to(reshaped(listed, (n, classes, 1)), cube),
        expand_to(reshaped(bitwise_not(wanted), (n, 1, classes)), cube),
    )
    loss = sum_op(where(counted, terms, 0.0), (1, 2)) / float(classes)
    return reduced(reshaped(loss, ()) if single else loss, reduction)


def multilabel_margin_loss(
    input: Any, target: Any, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """Σ max(0, 1 - (x[j] - x[k])) / C over classes j of the target and k that are not.

    target: class numbers, ended by -1, in the input's shape (N, C) or (C,).
    """
    how = chosen("multilabel_margin_loss", size_average, reduce, reduction)
    if input.ndim == target.ndim == 0:
        return _multilabel_margin(input.reshape(1), target.reshape(1), how)
    _rows("multilabel_margin_loss", input, target, True)
    return _multilabel_margin(input, target, how)
