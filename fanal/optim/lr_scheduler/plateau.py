"""A schedule that waits for a metric to stop improving."""

from __future__ import annotations

import math
import warnings
from typing import Any, SupportsFloat

from fanal.core.errors import message
from fanal.optim.lr_scheduler.base import LRScheduler, check_optimizer, set_value
from fanal.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """lr ← factor · lr when a metric has not improved for more than `patience` steps.

    As `torch.optim.lr_scheduler.ReduceLROnPlateau`: `step(metric)` after each validation. Better
    means smaller (mode "min") or larger ("max") by more than the threshold, a part of the best
    ("rel") or an amount ("abs"). After a reduction `cooldown` steps pass before counting goes on;
    the rate stays above min_lr, and changes smaller than eps are not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ):
        name = "ReduceLROnPlateau"
        if factor >= 1.0:
            raise ValueError(message(name, "Factor should be < 1.0", factor))
        check_optimizer(name, optimizer)
        groups = len(optimizer.param_groups)
        several = isinstance(min_lr, list | tuple)
        if several and len(min_lr) != groups:  # type: ignore[arg-type]
            raise ValueError(
                message(name, "one min_lr a group is needed", len(min_lr), str(groups))  # type: ignore[arg-type]
            )
        self.factor, self.optimizer = factor, optimizer
        self.default_min_lr = None if several else min_lr
        self.min_lrs: list[Any] = list(min_lr) if several else [min_lr] * groups  # type: ignore[arg-type]
        self.patience, self.cooldown, self.eps = patience, cooldown, eps
        self.last_epoch = 0
        self._last_lr = self._present()
        self._init_is_better(mode, threshold, threshold_mode)
        self._reset()

    def _init_is_better(self, mode: str, threshold: float, threshold_mode: str) -> None:
        if mode not in ("min", "max"):
            raise ValueError(message("ReduceLROnPlateau", f"mode {mode} is unknown", repr(mode),
                                     "'min' or 'max'"))
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                message(
                    "ReduceLROnPlateau", f"threshold mode {threshold_mode} is unknown",
                    repr(threshold_mode), "'rel' or 'abs'",
                )
            )
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode

    def _reset(self) -> None:
        """Forget the best value and the counts."""
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    @property
    def in_cooldown(self) -> bool:
        """Whether steps after a reduction are not counted yet."""
        return self.cooldown_counter > 0

    def _is_better(self, value: float, best: float) -> bool:
        sign = 1.0 if self.mode == "max" else -1.0
        if self.threshold_mode == "rel":
            bound = best * (1.0 + sign * self.threshold)
        else:
            bound = best + sign * self.threshold
        return value > bound if self.mode == "max" else value < bound

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take note of a metric, and reduce the rate where its time has come."""
        value = float(metrics)
        if epoch is None:
            epoch = self.last_epoch + 1
        else:
            warnings.warn(
                "The epoch parameter in `scheduler.step()` is deprecated: use "
                "`scheduler.step(metric)`.",
                UserWarning,
                stacklevel=2,
            )
        self.last_epoch = epoch
        if self._is_better(value, self.best):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr(epoch)
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._present()

    def _reduce_lr(self, epoch: int) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                raise RuntimeError(
                    message(
                        "ReduceLROnPlateau", "the number of param groups differs from when it was "
                        "initialized", len(groups), str(len(self.min_lrs)),
                        "setting min_lrs to one value a group",
                    )
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in zip(groups, self.min_lrs, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, least)
            if old - new > self.eps:
                set_value(group, "lr", new)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self.__dict__.update(state_dict)
        self._init_is_better(self.mode, self.threshold, self.threshold_mode)
