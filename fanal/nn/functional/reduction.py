"""How a loss brings its elements together: 'none', 'mean' or 'sum'."""

from __future__ import annotations

import math
import warnings
from typing import Any

from fanal.core.errors import message, nearest
from fanal.ops.reductions import mean as mean_op
from fanal.ops.reductions import sum as sum_op

CHOICES = ("none", "mean", "sum")


def legacy_reduction(
    size_average: bool | None, reduce: bool | None, emit_warning: bool = True
) -> str:
    """The reduction that PyTorch's two old arguments mean."""
    average = True if size_average is None else size_average
    found = "none" if reduce is False else "mean" if average else "sum"
    if emit_warning:
        warnings.warn(
            "size_average and reduce args will be deprecated, please use "
            f"reduction='{found}' instead.",
            stacklevel=3,
        )
    return found


def chosen(name: str, size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that a loss's arguments ask for; ValueError for an unknown one."""
    if size_average is not None or reduce is not None:
        return legacy_reduction(size_average, reduce)
    if reduction not in CHOICES:
        raise ValueError(
            message(
                name, f"{reduction} is not a valid value for reduction", repr(reduction),
                "'none', 'mean' or 'sum'", " or ".join(nearest(str(reduction), CHOICES)),
            )
        )
    return reduction


def reduced(loss: Any, reduction: str) -> Any:
    """The elements of a loss themselves, their mean or their sum."""
    if reduction == "none":
        return loss
    if reduction == "sum":
        return sum_op(loss)
    return mean_op(loss) if math.prod(loss.shape) else sum_op(loss) * float("nan")
