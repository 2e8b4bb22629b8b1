"""The eager interpreter: a call becomes a cached native program, and a node on the tape.

On the first call with certain layouts a function is traced, compiled, and kept in its cache (see
`plans`); later calls allocate the outputs, launch, and wrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.autograd.mode import mode
from fanal.backends.native.executable import launch
from fanal.core.dispatch import Fused, register_eager
from fanal.tensor.keys import NAMES, NUMBERS, NumpyNumber, key_part, plain
from fanal.tensor.launching import number_bits, raise_status
from fanal.tensor.plans import GradPlan, Plan, make_plan
from fanal.tensor.recording import record
from fanal.tensor.tensor import Tensor, allocate
from fanal.tensor.views import take


def call(function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a function on tensors: look its program up, or trace and compile it."""
    if not kwargs:
        # Most calls: nothing by name, no number by value. Written out for speed.
        tensors: list[Any] = []
        key: list[Any] = []
        plan: Plan | None = None
        try:
            for a in args:
                kind = type(a)
                if kind is Tensor:
                    tensors.append(a)
                    key.append(a._layout)
                elif function.scalars and kind in NUMBERS:
                    break
                elif kind is int:
                    key.append(a)
                else:
                    key.append(key_part(a, tensors, function, ""))
            else:
                plan = function.cache.get(tuple(key))
        except NumpyNumber:
            pass
        if plan is not None:
            address = plan.direct
            if not address:
                return run(plan, tensors)
            out = allocate(plan.outputs[0])
            code = launch(address, *[t._ptr for t in tensors], out._ptr)
            if code:
                raise_status(plan.name, code)
            return out
    elif function.out and "out" in kwargs:
        from fanal.tensor.outputs import call_into

        return call_into(function, args, kwargs)
    plan, operands = plan_of(function, args, kwargs)
    return run(plan, operands)


def plan_of(
    function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Plan, list[Any]]:
    """The plan of a call, and the tensors and numbers that it would be run on."""
    operands: list[Any] = []
    key: list[Any] = []
    try:
        for i, a in enumerate(args):
            if isinstance(a, Tensor):
                operands.append(a)
                key.append(a._layout)
            else:
                key.append(key_part(a, operands, function, i))
        if kwargs:
            key.append(NAMES)
            for name, value in kwargs.items():
                key.append(name)
                key.append(key_part(value, operands, function, name))
    except NumpyNumber:
        return plan_of(function, plain(args), plain(kwargs))
    whole = tuple(key)
    plan = function.cache.get(whole)
    if plan is None:
        plan = function.cache[whole] = make_plan(function, args, kwargs)
    return plan, operands


def run(plan: Plan, tensors: Sequence[Any]) -> Any:
    """Allocate, launch, wrap; record a node where a gradient is wanted."""
    if plan.views is not None:
        return _run_view(plan, tensors)
    grad = plan.grad
    if grad is not None and mode.enabled:
        return _run_recorded(plan, grad, tensors)
    pointers = [t._ptr if isinstance(t, Tensor) else number_bits(t) for t in tensors]
    if plan.single:
        out = allocate(plan.outputs[0])
        code = launch(plan.address or plan.compile().address, *pointers, out._ptr)
        if code:
            raise_status(plan.name, code)
        return out
    outputs = [allocate(l) for l in plan.outputs]
    code = launch(plan.address or plan.compile().address, *pointers, *[o._ptr for o in outputs])
    if code:
        raise_status(plan.name, code)
    return plan.structure(outputs)


def _run_recorded(plan: Plan, grad: GradPlan, tensors: Sequence[Any]) -> Any:
    pointers = [t._ptr if isinstance(t, Tensor) else number_bits(t) for t in tensors]
    address = grad.address or grad.compile().address
    if grad.single:
        out = allocate(grad.outputs[0])
        code = launch(address, *pointers, out._ptr)
        if code:
            raise_status(plan.name, code)
        record(grad, tensors, (out,))
        return out
    outputs = [allocate(l) for l in grad.outputs]
    code = launch(address, *pointers, *[o._ptr for o in outputs])
    if code:
        raise_status(plan.name, code)
    record(grad, tensors, outputs)
    if plan.single:
        return outputs[0]
    return plan.structure(outputs[: grad.visible])


def _run_view(plan: Plan, tensors: Sequence[Any]) -> Any:
    """Outputs that share the input's memory."""
    (t,) = tensors
    assert plan.views is not None
    if plan.single and (plan.grad is None or not mode.enabled):
        return take(t, plan.views[0])
    outputs = [take(t, view) for view in plan.views]
    grad = plan.grad
    if grad is not None and mode.enabled:
        if grad.base is None:
            grad.derive()
        record(grad, tensors, outputs)
    return outputs[0] if plan.single else plan.structure(outputs)


register_eager(call)
