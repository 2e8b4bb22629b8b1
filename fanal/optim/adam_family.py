"""Adamax, NAdam, RAdam and SparseAdam: Adam's relatives."""

from __future__ import annotations

from typing import Any

from fanal.core.errors import message
from fanal.ops.pointwise import abs as abs_
from fanal.ops.pointwise import maximum, sqrt, where
from fanal.ops.promotion import cast
from fanal.optim.moments import (
    MomentStepper,
    check_options,
    decayed,
    first_moment,
    moment_numbers,
    second_moment,
)
from fanal.optim.optimizer import Group
from fanal.optim.options import at_least_zero, check_betas, check_lr, number
from fanal.optim.rule import Flags, Rule, State, some_of, wide
from fanal.tensor import creation
from fanal.tensor.tensor import Tensor

# -- Adamax -----------------------------------------------------------------------------------------


def _adamax_numbers(columns: Any, o: Any, flags: Any) -> Any:
    step = columns[0] + 1.0
    return [step], {
        "size": -(o.lr / (1.0 - o.beta1 ** wide(step))), **moment_numbers(o),
    }  # fmt: skip


def _adamax_one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    p, g = decayed(p, g, k, flags)
    m = first_moment(moments[0], g, k)
    u = maximum(moments[1] * k.old2, abs_(g) + k.eps)
    return p + k.size * m / u, [m, u]


class Adamax(MomentStepper):
    """Adam with the largest gradient for its second moment, as `torch.optim.Adamax`.

    m ← β₁m + (1 - β₁)g;  u ← max(β₂u, |g| + ε);  θ ← θ - γ/(1 - β₁ᵗ) · m/u  (Kingma and Ba, 2015)
    """

    rule = Rule("adamax", _adamax_numbers, _adamax_one)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        check_options("Adamax", lr, betas, eps, weight_decay)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _moments(self, group: Group) -> tuple[str, ...]:
        return ("exp_avg", "exp_inf")


# -- NAdam ------------------------------------------------------------------------------------------


def _nadam_numbers(columns: Any, o: Any, flags: Any) -> Any:
    step = columns[0] + 1.0
    t = wide(step)
    mu = o.beta1 * (1.0 - 0.5 * 0.96 ** (t * o.momentum_decay))
    following = o.beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1.0) * o.momentum_decay))
    product = columns[1] * cast(mu, columns[1].dtype)
    so_far = wide(product)
    return [step, product], {
        "by_gradient": -o.lr * (1.0 - mu) / (1.0 - so_far),
        "by_moment": -o.lr * following / (1.0 - so_far * following),
        "correction2": 1.0 - o.beta2**t, **moment_numbers(o),
    }  # fmt: skip


def _nadam_one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    p, g = decayed(p, g, k, flags)
    m, v = first_moment(moments[0], g, k), second_moment(moments[1], g, k)
    denominator = sqrt(v / k.correction2) + k.eps
    p = p + k.by_gradient * g / denominator
    return p + k.by_moment * m / denominator, [m, v]


class NAdam(MomentStepper):
    """Adam with Nesterov's momentum, as `torch.optim.NAdam` (Dozat, 2016).

    μₜ = β₁(1 - ½·0.96^(tψ));  m, v as in Adam;
    θ ← θ - γ[(1 - μₜ)/(1 - Πμ) · g + μₜ₊₁/(1 - Πμ·μₜ₊₁) · m] / (√(v/(1 - β₂ᵗ)) + ε)

    momentum_decay ψ.
    """

    rule = Rule("nadam", _nadam_numbers, _nadam_one)
    _columns = ("step", "mu_product")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        check_options("NAdam", lr, betas, eps, weight_decay)
        at_least_zero("NAdam", "momentum_decay value", momentum_decay)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _first(self, group: Group, name: str, p: Tensor) -> Any:
        first = super()._first(group, name, p)
        return first.fill_(1.0) if name == "mu_product" else first

    def _options(self, group: Group) -> dict[str, float]:
        return {**super()._options(group), "momentum_decay": number(group["momentum_decay"])}


# -- RAdam ------------------------------------------------------------------------------------------


def _radam_numbers(columns: Any, o: Any, flags: Any) -> Any:
    step = columns[0] + 1.0
    t = wide(step)
    correction2 = 1.0 - o.beta2**t
    limit = 2.0 / (1.0 - o.beta2) - 1.0
    length = limit - 2.0 * t * o.beta2**t / correction2
    tractable = length > 5.0
    safe = where(tractable, length, 6.0)
    rect = sqrt(
        (safe - 4.0) * (safe - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * safe)
    )
    return [step], {
        "tractable": where(tractable, 1.0, t * 0.0), "rect": rect, "root": sqrt(correction2),
        "correction1": 1.0 - o.beta1**t, "lr": o.lr, **moment_numbers(o),
    }  # fmt: skip


def _radam_one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    p, g = decayed(p, g, k, flags)
    m, v = first_moment(moments[0], g, k), second_moment(moments[1], g, k)
    plain = m / k.correction1 * k.lr
    adapted = plain * (k.root / (sqrt(v) + k.eps)) * k.rect
    return p - where(k.tractable > 0.5, adapted, plain), [m, v]


class RAdam(MomentStepper):
    """Adam with its adaptive rate rectified, as `torch.optim.RAdam` (Liu et al., 2020).

    ρ∞ = 2/(1 - β₂) - 1;  ρₜ = ρ∞ - 2tβ₂ᵗ/(1 - β₂ᵗ);  m̂ = m/(1 - β₁ᵗ)
    θ ← θ - γ m̂ r √(1 - β₂ᵗ)/(√v + ε) where ρₜ > 5, else θ - γ m̂, with
    r = √((ρₜ - 4)(ρₜ - 2)ρ∞ / ((ρ∞ - 4)(ρ∞ - 2)ρₜ))
    """

    rule = Rule("radam", _radam_numbers, _radam_one)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        check_options("RAdam", lr, betas, eps, weight_decay)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)


# -- SparseAdam -------------------------------------------------------------------------------------


def _sparse_numbers(columns: Any, o: Any, flags: Any) -> Any:
    size = o.lr * sqrt(1.0 - o.beta2**o.step) / (1.0 - o.beta1**o.step)
    return [], {"size": -size, "new1": 1.0 - o.beta1, "new2": 1.0 - o.beta2, "eps": o.eps}


def _sparse_one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    m = first_moment(moments[0], g, k)
    v = moments[1] + (g * g - moments[1]) * k.new2  # as PyTorch rounds it
    return p + k.size * (m / (sqrt(v) + k.eps)), [m, v]


class SparseAdam(MomentStepper):
    """Adam's lazy form, with the options of `torch.optim.SparseAdam`.

    m, v as in Adam;  θ ← θ - γ√(1 - β₂ᵗ)/(1 - β₁ᵗ) · m/(√v + ε)

    There are no sparse tensors: a gradient is dense, and all of its elements count as present.
    """

    rule = Rule("sparse_adam", _sparse_numbers, _sparse_one)
    _columns = ()

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ):
        check_lr("SparseAdam", lr)
        for what, value in (("learning rate", lr), ("epsilon value", eps)):
            if not value > 0.0:
                raise ValueError(message("SparseAdam", f"Invalid {what}", value, "more than 0"))
        check_betas("SparseAdam", betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def _new_state(self, group: Group, p: Tensor) -> State:
        moments = {name: creation.zeros_like(p.detach()) for name in self._moments(group)}
        return {"step": 0, **moments}

    def _options(self, group: Group) -> dict[str, float]:
        beta1, beta2 = group["betas"]
        return {
            "lr": number(group["lr"]), "beta1": number(beta1), "beta2": number(beta2),
            "eps": number(group["eps"]), "step": 0.0,
        }  # fmt: skip

    def _flags(self, group: Group) -> Flags:
        return Flags.of(maximize=group["maximize"])

    def _apply(
        self, group: Group, params: list[Tensor], grads: list[Tensor], states: list[State],
        **changed: float,
    ) -> None:  # fmt: skip
        for state in states:
            state["step"] += 1
        for step in sorted({s["step"] for s in states}):
            some = [i for i, s in enumerate(states) if s["step"] == step]
            super()._apply(group, *some_of(some, params, grads, states), step=float(step))
