"""What is recorded from PyTorch (`tests/peers/record_optim.py`) and replayed here without it.

`mod` stands for `torch.optim` or `fanal.optim`, so that both run the same lines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

SHAPES = [(4, 3), (5,), (), (2, 3, 2), (3, 6)]
STEPS = 20
SHOWN = (1, 2, 5, 10, 20)  # steps after which the parameters are kept
MISSING = {(3, 1), (4, 1), (9, 0)}  # (step, parameter) without a gradient


class Case(NamedTuple):
    """An optimiser with options; `params` are indices into SHAPES."""

    name: str
    options: dict[str, Any]
    params: tuple[int, ...] = (0, 1, 2, 3, 4)
    dtype: str = "float32"
    rtol: float = 2e-6
    atol: float = 5e-7

    @property
    def key(self) -> str:
        text = ",".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.name}({text}){'' if self.dtype == 'float32' else self.dtype}"


CASES = [
    Case("SGD", {"lr": 0.1}),
    Case("SGD", {"lr": 0.1, "momentum": 0.9}),
    Case("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    Case("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "maximize": True}),
    Case("Adam", {}),
    Case("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    Case("Adam", {"amsgrad": True, "maximize": True}),
    Case("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    Case("Adam", {"lr": 0.01}, dtype="float64", rtol=1e-13, atol=1e-14),
    Case("AdamW", {"lr": 0.01}),
    Case("AdamW", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.3}),
    Case("AdamW", {"lr": 0.01, "fused": True}, dtype="bfloat16", rtol=1e-2, atol=1e-3),
    Case("Adamax", {}),
    Case("Adamax", {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
    Case("Adadelta", {}),
    Case("Adadelta", {"lr": 0.5, "rho": 0.7, "weight_decay": 0.1, "maximize": True}),
    Case("Adagrad", {}),
    Case("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    Case("NAdam", {}),
    Case("NAdam", {"weight_decay": 0.1, "momentum_decay": 0.05, "maximize": True}),
    Case("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    Case("RAdam", {}),
    Case("RAdam", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    Case("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    Case("RMSprop", {}),
    Case("RMSprop", {"momentum": 0.9, "weight_decay": 0.1}),
    Case("RMSprop", {"centered": True, "alpha": 0.9}, rtol=1e-5, atol=1e-6),
    Case("RMSprop", {"momentum": 0.5, "centered": True, "maximize": True}, rtol=1e-5, atol=5e-6),
    Case("Rprop", {}),
    Case("Rprop", {"lr": 0.05, "etas": (0.4, 1.5), "step_sizes": (1e-3, 0.1), "maximize": True}),
    Case("ASGD", {}),
    Case("ASGD", {"lr": 0.1, "lambd": 0.01, "alpha": 0.5, "t0": 5, "weight_decay": 0.1}),
    Case("SparseAdam", {}, params=(0, 1, 3, 4)),
    Case("SparseAdam", {"lr": 0.01, "betas": (0.7, 0.9), "maximize": True}, params=(0, 1, 3, 4)),
    Case("Adafactor", {}),
    Case("Adafactor", {"lr": 0.1, "eps": (1e-5, 1e-2), "d": 1.5, "weight_decay": 0.1}),
    Case("Adafactor", {"beta2_decay": -0.5, "maximize": True}),
    Case("Muon", {"lr": 0.05}, params=(0, 4), rtol=1e-3, atol=1e-3),
    Case(
        "Muon",
        {"lr": 0.05, "nesterov": False, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3},
        params=(0, 4), rtol=1e-3, atol=1e-3,
    ),
]  # fmt: skip


def inputs() -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """First values of the parameters, and a gradient for each step and parameter."""
    rng = np.random.Generator(np.random.PCG64(7))
    first = [np.asarray(rng.standard_normal(s)) for s in SHAPES]
    grads = [[np.asarray(rng.standard_normal(s)) for s in SHAPES] for _ in range(STEPS)]
    return first, grads


# -- LBFGS: another kind of step ----------------------------------------------------------------------

LBFGS = [
    {"lr": 1, "max_iter": 5, "line_search_fn": "strong_wolfe"},
    {"lr": 0.1, "max_iter": 4, "history_size": 2},
    {"lr": 0.5, "max_iter": 3, "max_eval": 2, "tolerance_change": 1e-3},
]


def valley(x: Any) -> Any:
    """A quartic in four variables, curved differently along each."""
    y = x * x
    return (y * y).sum() + (x[0] - 1) * (x[0] - 1) * 5 + (x[1] + x[2]) * (x[1] + x[2]) + x[3] * 0.3


# -- schedules ----------------------------------------------------------------------------------------

METRICS = [5.0, 4.0, 4.1, 4.2, 4.05, 4.0, 3.0, 3.1, 3.2, 3.3, 3.3, 3.3, 3.1, 2.0, 2.5, 2.5, 2.6]
METRICS += [2.7, 2.8, 2.9, 3.0, 3.1, 3.2, 3.3, 3.4]

# Each makes a schedule from (lr_scheduler or swa_utils module, optimiser).
SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "LambdaLR": lambda m, o: m.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (1 + e)]),
    "MultiplicativeLR": lambda m, o: m.MultiplicativeLR(o, lambda e: 0.95),
    "StepLR": lambda m, o: m.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda m, o: m.MultiStepLR(o, [2, 5, 5, 9], 0.5),
    "ConstantLR": lambda m, o: m.ConstantLR(o, 0.5, 4),
    "LinearLR": lambda m, o: m.LinearLR(o, 0.25, 0.75, 6),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda m, o: m.PolynomialLR(o, 8, 2.0),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, 5, 0.001),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 3, 2, 0.001),
    "CyclicLR triangular": lambda m, o: m.CyclicLR(o, 0.01, 0.1, 3, cycle_momentum=False),
    "CyclicLR triangular2": lambda m, o: m.CyclicLR(o, 0.01, 0.1, 3, 4, mode="triangular2"),
    "CyclicLR exp_range": lambda m, o: m.CyclicLR(
        o, [0.01, 0.02], 0.1, 3, mode="exp_range", gamma=0.9
    ),
    "CyclicLR scale_fn": lambda m, o: m.CyclicLR(
        o, 0.01, 0.1, 3, scale_fn=lambda x: 1 / x, scale_mode="cycle"
    ),
    "OneCycleLR": lambda m, o: m.OneCycleLR(o, [0.1, 0.2], total_steps=26),
    "OneCycleLR three phases": lambda m, o: m.OneCycleLR(
        o, 0.1, epochs=13, steps_per_epoch=2, three_phase=True, anneal_strategy="linear"
    ),
    "SequentialLR": lambda m, o: m.SequentialLR(
        o,
        [m.ConstantLR(o, 0.1, 3), m.ExponentialLR(o, 0.9), m.CosineAnnealingLR(o, 4)],
        [4, 9],
    ),
    "ChainedScheduler": lambda m, o: m.ChainedScheduler(
        [m.ConstantLR(o, 0.1, 3), m.ExponentialLR(o, 0.9)], o
    ),
    "ReduceLROnPlateau": lambda m, o: m.ReduceLROnPlateau(
        o, patience=1, cooldown=2, min_lr=[0.001, 0.002]
    ),
    "ReduceLROnPlateau max": lambda m, o: m.ReduceLROnPlateau(
        o, "max", 0.5, 2, threshold_mode="abs"
    ),
    "SWALR": lambda m, o: m.SWALR(o, 0.3, 4),
    "SWALR linear": lambda m, o: m.SWALR(o, [0.3, 0.01], 3, "linear"),
}


def schedule_of(name: str, mod: Any, optimizer: Any) -> Any:
    """A schedule by its name here; `mod` is torch.optim or fanal.optim."""
    where = mod.swa_utils if name.startswith("SWALR") else mod.lr_scheduler
    return SCHEDULES[name](where, optimizer)


def run_schedule(name: str, schedule: Any, optimizer: Any, steps: int = 25) -> list[list[float]]:
    """After each step the groups' rates and momenta."""
    rows = []
    for i in range(steps):
        optimizer.step()
        schedule.step(*([METRICS[i]] if name.startswith("Reduce") else []))
        groups = optimizer.param_groups
        rows.append([g["lr"] for g in groups] + [g["momentum"] for g in groups])
    return rows
