"""Cyclical rates, and the one-cycle policy (Smith, 2017; Smith and Topin, 2019)."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

from fanal.core.errors import message
from fanal.optim.lr_scheduler.base import (
    LRScheduler,
    Rate,
    check_optimizer,
    for_each_group,
    set_value,
)
from fanal.optim.optimizer import Optimizer


class _WithMomentum(LRScheduler):
    """Schedules that move the momentum (or β₁) against the rate."""

    use_beta1: bool

    def _start_momentum(self, base: Any, most: Any, last_epoch: int) -> None:
        optimizer = self.optimizer
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError(
                message(
                    type(self).__name__, "optimizer must support momentum or beta1 with "
                    "`cycle_momentum` option enabled", type(optimizer).__name__,
                    hint="cycle_momentum=False",
                )
            )
        self.use_beta1 = "betas" in optimizer.defaults
        self.base_momentums = for_each_group("base_momentum", optimizer, base)
        self.max_momentums = for_each_group("max_momentum", optimizer, most)
        if last_epoch != -1:
            return
        rows = zip(optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True)
        for group, low, high in rows:
            self._set_momentum(group, high)
            group["max_momentum"], group["base_momentum"] = high, low

    def _set_momentum(self, group: dict[str, Any], value: Any) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class CyclicLR(_WithMomentum):
    """The rate goes up and down between base_lr and max_lr.

    As `torch.optim.lr_scheduler.CyclicLR`: step_size_up steps up, step_size_down (else as many)
    down. The height is scaled by mode: "triangular" 1, "triangular2" ½ⁿ⁻¹ in cycle n, "exp_range"
    γ^step, or by scale_fn of the cycle or of the step (scale_mode "cycle", "iterations"). With
    cycle_momentum the momentum moves the other way.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ):
        check_optimizer("CyclicLR", optimizer)
        self.optimizer = optimizer
        base_lrs = for_each_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, base_lrs, strict=True):
                set_value(group, "lr", lr)
        self.max_lrs = for_each_group("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                message(
                    "CyclicLR", "mode is invalid and scale_fn is None", repr(mode),
                    "'triangular', 'triangular2' or 'exp_range'",
                )
            )
        self.mode, self.gamma, self._scale_fn_custom = mode, gamma, scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._start_momentum(base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """The height of a cycle (or at a step), as a part of the full one."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular":
            return 1.0
        return 1 / 2.0 ** (x - 1) if self.mode == "triangular2" else self.gamma**x

    def get_lr(self) -> list[Rate]:
        self._warn_outside_step()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        part = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            rows = zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            )
            for group, low, high in rows:
                self._set_momentum(group, high - (high - low) * part * scale)
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * part * scale for low, high in pairs]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser; of a scale_fn, the attributes of a callable object."""
        found = super().state_dict()
        function = found["_scale_fn_custom"]
        plain = function is None or isinstance(function, types.FunctionType)
        found["_scale_fn_custom"] = None if plain else function.__dict__.copy()
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self.__dict__.update({k: v for k, v in state_dict.items() if k != "_scale_fn_custom"})
        attributes = state_dict["_scale_fn_custom"]
        if attributes is not None and self._scale_fn_custom is not None:
            self._scale_fn_custom.__dict__.update(attributes)


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)


def _line(start: float, end: float, part: float) -> float:
    return (end - start) * part + start


class OneCycleLR(_WithMomentum):
    """Up from max_lr/div_factor to max_lr, then down to 1/final_div_factor of the start.

    As `torch.optim.lr_scheduler.OneCycleLR`: step it after each batch, total_steps (or epochs ·
    steps_per_epoch) times. pct_start: the part of the steps that goes up. three_phase: down to the
    start as fast as up, then the rest. anneal_strategy: "cos" or "linear".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        check_optimizer("OneCycleLR", optimizer)
        self.optimizer = optimizer
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(
                message("OneCycleLR", "Expected float between 0 and 1 pct_start", repr(pct_start))
            )
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                message(
                    "OneCycleLR", "anneal_strategy must be one of 'cos' or 'linear'",
                    repr(anneal_strategy),
                )
            )
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        self._anneal_func_type = anneal_strategy
        if last_epoch == -1:
            rates = for_each_group("max_lr", optimizer, max_lr)
            for group, most in zip(optimizer.param_groups, rates, strict=True):
                group["initial_lr"], group["max_lr"] = most / div_factor, most
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._start_momentum(base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        self._warn_outside_step()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                message(
                    "OneCycleLR", f"Tried to step {step} times", step,
                    f"at most the total of {self.total_steps}", "a larger total_steps",
                )
            )
        start, phase = 0.0, self._schedule_phases[-1]
        for phase in self._schedule_phases:
            if step <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            start = phase["end_step"]
        part = (step - start) / (phase["end_step"] - start)
        anneal = _cosine if self._anneal_func_type == "cos" else _line
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(anneal(group[phase["start_lr"]], group[phase["end_lr"]], part))
            if self.cycle_momentum:
                ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
                self._set_momentum(group, anneal(*ends, part))
        return rates


def _total_steps(total: int | None, epochs: int | None, each: int | None) -> int:
    def checked(name: str, value: Any) -> int:
        if not isinstance(value, int) or value <= 0:
            raise ValueError(
                message("OneCycleLR", f"Expected positive integer {name}", repr(value))
            )
        return value

    if total is not None:
        return checked("total_steps", total)
    if epochs is None or each is None:
        raise ValueError(
            message(
                "OneCycleLR",
                "You must define either total_steps OR (epochs AND steps_per_epoch)",
            )
        )
    return checked("epochs", epochs) * checked("steps_per_epoch", each)


def _phases(total: int, up: float, three: bool) -> list[dict[str, Any]]:
    """Where each phase ends, and between which of the group's values it moves."""

    def phase(end: float, lr: tuple[str, str], momentum: tuple[str, str]) -> dict[str, Any]:
        return {
            "end_step": end, "start_lr": lr[0], "end_lr": lr[1], "start_momentum": momentum[0],
            "end_momentum": momentum[1],
        }  # fmt: skip

    low, high = "base_momentum", "max_momentum"
    rise = phase(float(up * total) - 1, ("initial_lr", "max_lr"), (high, low))
    if not three:
        return [rise, phase(total - 1, ("max_lr", "min_lr"), (low, high))]
    return [
        rise,
        phase(float(2 * up * total) - 2, ("max_lr", "initial_lr"), (low, high)),
        phase(total - 1, ("initial_lr", "min_lr"), (high, high)),
    ]
