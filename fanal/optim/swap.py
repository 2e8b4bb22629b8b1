"""Stepping other tensors with an optimiser, for a while."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fanal.core.errors import message
from fanal.optim.optimizer import Optimizer
from fanal.tensor.tensor import Tensor


@contextmanager
def swap_in_optimizer_params_and_state(
    optimizer: Optimizer, swapin_parameters: dict[str, Tensor], swapin_optim_state: dict[str, Any]
) -> Iterator[None]:
    """Within the block the optimiser has other parameters (in the order of its own) and a state of
    the form of `state_dict()`; what was there comes back at the end.

    Tensors are used as they are, so that writes in place reach the caller's.
    """
    groups, saved = optimizer.param_groups, swapin_optim_state["param_groups"]
    sizes = [len(g["params"]) for g in groups]
    if [len(g["params"]) for g in saved] != sizes or len(swapin_parameters) != sum(sizes):
        raise ValueError(
            message(
                "swap_in_optimizer_params_and_state", "the parameter groups differ",
                f"{len(swapin_parameters)} parameters, groups of "
                f"{[len(g['params']) for g in saved]}", f"groups of {sizes}",
            )
        )
    before, snapshots = optimizer.state, [dict(g) for g in groups]
    try:
        rest = iter(swapin_parameters.values())
        state: defaultdict[Any, Any] = defaultdict(dict)
        for group, other in zip(groups, saved, strict=True):
            params = [next(rest) for _ in other["params"]]
            group.update({k: v for k, v in other.items() if k != "params"}, params=params)
            for p, number in zip(params, other["params"], strict=True):
                state[p] = dict(swapin_optim_state["state"].get(number, {}))
        optimizer.state = state
        yield
    finally:
        for group, snapshot in zip(groups, snapshots, strict=True):
            group.clear()
            group.update(snapshot)
        optimizer.state = before
