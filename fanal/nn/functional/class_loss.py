"""Losses of choosing one class: negative log-likelihood and cross-entropy."""

from __future__ import annotations

from typing import Any

from fanal.core.dispatch import bind
from fanal.core.dtypes import int64
from fanal.core.errors import message
from fanal.core.symbols import real
from fanal.nn.functional.composite import composite
from fanal.nn.functional.reduction import chosen, reduced
from fanal.ops.index import gather_p, take_along
from fanal.ops.linear import linear
from fanal.ops.pointwise import ne, neg, where
from fanal.ops.promotion import cast
from fanal.ops.reductions import count
from fanal.ops.reductions import log_softmax as log_softmax_op
from fanal.ops.reductions import sum as sum_op
from fanal.ops.shape import reshaped


def _class_dim(ndim: int) -> int:
    """Dimension of the classes: the second one, or the only one."""
    return 0 if ndim == 1 else 1


def _check_shapes(name: str, input: Any, target: Any) -> None:
    d = _class_dim(input.ndim)
    expected = tuple(n for i, n in enumerate(input.shape) if i != d)
    if input.ndim == 0:
        raise ValueError(message(name, "Expected input with classes", "a 0-d input"))
    if tuple(target.shape) != expected:
        what = "Expected input batch_size to match target batch_size"
        kind = ValueError if input.ndim <= 2 else RuntimeError
        raise kind(
            message(
                name, what, f"input {tuple(input.shape)}, target {tuple(target.shape)}",
                f"a target of shape {expected}",
            )
        )
    if target.dtype.kind not in "iu":
        raise RuntimeError(
            message(
                name, "class indices must be integers", repr(target.dtype),
                "int64, or class probabilities of the input's shape", "target.long()",
            )
        )


def _picked(values: Any, target: Any, ignore_index: int) -> tuple[Any, Any]:
    """values[n, target[n], …], and where the target is not the ignored one."""
    d = _class_dim(values.ndim)
    target = cast(target, int64)
    valid = ne(target, ignore_index)
    index = where(valid, target, 0)
    wide = reshaped(index, (*index.shape[:d], 1, *index.shape[d:]))
    found = reshaped(take_along(values, wide, d), index.shape)
    return found, (index, valid)


def nll(log_p: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    """-w[t] log p[t]; the mean is divided by the sum of the weights that count."""
    found, (index, valid) = _picked(log_p, target, ignore_index)
    if weight is None:
        loss = where(valid, neg(found), 0.0)
        total = cast(valid, log_p.dtype)
    else:
        total = where(valid, bind(gather_p, weight, index, dims=(0,)), 0.0)
        # Not a product with 0: the ignored value may be infinite.
        loss = where(valid, neg(found) * total, 0.0)
    if reduction != "mean":
        return reduced(loss, reduction)
    return sum_op(loss) / sum_op(total)


@composite
def _nll_loss(input: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    return nll(input, target, weight, ignore_index, reduction)


def nll_loss(
    input: Any, target: Any, weight: Any = None, size_average: bool | None = None,
    ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """-w[t] x[t] of log-probabilities x: (N, C, …) and classes t: (N, …), or (C,) and ().

    The mean is divided by the sum of the weights of the targets that are not `ignore_index`.
    """
    _check_shapes("nll_loss", input, target)
    _check_weight("nll_loss", input, weight)
    how = chosen("nll_loss", size_average, reduce, reduction)
    return _nll_loss(input, target, weight, ignore_index, how)


def _check_weight(name: str, input: Any, weight: Any) -> None:
    classes = input.shape[_class_dim(input.ndim)]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            message(
                name, "weight tensor should be defined either for all classes or no classes",
                tuple(weight.shape), f"({classes},)",
            )
        )


def _over_classes(weight: Any, ndim: int) -> Any:
    """Class weights in a shape that broadcasts with the input's."""
    shape = (-1,) if ndim == 1 else (1, -1, *(1,) * (ndim - 2))
    return reshaped(weight, tuple(weight.shape[0] if n == -1 else n for n in shape))


@composite
def _cross_entropy(
    input: Any, target: Any, weight: Any, ignore_index: int, reduction: str, smoothing: float
) -> Any:
    _check_shapes("cross_entropy", input, target)
    _check_weight("cross_entropy", input, weight)
    d = _class_dim(input.ndim)
    classes = input.shape[d]
    log_p = log_softmax_op(input, d)
    loss = nll(log_p, target, weight, ignore_index, reduction)
    if smoothing == 0:
        return loss
    valid = ne(cast(target, int64), ignore_index)
    spread = log_p if weight is None else log_p * _over_classes(weight, input.ndim)
    smooth = where(valid, neg(sum_op(spread, d)), 0.0)
    if reduction == "mean":
        counted = cast(valid, input.dtype)
        if weight is not None:
            index = where(valid, cast(target, int64), 0)
            counted = where(valid, bind(gather_p, weight, index, dims=(0,)), 0.0)
        smooth = sum_op(smooth) / sum_op(counted)
    elif reduction == "sum":
        smooth = sum_op(smooth)
    return loss * (1.0 - smoothing) + smooth * (smoothing / classes)


@composite
def _cross_entropy_probabilities(
    input: Any, target: Any, weight: Any, reduction: str, smoothing: float
) -> Any:
    d = _class_dim(input.ndim)
    classes = input.shape[d]
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / classes
    terms = log_softmax_op(input, d) * target
    if weight is not None:
        terms = terms * _over_classes(weight, input.ndim)
    loss = neg(sum_op(terms, d))
    if reduction != "mean":
        return reduced(loss, reduction)
    return sum_op(loss) / real(count(input, tuple(range(input.ndim))) / classes)


def cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: bool | None = None,
    ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    """-log softmax(x)[t] of logits x: (N, C, …) and classes t: (N, …), or (C,) and ().

    The target may also hold class probabilities, in the input's shape. label_smoothing mixes the
    target with the uniform distribution (Szegedy et al., 2015).
    """
    how = chosen("cross_entropy", size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(
            message("cross_entropy", "label_smoothing is out of range", label_smoothing, "0 to 1")
        )
    if input.shape == target.shape:
        if target.dtype.kind != "f":
            raise RuntimeError(
                message(
                    "cross_entropy", "class probabilities must be floating", repr(target.dtype),
                    "floating probabilities, or integer classes of a shape without class dimension",
                )
            )
        if ignore_index >= 0:
            raise RuntimeError(
                message("cross_entropy", "ignore_index is not for class probabilities", ignore_index)
            )
        _check_weight("cross_entropy", input, weight)
        return _cross_entropy_probabilities(input, target, weight, how, float(label_smoothing))
    return _cross_entropy(input, target, weight, ignore_index, how, float(label_smoothing))


def linear_cross_entropy(
    input: Any, linear_weight: Any, target: Any, *, linear_bias: Any = None, weight: Any = None,
    reduction: str = "mean", ignore_index: int | None = None, label_smoothing: float = 0.0,
    options: Any = None,
) -> Any:  # fmt: skip
    """`cross_entropy` of linear(input): input (N, in) or (in,), linear_weight (C, …, in).

    Dimensions of the weight between the first and the last are the target's after the batch.
    `options` (PyTorch's splitting of the batch) makes no difference to the result.
    """
    if input.ndim not in (1, 2) or linear_weight.ndim < 2 or input.shape[-1] != linear_weight.shape[-1]:
        raise RuntimeError(
            message(
                "linear_cross_entropy", "shapes don't fit",
                f"input {tuple(input.shape)}, linear_weight {tuple(linear_weight.shape)}",
                "(N, in) or (in,), and (C, …, in)",
            )
        )
    classes, *rest = shape = tuple(linear_weight.shape[:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != shape:
        raise RuntimeError(
            message("linear_cross_entropy", "the bias doesn't fit", tuple(linear_bias.shape), f"{shape}")
        )
    if rest and input.ndim == 1:
        raise RuntimeError(
            message("linear_cross_entropy", "more dimensions need a batch", tuple(input.shape))
        )
    logits_shape = (*input.shape[:-1], classes, *rest)
    if ignore_index is not None and tuple(target.shape) == logits_shape:
        raise RuntimeError(
            message("linear_cross_entropy", "ignore_index is not for class probabilities", ignore_index)
        )
    flat = linear_weight.reshape(-1, linear_weight.shape[-1])
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, flat, bias).reshape(logits_shape)
    return cross_entropy(
        logits, target, weight, ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction, label_smoothing=label_smoothing,
    )  # fmt: skip
