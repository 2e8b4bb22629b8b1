"""Adadelta, Adagrad and RMSprop: rates that follow the size of past gradients."""

from __future__ import annotations

from typing import Any

from fanal.core.errors import message
from fanal.ops.pointwise import sqrt
from fanal.optim.optimizer import Group
from fanal.optim.options import at_least_zero, check_lr, check_switches, number
from fanal.optim.rule import Flags, Rule, Stepper, wide
from fanal.tensor import creation
from fanal.tensor.tensor import Tensor


def _adadelta_numbers(columns: Any, o: Any, flags: Any) -> Any:
    return [columns[0] + 1.0], {
        "lr": -o.lr, "old": o.rho, "new": 1.0 - o.rho, "eps": o.eps, "decay": o.weight_decay
    }


def _adadelta_one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    if flags.decay:
        g = g + k.decay * p
    v, u = moments
    v = v * k.old + k.new * g * g
    delta = sqrt(u + k.eps) / sqrt(v + k.eps) * g
    u = u * k.old + k.new * delta * delta
    return p + k.lr * delta, [v, u]


class Adadelta(Stepper):
    """Adadelta (Zeiler, 2012), as `torch.optim.Adadelta`.

    v ← ρv + (1 - ρ)g²;  Δ = √(u + ε)/√(v + ε) · g;  u ← ρu + (1 - ρ)Δ²;  θ ← θ - γΔ
    """

    rule = Rule("adadelta", _adadelta_numbers, _adadelta_one)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_lr("Adadelta", lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(message("Adadelta", "Invalid rho value", rho, "0 to 1"))
        at_least_zero("Adadelta", "epsilon value", eps)
        at_least_zero("Adadelta", "weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _moments(self, group: Group) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def _options(self, group: Group) -> dict[str, float]:
        return {name: number(group[name]) for name in ("lr", "rho", "eps", "weight_decay")}

    def _flags(self, group: Group) -> Flags:
        return Flags.of(decay=group["weight_decay"] != 0, maximize=group["maximize"])


def _adagrad_numbers(columns: Any, o: Any, flags: Any) -> Any:
    step = columns[0] + 1.0
    rate = o.lr / (1.0 + (wide(step) - 1.0) * o.lr_decay)
    return [step], {"lr": -rate, "eps": o.eps, "decay": o.weight_decay}


def _adagrad_one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    if flags.decay:
        g = g + k.decay * p
    total = moments[0] + g * g
    return p + k.lr * g / (sqrt(total) + k.eps), [total]


class Adagrad(Stepper):
    """Adagrad (Duchi et al., 2011), as `torch.optim.Adagrad`.

    s ← s + g²;  θ ← θ - γ/(1 + (t - 1)η) · g/(√s + ε)

    lr_decay η; initial_accumulator_value: the first s. The state exists from the start.
    """

    rule = Rule("adagrad", _adagrad_numbers, _adagrad_one)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_lr("Adagrad", lr)
        at_least_zero("Adagrad", "lr_decay value", lr_decay)
        at_least_zero("Adagrad", "weight_decay value", weight_decay)
        at_least_zero("Adagrad", "initial_accumulator_value value", initial_accumulator_value)
        at_least_zero("Adagrad", "epsilon value", eps)
        check_switches("Adagrad", foreach, fused, differentiable)
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                self._state(group, p)

    def share_memory(self) -> None:
        """Accepted, as in PyTorch; the state stays where it is."""

    def _first(self, group: Group, name: str, p: Tensor) -> Any:
        if name == "sum":
            value = number(self.defaults["initial_accumulator_value"])
            return creation.full_like(p.detach(), value)
        return super()._first(group, name, p)

    def _moments(self, group: Group) -> tuple[str, ...]:
        return ("sum",)

    def _options(self, group: Group) -> dict[str, float]:
        return {name: number(group[name]) for name in ("lr", "lr_decay", "eps", "weight_decay")}

    def _flags(self, group: Group) -> Flags:
        return Flags.of(decay=group["weight_decay"] != 0, maximize=group["maximize"])


def _rmsprop_numbers(columns: Any, o: Any, flags: Any) -> Any:
    return [columns[0] + 1.0], {
        "lr": -o.lr, "old": o.alpha, "new": 1.0 - o.alpha, "eps": o.eps, "decay": o.weight_decay,
        "momentum": o.momentum,
    }  # fmt: skip


def _rmsprop_one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    if flags.decay:
        g = g + k.decay * p
    v, *rest = moments
    v = v * k.old + k.new * g * g
    found = [v]
    spread = v
    if flags.centered:
        mean = rest[-1]
        mean = mean + k.new * (g - mean)
        spread = v - mean * mean
    root = sqrt(spread) + k.eps
    if flags.momentum:
        buffer = rest[0] * k.momentum + g / root
        found.append(buffer)
        p = p + k.lr * buffer
    else:
        p = p + k.lr * g / root
    return p, [*found, mean] if flags.centered else found


class RMSprop(Stepper):
    """RMSprop (Hinton, 2012; centred: Graves, 2013), as `torch.optim.RMSprop`.

    v ← αv + (1 - α)g²;  w = v, or v - ḡ² (centered, ḡ ← αḡ + (1 - α)g)
    b ← μb + g/(√w + ε);  θ ← θ - γb
    """

    rule = Rule("rmsprop", _rmsprop_numbers, _rmsprop_one)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_lr("RMSprop", lr)
        at_least_zero("RMSprop", "epsilon value", eps)
        at_least_zero("RMSprop", "momentum value", momentum)
        at_least_zero("RMSprop", "weight_decay value", weight_decay)
        at_least_zero("RMSprop", "alpha value", alpha)
        defaults = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _moments(self, group: Group) -> tuple[str, ...]:
        names = ["square_avg"]
        if group["momentum"] > 0:
            names.append("momentum_buffer")
        if group["centered"]:
            names.append("grad_avg")
        return tuple(names)

    def _options(self, group: Group) -> dict[str, float]:
        names = ("lr", "alpha", "eps", "weight_decay", "momentum")
        return {name: number(group[name]) for name in names}

    def _flags(self, group: Group) -> Flags:
        return Flags.of(
            decay=group["weight_decay"] != 0, momentum=group["momentum"] > 0,
            centered=group["centered"], maximize=group["maximize"],
        )
