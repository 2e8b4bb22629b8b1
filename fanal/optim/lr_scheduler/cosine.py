"""Cosine annealing, without and with restarts (Loshchilov and Hutter, 2017)."""

from __future__ import annotations

import math

from fanal.core.errors import message
from fanal.optim.lr_scheduler.base import LRScheduler, Rate, set_value
from fanal.optim.optimizer import Optimizer


class CosineAnnealingLR(LRScheduler):
    """η = η_min + ½(η₀ - η_min)(1 + cos(π step/T_max)).

    As `torch.optim.lr_scheduler.CosineAnnealingLR`: computed from the present rate, so that it can
    be chained with other schedules.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ):
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        self._warn_outside_step()
        if self._is_initial:
            return self._present()
        step, period, low = self.last_epoch, self.T_max, self.eta_min
        if self._step_count == 1 and step > 0:
            height = 1 + math.cos(step * math.pi / period)
            return [low + (base - low) * height / 2 for base in self.base_lrs]
        if (step - 1 - period) % (2 * period) == 0:  # the rate is at its lowest: no ratio to it
            rise = 1 - math.cos(math.pi / period)
            pairs = zip(self.base_lrs, self._present(), strict=True)
            return [lr + (base - low) * rise / 2 for base, lr in pairs]
        now = 1 + math.cos(math.pi * step / period)
        before = 1 + math.cos(math.pi * (step - 1) / period)
        return [now / before * (lr - low) + low for lr in self._present()]

    def _get_closed_form_lr(self) -> list[Rate]:
        height = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return [self.eta_min + (lr - self.eta_min) * height / 2 for lr in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing that starts anew after T_0 steps, then after T_mult times as many, ….

    As `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`; `step(epoch)` takes fractions.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0,
        last_epoch: int = -1,
    ):  # fmt: skip
        name = "CosineAnnealingWarmRestarts"
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ValueError(message(name, "Expected positive integer T_0", T_0))
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(message(name, "Expected integer T_mult >= 1", T_mult))
        if not isinstance(eta_min, float | int):
            raise ValueError(message(name, "Expected float or int eta_min", repr(eta_min)))
        self.T_0 = self.T_i = T_0
        self.T_mult, self.eta_min, self.T_cur = T_mult, eta_min, last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        self._warn_outside_step()
        height = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Set the next rates, or those of an epoch: `step(epoch + i / batches)`."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            self._jump(epoch)
        self.last_epoch = math.floor(epoch)
        with self._calling():
            rates = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            set_value(group, "lr", lr)
        self._last_lr = self._present()

    def _jump(self, epoch: float) -> None:
        if epoch < 0:
            raise ValueError(
                message("CosineAnnealingWarmRestarts", "Expected non-negative epoch", epoch)
            )
        if epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch  # type: ignore[assignment]
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0  # type: ignore[assignment]
        else:
            # Cycle n starts at T_0 (T_multⁿ - 1)/(T_mult - 1).
            n = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            start = self.T_0 * (self.T_mult**n - 1) / (self.T_mult - 1)
            self.T_cur = epoch - start
            self.T_i = self.T_0 * self.T_mult**n
