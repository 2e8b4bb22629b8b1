"""Connectionist temporal classification: the likelihood of a label sequence over all alignments.

Graves et al., 2006. Labels are interleaved with blanks: b l₁ b l₂ … b; the forward recursion over
time runs on logarithms, one program a step. The gradient is the mathematical one of log_probs
(PyTorch's adds a term that log_softmax removes again).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.nn.functional.reduction import chosen
from fanal.nn.functional.steps import pieces
from fanal.ops.create import iota_p
from fanal.ops.index import take_along
from fanal.ops.layout import expand_to, pad_p
from fanal.ops.pointwise import (
    bitwise_and,
    detach,
    eq,
    exp,
    log,
    maximum,
    minimum,
    ne,
    neg,
    where,
)
from fanal.ops.promotion import cast, constant
from fanal.ops.reductions import mean as mean_op
from fanal.ops.reductions import sum as sum_op
from fanal.ops.shape import reshaped
from fanal.tensor.creation import arange, tensor
from fanal.tensor.tensor import Tensor


@fused
def _emissions(log_probs: Any, labels: Any, blank: int) -> Any:
    """log p of each interleaved label at each time: (T, N, 2S + 1); and where two steps may be
    skipped (N, 2S + 1): before a label that differs from the last one."""
    n, s = labels.shape
    wide = 2 * s + 1
    labels = cast(labels, dtypes.int64)
    # blank, l₁, blank, l₂, …, blank; between n labels there are n - 1 gaps, but not -1 between none
    spread = constant(blank, dtypes.int64, (n, 1))
    if s:
        spread = bind(pad_p, labels, low=(0, 1), high=(0, 1), interior=(0, 1), value=blank)
    before = bind(pad_p, spread, low=(0, 2), high=(0, -2), interior=(0, 0), value=blank)
    place = bind(iota_p, shape=(n, wide), dim=1, dtype=dtypes.int64)
    odd = eq(place % 2, 1)
    skip = bitwise_and(bitwise_and(odd, place > 1), ne(spread, before))
    index = expand_to(reshaped(spread, (1, n, wide)), (log_probs.shape[0], n, wide))
    return take_along(log_probs, index, 2), skip


def _log_sum(terms: list[Any]) -> Any:
    """log Σ exp of values, any of which may be -inf."""
    peak = terms[0]
    for t in terms[1:]:
        peak = maximum(peak, t)
    peak = detach(peak)
    peak = where(eq(peak, -math.inf), 0.0, peak)
    total = None
    for t in terms:
        part = exp(t - peak)
        total = part if total is None else total + part
    zero = eq(total, 0.0)
    return where(zero, -math.inf, log(where(zero, 1.0, total)) + peak)


def _moved(x: Any, by: int) -> Any:
    """Columns moved to the right, -inf in front."""
    return bind(pad_p, x, low=(0, by), high=(0, -by), interior=(0, 0), value=-math.inf)


@fused(scalars=("time",))
def _step(alpha: Any, emission: Any, skip: Any, lengths: Any, time: Any) -> Any:
    """The log-probabilities of all prefixes after one more time step."""
    terms = [alpha]
    if alpha.shape[1] > 1:
        terms += [_moved(alpha, 1), where(skip, _moved(alpha, 2), -math.inf)]
    after = _log_sum(terms) + reshaped(emission, tuple(alpha.shape))
    running = expand_to(reshaped(lengths > time, (alpha.shape[0], 1)), tuple(alpha.shape))
    return where(running, after, alpha)


@fused
def _finished(alpha: Any, lengths: Any, zero_infinity: bool, reduction: str) -> Any:
    n = alpha.shape[0]
    last = reshaped(lengths * 2, (n, 1))
    end = reshaped(take_along(alpha, last, 1), (n,))
    label = reshaped(take_along(alpha, maximum(last - 1, 0), 1), (n,))
    label = where(lengths > 0, label, -math.inf)
    loss = neg(_log_sum([end, label]))
    if zero_infinity:
        loss = where(eq(loss, math.inf), 0.0, loss)
    if reduction == "mean":
        return mean_op(loss / cast(maximum(lengths, 1), loss.dtype))
    return sum_op(loss) if reduction == "sum" else loss


@fused
def _first(n: int, wide: int, dtype: Any) -> Any:
    """Before the first step: the empty prefix for certain."""
    place = bind(iota_p, shape=(n, wide), dim=1, dtype=dtypes.int64)
    return where(eq(place, 0), constant(0, dtype, (n, wide)), -math.inf)


def _numbers(lengths: Any, n: int, name: str) -> list[int]:
    found = lengths.tolist() if isinstance(lengths, Tensor) else lengths
    found = [found] if isinstance(found, int) else [int(v) for v in found]
    if len(found) != n:
        raise RuntimeError(
            message("ctc_loss", f"{name} must be of size batch_size", len(found), str(n))
        )
    return found


def _padded(targets: Any, lengths: list[int]) -> Tensor:
    """Targets as (N, S), from that shape or from all of them one after another."""
    longest = max(lengths, default=0)
    if targets.ndim == 2:
        return targets[:, : max(longest, 0)]
    if sum(lengths) != targets.shape[0]:
        raise RuntimeError(
            message(
                "ctc_loss", "target_lengths don't add up to the number of targets", sum(lengths),
                str(targets.shape[0]),
            )
        )
    if longest == 0:
        return targets[:0].reshape(len(lengths), 0)
    starts = list(itertools.accumulate(lengths[:-1], initial=0))
    index = tensor(starts, dtype=dtypes.int64).unsqueeze(1) + arange(longest)
    return targets[minimum(index, int(targets.shape[0]) - 1)]


def ctc_loss(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: str = "mean", zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """-log of the probability of each target sequence, over all alignments with the input.

    Shapes: log_probs (T, N, C) or (T, C), of log_softmax; targets (N, S), or (ΣS,) one after
    another. The mean divides each loss by its target's length first. `zero_infinity`: targets that
    don't fit into their input count 0.
    """
    how = chosen("ctc_loss", None, None, reduction)
    single = log_probs.ndim == 2
    if log_probs.ndim not in (2, 3) or log_probs.dtype.kind != "f":
        raise RuntimeError(
            message("ctc_loss", "log_probs must be floating, (T, N, C) or (T, C)", log_probs.shape)
        )
    if single:
        log_probs = log_probs.unsqueeze(1)
    steps, n, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise RuntimeError(
            message("ctc_loss", "blank must be in label range", blank, f"0 to {classes - 1}")
        )
    times = _numbers(input_lengths, n, "input_lengths")
    sizes = _numbers(target_lengths, n, "target_lengths")
    if max(times, default=0) > steps or min(times, default=0) < 0:
        raise RuntimeError(
            message("ctc_loss", "input_lengths out of range", times, f"at most {steps}")
        )
    if single and targets.ndim == 1:
        targets = targets.unsqueeze(0)
    labels = _padded(targets, sizes)
    emissions, skip = _emissions(log_probs, labels, blank)
    alpha = _first(n, 2 * labels.shape[1] + 1, log_probs.dtype)
    ends = tensor(times, dtype=dtypes.int64)
    # Each piece is one time step, with a first dimension of 1.
    for time, emission in enumerate(pieces(emissions, [1] * steps)[: max(times, default=0)]):
        alpha = _step(alpha, emission, skip, ends, time)
    loss = _finished(alpha, tensor(sizes, dtype=dtypes.int64), zero_infinity, how)
    return loss.squeeze(0) if single and how == "none" else loss

