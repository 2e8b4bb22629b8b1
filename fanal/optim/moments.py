"""What Adam and its relatives share: running moments of the gradient, and weight decay.

m ← m + (1 - β₁)(g - m);  v ← β₂v + (1 - β₂)g²;  decay in the parameter (decoupled) or the gradient.
"""

from __future__ import annotations

from typing import Any

from fanal.optim.optimizer import Group
from fanal.optim.options import at_least_zero, check_betas, check_lr, number
from fanal.optim.rule import Flags, Stepper


def check_options(name: str, lr: Any, betas: Any, eps: Any, weight_decay: Any) -> None:
    """ValueError for options that none of the family takes."""
    check_lr(name, lr)
    at_least_zero(name, "epsilon value", eps)
    check_betas(name, betas)
    at_least_zero(name, "weight_decay value", weight_decay)


def moment_numbers(o: Any) -> dict[str, Any]:
    """The coefficients that `first_moment`, `second_moment` and `decayed` use."""
    return {
        "new1": 1.0 - o.beta1, "old2": o.beta2, "new2": 1.0 - o.beta2, "eps": o.eps,
        "shrink": 1.0 - o.lr * o.weight_decay, "decay": o.weight_decay,
    }  # fmt: skip


def decayed(p: Any, g: Any, k: Any, flags: Any) -> Any:
    """(p, g) with the weight decay in the one or the other."""
    if not flags.decay:
        return p, g
    return (p * k.shrink, g) if flags.decoupled else (p, g + k.decay * p)


def first_moment(m: Any, g: Any, k: Any) -> Any:
    """The running mean of the gradient."""
    return m + k.new1 * (g - m)


def second_moment(v: Any, g: Any, k: Any) -> Any:
    """The running mean of the gradient's square."""
    return v * k.old2 + k.new2 * g * g


class MomentStepper(Stepper):
    """An optimiser with two moments, betas and weight decay."""

    def _moments(self, group: Group) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _options(self, group: Group) -> dict[str, float]:
        beta1, beta2 = group["betas"]
        return {
            "lr": number(group["lr"]), "beta1": number(beta1), "beta2": number(beta2),
            "eps": number(group["eps"]), "weight_decay": number(group["weight_decay"]),
        }  # fmt: skip

    def _flags(self, group: Group) -> Flags:
        return Flags.of(
            decay=group["weight_decay"] != 0, maximize=group["maximize"],
            decoupled=group.get("decoupled_weight_decay", False),
        )
