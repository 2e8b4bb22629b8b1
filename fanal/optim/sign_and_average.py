"""Rprop, which looks at signs alone, and ASGD, which averages its path."""

from __future__ import annotations

from typing import Any

from fanal.core.errors import message
from fanal.ops.pointwise import maximum, minimum, sign, where
from fanal.ops.promotion import cast
from fanal.optim.optimizer import Group
from fanal.optim.options import at_least_zero, check_lr, number
from fanal.optim.rule import Flags, Rule, Stepper, wide
from fanal.tensor import creation
from fanal.tensor.tensor import Tensor


def _rprop_numbers(columns: Any, o: Any, flags: Any) -> Any:
    return [columns[0] + 1.0], {
        "down": o.down, "up": o.up, "low": o.low, "high": o.high, "one": o.down * 0.0 + 1.0
    }


def _rprop_one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    before, size = moments
    agree = g * before
    factor = where(agree > 0.0, k.up, where(agree < 0.0, k.down, k.one))
    size = minimum(maximum(size * factor, k.low), k.high)
    g = where(agree < 0.0, 0.0, g)
    return p - sign(g) * size, [g, size]


class Rprop(Stepper):
    """Resilient backpropagation (Riedmiller and Braun, 1993), as `torch.optim.Rprop`.

    Each element has a step size η: it grows by etas[1] where the gradient keeps its sign, shrinks
    by etas[0] where it changes (the gradient then counts as 0), within step_sizes. θ ← θ - sign(g)η
    """

    rule = Rule("rprop", _rprop_numbers, _rprop_one)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_lr("Rprop", lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(
                message("Rprop", "Invalid eta values", etas, "one between 0 and 1, one above 1")
            )
        defaults = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _moments(self, group: Group) -> tuple[str, ...]:
        return ("prev", "step_size")

    def _first(self, group: Group, name: str, p: Tensor) -> Any:
        if name == "step_size":
            return creation.full_like(p.detach(), number(group["lr"]))
        return super()._first(group, name, p)

    def _options(self, group: Group) -> dict[str, float]:
        (down, up), (low, high) = group["etas"], group["step_sizes"]
        return {
            "down": number(down), "up": number(up), "low": number(low), "high": number(high)
        }

    def _flags(self, group: Group) -> Flags:
        return Flags.of(maximize=group["maximize"])


def _asgd_numbers(columns: Any, o: Any, flags: Any) -> Any:
    step, eta, mu = columns
    step = step + 1.0
    t = wide(step)
    next_eta = o.lr / (1.0 + o.lambd * o.lr * t) ** o.alpha
    next_mu = 1.0 / maximum(t - o.t0, 1.0)
    rate = wide(eta)
    return [step, cast(next_eta, eta.dtype), cast(next_mu, mu.dtype)], {
        "shrink": 1.0 - o.lambd * rate, "rate": -rate, "mu": wide(mu), "decay": o.weight_decay,
    }  # fmt: skip


def _asgd_one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    if flags.decay:
        g = g + k.decay * p
    p = p * k.shrink + k.rate * g
    ax = moments[0]
    return p, [where(k.mu < 1.0, ax + (p - ax) * k.mu, p)]


class ASGD(Stepper):
    """Averaged gradient descent (Polyak and Juditsky, 1992), as `torch.optim.ASGD`.

    θ ← (1 - λη)θ - ηg;  ax ← ax + μ(θ - ax);  η ← γ/(1 + λγt)^α;  μ ← 1/max(1, t - t0)

    The average is the state `ax`; lambd λ, lr γ.
    """

    rule = Rule("asgd", _asgd_numbers, _asgd_one)
    _columns = ("step", "eta", "mu")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        check_lr("ASGD", lr)
        at_least_zero("ASGD", "weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _moments(self, group: Group) -> tuple[str, ...]:
        return ("ax",)

    def _first(self, group: Group, name: str, p: Tensor) -> Any:
        first = super()._first(group, name, p)
        if name == "eta":
            return first.fill_(number(group["lr"]))
        return first.fill_(1.0) if name == "mu" else first

    def _options(self, group: Group) -> dict[str, float]:
        names = ("lr", "lambd", "alpha", "t0", "weight_decay")
        return {name: number(group[name]) for name in names}

    def _flags(self, group: Group) -> Flags:
        return Flags.of(decay=group["weight_decay"] != 0, maximize=group["maximize"])
