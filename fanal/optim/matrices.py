"""Adafactor and Muon, which know rows and columns."""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.errors import message
from fanal.ops.linear import matmul
from fanal.ops.pointwise import maximum, minimum, rsqrt, sqrt
from fanal.ops.promotion import cast
from fanal.ops.reductions import mean as mean_
from fanal.ops.reductions import sum as sum_
from fanal.ops.shape import transpose
from fanal.optim.optimizer import Group
from fanal.optim.options import at_least_zero, check_lr, number
from fanal.optim.rule import Flags, Rule, State, Stepper, some_of, wide
from fanal.tensor import creation
from fanal.tensor.tensor import Tensor


def _norm(x: Any) -> Any:
    """√Σx², a 0-d value."""
    return sqrt(sum_(x * x))


def _adafactor_numbers(columns: Any, o: Any, flags: Any) -> Any:
    step = columns[0] + 1.0
    t = wide(step)
    return [step], {
        "new": t**o.beta2_decay, "rate": minimum(t ** -0.5, o.lr), "floor": o.eps2, "d": o.d,
        "shrink": 1.0 - o.lr * o.weight_decay,
    }  # fmt: skip


def _adafactor_one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    size = math.sqrt(math.prod(p.shape))
    alpha = maximum(_norm(p) / size, k.floor) * k.rate
    if flags.decay:
        p = p * k.shrink
    least = flags.eps1 if flags.eps1 is not None else _EPSILON[p.dtype.name]
    if flags.factored:
        row, col = moments
        n, m = g.shape[-2:]
        row = row + k.new * (sum_(g * g, -1, True) / float(m) - row)
        col = col + k.new * (sum_(g * g, -2, True) / float(n) - col)
        estimate = row * col / maximum(mean_(row, -2, True), least)
        found = [row, col]
    else:
        estimate = moments[0] + k.new * (g * g - moments[0])
        found = [estimate]
    u = rsqrt(maximum(estimate, least * least)) * g
    clip = maximum(_norm(u) / (k.d * size), 1.0)
    return p - alpha / clip * u, found


_EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}


class Adafactor(Stepper):
    """Adafactor (Shazeer and Stern, 2018), as `torch.optim.Adafactor`.

    β = 1 - t^τ;  α = max(ε₂, RMS θ) · min(γ, 1/√t)
    matrices: R ← βR + (1 - β) mean of g² along rows, C likewise along columns, V = RC/mean R
    vectors: V ← βV + (1 - β)g²
    U = g/√max(V, ε₁²);  θ ← (1 - γλ)θ - α U/max(1, RMS U/d)

    A matrix (n, m) needs n + m numbers of state. beta2_decay τ, eps (ε₁ or None for the dtype's
    epsilon, ε₂), weight_decay λ.
    """

    rule = Rule("adafactor", _adafactor_numbers, _adafactor_one)
    _factored = True  # whether the parameters that are being stepped are matrices

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ):
        check_lr("Adafactor", lr)
        if not beta2_decay <= 0.0:
            raise ValueError(message("Adafactor", "Invalid beta2_decay", beta2_decay, "0 or less"))
        if eps[0] is not None:
            at_least_zero("Adafactor", "epsilon1", eps[0])
        at_least_zero("Adafactor", "epsilon2", eps[1])
        if not d >= 1.0:
            raise ValueError(message("Adafactor", "Invalid clipping threshold d", d, "1 or more"))
        at_least_zero("Adafactor", "weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d,
            "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _new_state(self, group: Group, p: Tensor) -> State:
        state = {"step": self._first(group, "step", p)}
        if p.ndim > 1:
            *batch, n, m = p.shape
            state["row_var"] = creation.zeros(*batch, n, 1, dtype=p.dtype)
            state["col_var"] = creation.zeros(*batch, 1, m, dtype=p.dtype)
        else:
            state["variance"] = creation.zeros_like(p.detach())
        return state

    def _moments(self, group: Group) -> tuple[str, ...]:
        return ("row_var", "col_var") if self._factored else ("variance",)

    def _options(self, group: Group) -> dict[str, float]:
        names = ("lr", "beta2_decay", "d", "weight_decay")
        return {**{n: number(group[n]) for n in names}, "eps2": number(group["eps"][1])}

    def _flags(self, group: Group) -> Flags:
        return Flags.of(
            factored=self._factored, decay=group["weight_decay"] != 0, eps1=group["eps"][0],
            maximize=group["maximize"],
        )

    def _apply(
        self, group: Group, params: list[Tensor], grads: list[Tensor], states: list[State],
        **changed: float,
    ) -> None:  # fmt: skip
        for factored in (True, False):
            some = [i for i, p in enumerate(params) if (p.ndim > 1) is factored]
            if some:
                self._factored = factored
                some_params, some_grads, some_states = some_of(some, params, grads, states)
                super()._apply(group, some_params, some_grads, some_states, **changed)


# -- Muon -------------------------------------------------------------------------------------------


def orthogonalised(x: Any, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """About U Vᵀ for x = U S Vᵀ, (n, m): `steps` of the Newton-Schulz iteration, in bfloat16.

    X ← aX + (bA + cA²)X with A = XXᵀ, from X = x/‖x‖  (Jordan et al., 2024)
    """
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    x = cast(transpose(x, 0, 1) if tall else x, dtypes.bfloat16)
    x = x / maximum(cast(_norm(cast(x, dtypes.float32)), x.dtype), eps)
    for _ in range(steps):
        gram = matmul(x, transpose(x, 0, 1))
        update = _plus_product(gram, b, gram, gram, c)
        x = _plus_product(x, a, update, x, 1.0)
    return transpose(x, 0, 1) if tall else x


def _plus_product(x: Any, beta: float, left: Any, right: Any, alpha: float) -> Any:
    """βx + α·left@right, rounded once."""
    f = dtypes.float32
    product = matmul(cast(left, f), cast(right, f))
    return cast(cast(x, f) * beta + product * alpha, x.dtype)


def _muon_numbers(columns: Any, o: Any, flags: Any) -> Any:
    return [], {"new": 1.0 - o.momentum, "shrink": 1.0 - o.lr * o.weight_decay, "lr": o.lr}


def _muon_one(p: Any, g: Any, moments: Any, k: Any, flags: Any) -> Any:
    buffer = moments[0] + k.new * (g - moments[0])
    update = buffer - (buffer - g) * k.new if flags.nesterov else buffer
    update = cast(orthogonalised(update, flags.coefficients, flags.steps, flags.eps), p.dtype)
    n, m = p.shape[:2]
    ratio = {"match_rms_adamw": 0.2 * math.sqrt(max(n, m))}.get(
        flags.adjust, math.sqrt(max(1, n / m))
    )
    return p * k.shrink - k.lr * ratio * update, [buffer]


class Muon(Stepper):
    """Momentum, orthogonalised (Jordan et al., 2024), as `torch.optim.Muon`; for matrices only.

    b ← μb + (1 - μ)g;  u = (1 - μ)g + μb (Nesterov) or b;  θ ← (1 - γλ)θ - γ r UVᵀ of u

    r for a matrix (n, m) = √max(1, n/m), or with adjust_lr_fn="match_rms_adamw" 0.2√max(n, m).
    """

    rule = Rule("muon", _muon_numbers, _muon_one)
    _columns = ()

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        check_lr("Muon", lr)
        at_least_zero("Muon", "momentum", momentum)
        at_least_zero("Muon", "weight decay", weight_decay)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                message(
                    "Muon", "Adjust learning rate function is not supported", repr(adjust_lr_fn),
                    "None, 'original' or 'match_rms_adamw'",
                )
            )
        if ns_steps >= 100 or len(ns_coefficients) != 3:
            raise ValueError(
                message(
                    "Muon", "not an iteration of Newton and Schulz",
                    f"{ns_steps=}, {len(ns_coefficients)} coefficients",
                    "fewer than 100 steps, 3 coefficients",
                )
            )
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _check_param(self, p: Any) -> None:
        super()._check_param(p)
        if p.ndim != 2:
            raise ValueError(
                message(
                    "Muon", "Muon only supports 2D parameters", tuple(p.shape),
                    hint="AdamW for vectors, embeddings and the last layer",
                )
            )

    def _moments(self, group: Group) -> tuple[str, ...]:
        return ("momentum_buffer",)

    def _options(self, group: Group) -> dict[str, float]:
        return {name: number(group[name]) for name in ("lr", "weight_decay", "momentum")}

    def _flags(self, group: Group) -> Flags:
        return Flags.of(
            nesterov=group["nesterov"], coefficients=tuple(group["ns_coefficients"]),
            steps=group["ns_steps"], eps=number(group["eps"]),
            adjust=group["adjust_lr_fn"] or "original", maximize=False,
        )
