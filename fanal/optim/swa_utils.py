"""Averages of weights: stochastic weight averaging (Izmailov et al., 2018) and moving averages."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

from fanal.autograd.mode import no_grad
from fanal.core import dtypes
from fanal.core.errors import message
from fanal.nn.module import Module
from fanal.ops.promotion import cast
from fanal.optim.lr_scheduler.base import LRScheduler, Rate, for_each_group
from fanal.optim.optimizer import Optimizer
from fanal.tensor import creation
from fanal.tensor.tensor import Tensor
from fanal.tensor.update import update


def _towards(averages: list[Any], current: list[Any], part: Any) -> list[list[Any]]:
    """a + part · (x - a) for each pair; the body of both kinds of average."""
    return [[a + cast(part, a.dtype) * (x - a) for a, x in zip(averages, current, strict=True)]]


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(
            message("get_ema_avg_fn", "Invalid decay value provided", decay, "a value in [0, 1]")
        )


def _move(averages: Sequence[Tensor], current: Sequence[Tensor], part: float) -> None:
    floating = [i for i, a in enumerate(averages) if a.dtype.kind == "f"]
    with no_grad():
        if floating:
            targets = [averages[i].detach() for i in floating]
            update(_towards, [targets], [[current[i].detach() for i in floating]], [float(part)])
        for i in set(range(len(averages))) - set(floating):
            wanted = averages[i] + (current[i] - averages[i]) * part
            averages[i].copy_(wanted.to(averages[i].dtype))


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[..., None]:
    """A function (averages, current, n) that moves all averages: a ← decay·a + (1 - decay)x."""
    _check_decay(decay)

    def ema_update(averages: Sequence[Tensor], current: Sequence[Tensor], _: Any) -> None:
        _move(averages, current, 1 - decay)

    return ema_update


def get_swa_multi_avg_fn() -> Callable[..., None]:
    """A function (averages, current, n) that moves all averages: a ← a + (x - a)/(n + 1)."""

    def swa_update(averages: Sequence[Tensor], current: Sequence[Tensor], n: Any) -> None:
        _move(averages, current, 1.0 / (float(n) + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Callable[..., Tensor]:
    """A function (average, current, n) that returns decay·average + (1 - decay)·current."""
    _check_decay(decay)

    @no_grad()
    def ema_update(average: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return decay * average + (1 - decay) * current

    return ema_update


def get_swa_avg_fn() -> Callable[..., Tensor]:
    """A function (average, current, n) that returns the mean of n + 1."""

    @no_grad()
    def swa_update(average: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return average + (current - average) / (num_averaged + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages, as `torch.optim.swa_utils.AveragedModel`.

    `update_parameters(model)` takes the model's parameters (with use_buffers its buffers too) into
    the average: their mean, or what avg_fn(average, current, n) or multi_avg_fn(averages, current,
    n) make of them. Buffers are copied otherwise.

    >>> ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[..., Tensor] | None = None,
        multi_avg_fn: Callable[..., None] | None = None,
        use_buffers: bool = False,
    ):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError(
                message(
                    "AveragedModel", "Only one of avg_fn and multi_avg_fn should be provided"
                )
            )
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", creation.tensor(0, dtype=dtypes.int64))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The averaged model's result."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take a model's parameters into the average; the first time, copy them."""
        mine, theirs = self._tensors(self.module), self._tensors(model)
        count = int(self.n_averaged)
        with no_grad():
            if count == 0:
                for average, current in zip(mine, theirs, strict=True):
                    average.copy_(current)
            elif self.avg_fn is None:
                (self.multi_avg_fn or get_swa_multi_avg_fn())(mine, theirs, self.n_averaged)
            else:
                for average, current in zip(mine, theirs, strict=True):
                    average.copy_(self.avg_fn(average, current, self.n_averaged))
            if not self.use_buffers:
                for b, current in zip(self.module.buffers(), model.buffers(), strict=True):
                    b.detach().copy_(current.detach())
            self.n_averaged += 1

    def _tensors(self, model: Module) -> list[Tensor]:
        buffers = model.buffers() if self.use_buffers else ()
        return [t.detach() for t in itertools.chain(model.parameters(), buffers)]


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of batch norms anew, by one pass over the data.

    A batch may be a list or tuple whose first element is the model's input.
    """
    norms = [m for m in model.modules() if hasattr(m, "reset_running_stats")]
    norms = [m for m in norms if getattr(m, "running_mean", None) is not None]
    if not norms:
        return
    before = [m.momentum for m in norms]
    training = model.training
    model.train()
    try:
        for m in norms:
            m.reset_running_stats()
            m.momentum = None  # the mean of all batches
        for batch in loader:
            x = batch[0] if isinstance(batch, list | tuple) else batch
            model(x if device is None else x.to(device))
    finally:
        for m, momentum in zip(norms, before, strict=True):
            m.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """The rate goes to swa_lr within anneal_epochs steps and stays there.

    As `torch.optim.swa_utils.SWALR`. anneal_strategy: "cos" or "linear".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ):
        rates = for_each_group("swa_lr", optimizer, swa_lr)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                message(
                    "SWALR", "anneal_strategy must be one of 'cos' or 'linear'",
                    repr(anneal_strategy),
                )
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(
                message(
                    "SWALR", "anneal_epochs must be equal or greater than 0", repr(anneal_epochs)
                )
            )
        self.anneal_epochs, self._anneal_strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _part(self, step: int) -> float:
        """How much of the way is done after a step."""
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[Rate]:
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._part(step - 1), self._part(step)
        found = []
        for group in self.optimizer.param_groups:
            goal, lr = group["swa_lr"], group["lr"]
            start = goal if before == 1 else (lr - before * goal) / (1 - before)
            found.append(goal * now + start * (1 - now))
        return found
