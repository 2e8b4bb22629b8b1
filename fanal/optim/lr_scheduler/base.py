"""The base of learning-rate schedules.

A scheduler writes `lr` into an optimiser's groups, once at its construction and once a `step()`.
Most have two forms: `get_lr`, from the present rate (so that schedules can be chained), and
`_get_closed_form_lr`, from the step's number.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fanal.core.errors import message
from fanal.optim.optimizer import Optimizer
from fanal.tensor.tensor import Tensor

Rate = Any  # float, or a tensor of one element


def values_of(optimizer: Optimizer, key: str) -> list[Rate]:
    """An option of all groups; tensors are copied, so that nobody holds the optimiser's own."""
    return [
        g[key].clone() if isinstance(g[key], Tensor) else g[key] for g in optimizer.param_groups
    ]


def set_value(group: dict[str, Any], key: str, value: Rate) -> None:
    """Set a group's option; a tensor keeps its identity and gets the value."""
    if isinstance(group[key], Tensor):
        group[key].fill_(float(value))
    else:
        group[key] = value


def for_each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group, from one for all or a list of them."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(
            message(
                name, f"{name} must have the same length as optimizer.param_groups", len(value),
                str(groups),
            )
        )
    return list(value)


def check_optimizer(name: str, optimizer: Any) -> None:
    """TypeError unless it is an optimiser."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(message(name, "not an Optimizer", type(optimizer).__name__))


class LRScheduler:
    """Base class of schedules, as `torch.optim.lr_scheduler.LRScheduler`.

    Subclasses give `get_lr()`: the rates of all groups for step `self.last_epoch`. last_epoch: the
    last step taken, -1 for a new schedule; else the groups must have an `initial_lr`.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        check_optimizer(type(self).__name__, optimizer)
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                lr = group["lr"]
                group.setdefault("initial_lr", lr.clone() if isinstance(lr, Tensor) else lr)
            elif "initial_lr" not in group:
                raise KeyError(
                    message(
                        type(self).__name__, f"param 'initial_lr' is not specified in "
                        f"param_groups[{number}] when resuming a scheduler", f"{last_epoch=}",
                        hint="last_epoch=-1, or loading the optimizer's state first",
                    )
                )
        self.base_lrs = values_of(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        if not optimizer.__dict__.get("_scheduled"):
            optimizer.__dict__["_scheduled"] = True
            optimizer._opt_called = False
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser, as a dict."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Rate]:
        """The rates that this scheduler set last, one a group."""
        return self._last_lr

    def get_lr(self) -> list[Rate]:
        """The rates for step `last_epoch`; called within `step`."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Set the next rates. Call it after `optimizer.step()`; `epoch` (deprecated) jumps."""
        if self._step_count == 1 and not self.optimizer._opt_called:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in "
                "the opposite order: `optimizer.step()` before `lr_scheduler.step()`, else the "
                "first value of the learning rate schedule is skipped.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is not None:
            warnings.warn(
                "The epoch parameter in `scheduler.step()` is deprecated: use `scheduler.step()`.",
                UserWarning,
                stacklevel=2,
            )
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        with self._calling():
            if epoch is None:
                self.last_epoch += 1
                values = self.get_lr()
            else:
                self.last_epoch = epoch
                closed = getattr(self, "_get_closed_form_lr", self.get_lr)
                values = closed()
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            set_value(group, "lr", lr)
        self._last_lr = values_of(self.optimizer, "lr")

    @contextmanager
    def _calling(self) -> Iterator[None]:
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def _present(self) -> list[Rate]:
        """The groups' rates now."""
        return values_of(self.optimizer, "lr")


class _LRScheduler(LRScheduler):
    """The old name of LRScheduler."""
