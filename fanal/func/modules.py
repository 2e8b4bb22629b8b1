"""Modules as functions of their parameters and buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fanal.ops.shape import stack
from fanal.tensor.tensor import Tensor


def functional_call(
    module: Any, parameter_and_buffer_dicts: Any, args: Any = None, kwargs: Any = None, *,
    tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """`module(*args, **kwargs)` with tensors from a dictionary by path (`layers.0.weight`).

    Several dictionaries are given as a tuple; a name may stand in one of them only. args: a tuple, or
    the one argument. What the module writes to its buffers goes to the tensors given. tie_weights: a
    tensor that the module holds under two names is replaced under both. strict: exactly the module's
    names must be given.

    >>> params = dict(model.named_parameters())
    >>> grad(lambda p, x, y: loss(functional_call(model, p, x), y))(params, x, y)
    """
    from fanal.nn.utils import stateless

    given = parameter_and_buffer_dicts
    if not isinstance(given, Mapping):
        if not isinstance(given, Sequence):
            raise ValueError(
                "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
                f"{type(given)}"
            )
        if not all(isinstance(d, Mapping) for d in given):
            raise ValueError(
                "Expected all elements of parameter_and_buffer_dicts to be dictionaries"
            )
        names = [k for d in given for k in d]
        repeated = sorted({k for k in names if names.count(k) > 1}) if len(set(names)) < len(names) else []
        if repeated:
            raise ValueError(
                f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous"
            )
        given = {k: v for d in given for k, v in d.items()}
    return stateless.functional_call(
        module, given, args, kwargs, tie_weights=tie_weights, strict=strict
    )


def stack_module_state(models: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of modules of one class, stacked by name: for an ensemble.

    The stacked parameters are new leaves.

    >>> params, buffers = stack_module_state(models)
    >>> vmap(lambda p, b, x: functional_call(models[0], (p, b), x), (0, 0, None))(params, buffers, x)
    """
    name = "stack_module_state"
    if len(models) == 0:
        raise RuntimeError(f"{name}: Expected at least one model, got 0.")
    if any(m.training != models[0].training for m in models):
        raise RuntimeError(f"{name}: Expected all models to have the same training/eval mode.")
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError(f"{name}: Expected all models to be of the same class.")
    parameters = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return _stacked(parameters), _stacked(buffers)


def _stacked(tables: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
    return {name: _leaf([t[name] for t in tables], name) for name in tables[0]}


def _leaf(tensors: list[Tensor], name: str) -> Tensor:
    wanted = [t.requires_grad for t in tensors]
    if any(wanted) and not all(wanted):
        raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
    made: Tensor = stack(tensors, 0)
    return made.detach().requires_grad_() if all(wanted) else made


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Let every batch norm in a module do without running statistics, in place; returns the module.

    Such a module writes to no buffers, so that it can be mapped over samples.
    """
    from fanal.nn.modules.batchnorm import _BatchNorm

    for module in root.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.running_mean = None
            module.running_var = None
            module.num_batches_tracked = None
            module.track_running_stats = False
    return root
