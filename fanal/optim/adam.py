"""Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019)."""

from __future__ import annotations

from typing import Any

from fanal.ops.pointwise import maximum, sqrt
from fanal.optim.optimizer import Group
from fanal.optim.options import at_least_zero, check_betas, check_lr, check_switches, number
from fanal.optim.rule import Flags, Rule, Stepper, wide
from fanal.tensor.tensor import Tensor


def _numbers(columns: Any, o: Any, flags: Any) -> Any:
    step = columns[0] + 1.0
    t = wide(step)
    return [step], {
        "size": -(o.lr / (1.0 - o.beta1**t)),
        "root": sqrt(1.0 - o.beta2**t),
        "eps": o.eps,
        "new1": 1.0 - o.beta1,
        "old2": o.beta2,
        "new2": 1.0 - o.beta2,
        "shrink": 1.0 - o.lr * o.weight_decay,
        "decay": o.weight_decay,
    }


def _one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    if flags.decay and flags.decoupled:
        p = p * k.shrink
    elif flags.decay:
        g = g + k.decay * p
    m, v, *largest = moments
    m = m + k.new1 * (g - m)
    v = v * k.old2 + k.new2 * g * g
    if largest:
        largest = [maximum(largest[0], v)]
    denominator = sqrt(largest[0] if largest else v) / k.root + k.eps
    return p + k.size * m / denominator, [m, v, *largest]


class Adam(Stepper):
    """Adam, as `torch.optim.Adam`.

    g ← ∇f(θ) + λθ;  m ← β₁m + (1 - β₁)g;  v ← β₂v + (1 - β₂)g²
    θ ← θ - γ/(1 - β₁ᵗ) · m / (√v/√(1 - β₂ᵗ) + ε)

    lr γ, betas (β₁, β₂), eps ε, weight_decay λ. amsgrad: the largest v so far instead of v (Reddi
    et al., 2018). decoupled_weight_decay: θ ← (1 - γλ)θ instead of the term in g, as in AdamW.
    """

    rule = Rule("adam", _numbers, _one)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        name = type(self).__name__
        check_lr(name, lr)
        at_least_zero(name, "epsilon value", eps)
        check_betas(name, betas)
        at_least_zero(name, "weight_decay value", weight_decay)
        check_switches(name, foreach, fused, differentiable)
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _moments(self, group: Group) -> tuple[str, ...]:
        names = ("exp_avg", "exp_avg_sq")
        return (*names, "max_exp_avg_sq") if group["amsgrad"] else names

    def _options(self, group: Group) -> dict[str, float]:
        beta1, beta2 = group["betas"]
        return {
            "lr": number(group["lr"]), "beta1": number(beta1), "beta2": number(beta2),
            "eps": number(group["eps"]), "weight_decay": number(group["weight_decay"]),
        }  # fmt: skip

    def _flags(self, group: Group) -> Flags:
        return Flags.of(
            decay=group["weight_decay"] != 0, maximize=group["maximize"],
            decoupled=group["decoupled_weight_decay"],
        )


class AdamW(Adam):
    """Adam with decoupled weight decay, as `torch.optim.AdamW`.

    As Adam, but θ ← (1 - γλ)θ before the step, so that the decay is not scaled by 1/√v.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True,
        )  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
