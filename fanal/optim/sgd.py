"""Stochastic gradient descent, with momentum (Polyak, 1964) or Nesterov's (Sutskever et al., 2013)."""

from __future__ import annotations

from typing import Any

from fanal.core.dispatch import recorder, tracing
from fanal.core.errors import message
from fanal.optim.optimizer import Group
from fanal.optim.options import at_least_zero, check_lr, check_switches, number
from fanal.optim.rule import Flags, Rule, State, Stepper, some_of
from fanal.tensor import creation
from fanal.tensor.tensor import Tensor


def _numbers(columns: Any, o: Any, flags: Any) -> Any:
    return [], {
        "lr": -o.lr, "decay": o.weight_decay, "keep": o.keep, "add": o.add, "momentum": o.momentum
    }


def _one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    if flags.decay:
        g = g + k.decay * p
    if not moments:
        return p + k.lr * g, []
    buffer = moments[0] * k.keep + k.add * g
    g = g + k.momentum * buffer if flags.nesterov else buffer
    return p + k.lr * g, [buffer]


class SGD(Stepper):
    """Gradient descent, as `torch.optim.SGD`.

    g ← ∇f(θ) + λθ;  b ← μb + (1 - τ)g (at first b ← g);  g ← g + μb (Nesterov) or b;  θ ← θ - γg

    lr γ, momentum μ, dampening τ, weight_decay λ.

    >>> optimizer = fanal.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> optimizer.zero_grad(); loss(model(x), y).backward(); optimizer.step()
    """

    rule = Rule("sgd", _numbers, _one)
    _columns = ()

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_lr("SGD", lr)
        at_least_zero("SGD", "momentum value", momentum)
        at_least_zero("SGD", "weight_decay value", weight_decay)
        check_switches("SGD", foreach, fused, differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                message("SGD", "Nesterov momentum requires a momentum and zero dampening")
            )
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "foreach": foreach,
            "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _moments(self, group: Group) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] != 0 else ()

    def _options(self, group: Group) -> dict[str, float]:
        momentum = number(group["momentum"])
        return {
            "lr": number(group["lr"]), "weight_decay": number(group["weight_decay"]),
            "momentum": momentum, "keep": momentum, "add": 1 - number(group["dampening"]),
        }  # fmt: skip

    def _flags(self, group: Group) -> Flags:
        return Flags.of(
            decay=group["weight_decay"] != 0, nesterov=group["nesterov"],
            maximize=group["maximize"],
        )

    def begin(self) -> None:
        """Where the gradient is not dampened, a first step is one from buffers of zeros."""
        if all(g["dampening"] == 0 for g in self.param_groups):
            super().begin()

    def _state(self, group: Group, p: Tensor) -> State:
        return self.state[p] if group["momentum"] != 0 else {}

    def _apply(
        self, group: Group, params: list[Tensor], grads: list[Tensor], states: list[State],
        **changed: float,
    ) -> None:  # fmt: skip
        fresh = [group["momentum"] != 0 and s.get("momentum_buffer") is None for s in states]
        if not any(fresh):
            super()._apply(group, params, grads, states, **changed)
            return
        # A new buffer starts as the gradient itself: the same program with other numbers.
        start: dict[str, float] = {"keep": 0.0, "add": 1.0}
        for new, numbers in ((True, start), (False, changed)):
            some = [i for i, x in enumerate(fresh) if x is new]
            if some:
                some_params, some_grads, some_states = some_of(some, params, grads, states)
                if new:
                    listening = recorder()
                    if listening is not None:
                        listening.refuse("the first step of an optimiser with momentum differs")
                    self._make_buffers(some_params, some_states)
                super()._apply(group, some_params, some_grads, some_states, **numbers)

    def _make_buffers(self, params: list[Tensor], states: list[State]) -> None:
        with tracing(None):
            self._zero_buffers(params, states)

    def _zero_buffers(self, params: list[Tensor], states: list[State]) -> None:
        for p, state in zip(params, states, strict=True):
            found = self._prepared.pop(id(p), {}).get("momentum_buffer")
            state["momentum_buffer"] = creation.zeros_like(p.detach()) if found is None else found
