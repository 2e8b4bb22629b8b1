"""Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019)."""

from __future__ import annotations

from typing import Any

from fanal.ops.pointwise import maximum, sqrt
from fanal.optim.moments import (
    MomentStepper,
    check_options,
    decayed,
    first_moment,
    moment_numbers,
    second_moment,
)
from fanal.optim.optimizer import Group
from fanal.optim.options import check_switches
from fanal.optim.rule import Rule, wide
from fanal.tensor.tensor import Tensor


def _numbers(columns: Any, o: Any, flags: Any) -> Any:
    step = columns[0] + 1.0
    t = wide(step)
    return [step], {
        "size": -(o.lr / (1.0 - o.beta1**t)),
        "root": sqrt(1.0 - o.beta2**t),
        **moment_numbers(o),
    }


def _one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    p, g = decayed(p, g, k, flags)
    m, v = first_moment(moments[0], g, k), second_moment(moments[1], g, k)
    largest = [maximum(moments[2], v)] if len(moments) > 2 else []
    denominator = sqrt(largest[0] if largest else v) / k.root + k.eps
    return p + k.size * m / denominator, [m, v, *largest]


class Adam(MomentStepper):
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
        check_options(name, lr, betas, eps, weight_decay)
        check_switches(name, foreach, fused, differentiable)
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _moments(self, group: Group) -> tuple[str, ...]:
        names = super()._moments(group)
        return (*names, "max_exp_avg_sq") if group["amsgrad"] else names


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
