"""`out=`: results written to tensors that the caller gives, for all functions that take it.

Compiled functions write straight into the given memory where shape, dtype and overlap allow it.
Otherwise, and for functions in plain Python, the result is computed and copied. A tensor of another
shape gets memory of the result's size, as in PyTorch.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from fanal.autograd.mode import mode
from fanal.backends.native.executable import Executable, launch
from fanal.core.dispatch import Fused
from fanal.core.dtypes import DType, category
from fanal.core.errors import message
from fanal.tensor import eager, inplace
from fanal.tensor.launching import number_bits, raise_status
from fanal.tensor.layout import layout
from fanal.tensor.plans import build
from fanal.tensor.tensor import Tensor, allocate
from fanal.tensor.tracing import own_name

_programs: dict[Any, Executable] = {}


def call_into(function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A compiled function's call with `out=` among its keywords."""
    kwargs = dict(kwargs)
    out = kwargs.pop("out")
    if out is None:
        return eager.call(function, args, kwargs)
    targets = _targets(function.name, out)
    plan, operands = eager.plan_of(function, args, kwargs)
    tensors = [t for t in operands if isinstance(t, Tensor)]
    _refuse_gradient(function.name, [*tensors, *targets])
    if len(targets) != len(plan.outputs):
        raise RuntimeError(
            message(function.name, "as many tensors in out as results are needed", len(targets),
                    str(len(plan.outputs)))
        )
    for target, made in zip(targets, plan.outputs, strict=True):
        fit(target, made.shape, made.dtype, function.name)
    memories = {id(t._storage) for t in targets}
    apart = len(memories) == len(targets) and not any(id(t._storage) in memories for t in tensors)
    same = all(t.dtype is o.dtype for t, o in zip(targets, plan.outputs, strict=True))
    if not (apart and same):
        return written(function.name, eager.run(plan, operands), out)
    key = (plan, *(t._layout for t in targets))
    program = _programs.get(key)
    if program is None:
        layouts = [t._layout.wanting(False) for t in targets]
        program = _programs[key] = build(plan.graph, plan.inputs, layouts, plan.name)
    pointers = [t._ptr if isinstance(t, Tensor) else number_bits(t) for t in operands]
    code = launch(program.address, *pointers, *[t._ptr for t in targets])
    for target in targets:
        target._storage.version += 1
    if code:
        raise_status(function.name, code)
    return targets[0] if plan.single else plan.structure(targets)


def _targets(name: str, out: Any) -> list[Tensor]:
    found = list(out) if isinstance(out, tuple | list) else [out]
    for t in found:
        if not isinstance(t, Tensor):
            raise TypeError(message(name, "out is not a tensor", type(t).__name__, "a Tensor"))
        inplace.check_writable(t, name, False)
    return found


def _refuse_gradient(name: str, tensors: Sequence[Tensor]) -> None:
    if mode.enabled and any(t._layout.grad for t in tensors):
        raise RuntimeError(
            message(name, "out= has no gradient, but a tensor requires grad",
                    hint="no_grad() around the call, or no out=")
        )


def fit(target: Tensor, shape: tuple[int, ...], dtype: DType, name: str) -> None:
    """Give a target the shape of a result; raises RuntimeError if the dtype can't be stored."""
    if category(dtype) > category(target.dtype):
        raise RuntimeError(
            message(name, "the result's dtype can't be stored in out", f"{dtype!r} into {target.dtype!r}")
        )
    if target._layout.shape == shape:
        return
    if target._layout.numel:
        warnings.warn(
            message(name, "out was given other memory, since its shape differs from the result's",
                    tuple(target.shape), str(shape)),
            UserWarning, stacklevel=6,
        )  # fmt: skip
    fresh = allocate(layout(target.dtype, shape))
    target._storage, target._ptr = fresh._storage, fresh._ptr
    target._layout = fresh._layout.wanting(target._layout.grad)


def written(name: str, result: Any, out: Any) -> Any:
    """Results copied into the tensors of `out`; returns these, in the results' structure."""
    results = list(result) if isinstance(result, tuple | list) else [result]
    targets = _targets(name, out)
    if len(targets) != len(results):
        raise RuntimeError(
            message(name, "as many tensors in out as results are needed", len(targets), str(len(results)))
        )
    _refuse_gradient(name, targets)
    for target, value in zip(targets, results, strict=True):
        fit(target, value._layout.shape, value.dtype, name)
        inplace.copy_(target, value.detach())
    if not isinstance(result, tuple | list):
        return targets[0]
    kind = type(result)
    return kind(*targets) if hasattr(kind, "_fields") else kind(targets)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    found = inspect.signature(function)
    parameters = list(found.parameters.values())
    last = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    if any(p.name == "out" for p in parameters):
        return found
    at = len(parameters)
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        at -= 1
    return found.replace(parameters=[*parameters[:at], last, *parameters[at:]])


def takes_out(function: Any) -> Any:
    """Let a function take `out=`: compiled ones from now on, others by a wrapper."""
    record = getattr(function, "fused", None)
    if record is not None:
        record.out = True
        function.__signature__ = _signature(function)
        return function

    @functools.wraps(function)
    def wrapper(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return function(*args, **kwargs)
        result = function(*args, **kwargs)
        parts = result if isinstance(result, tuple | list) else (result,)
        _refuse_gradient(function.__name__, parts)
        return written(function.__name__, result, out)

    wrapper.__signature__ = _signature(function)  # type: ignore[attr-defined]
    return wrapper


def numpy_names(function: Any) -> Any:
    """Let a function in plain Python take NumPy's names of arguments (`axis`, `keepdims`)."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = {own_name(function, k): v for k, v in kwargs.items()}
        return function(*args, **kwargs)

    return wrapper
