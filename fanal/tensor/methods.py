"""Python's operators on tensors, and how functions become methods.

Operators on two tensors take a short path: if a program for these layouts exists and no gradient is
wanted, it is launched right there. The methods by name stand in `method_table`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fanal.backends.native.executable import launch
from fanal.core.cache import BoundedCache
from fanal.core.dispatch import Fused, call_eager, fused, state
from fanal.core.errors import message
from fanal.core.symbols import size
from fanal.ops import linear, pointwise, shape
from fanal.tensor import creation, eager, indexing, inplace, interop, printing
from fanal.tensor.launching import raise_status
from fanal.tensor.tensor import Tensor, allocate

Method = Callable[..., Any]


def operator(function: Any) -> Method:
    """A binary operator with the short path."""
    record: Fused = function.fused
    cache = record.cache

    def method(self: Any, other: Any) -> Any:
        if state.tracer is not None:
            return _slow(record, self, other)
        kind = type(other)
        if kind is float or kind is int:
            plan = cache.get((self._layout, kind))
            return _slow(record, self, other) if plan is None else eager.run(plan, (self, other))
        try:
            plan = cache[self._layout, other._layout]
        except (KeyError, AttributeError):
            return _slow(record, self, other)
        if plan.grad is not None or not plan.single:
            return eager.run(plan, (self, other))
        out = allocate(plan.outputs[0])
        code = launch(plan.address or plan.compile().address, self._ptr, other._ptr, out._ptr)
        if code:
            raise_status(plan.name, code)
        return out

    return method


def _slow(record: Fused, self: Any, other: Any) -> Any:
    if not isinstance(other, Tensor | bool | int | float):
        other = _operand(other)
        if other is NotImplemented:
            return NotImplemented
    return call_eager(record, (self, other), {})


def _operand(other: Any) -> Any:
    import numpy as np

    if isinstance(other, np.ndarray):
        return creation.as_tensor(other)
    if isinstance(other, np.generic):
        return other.item()
    return NotImplemented


def reflected(function: Any) -> Method:
    """The operator with its operands exchanged."""

    def method(self: Any, other: Any) -> Any:
        other = other if isinstance(other, Tensor | bool | int | float) else _operand(other)
        return NotImplemented if other is NotImplemented else function(other, self)

    return method


def in_place(function: Any) -> Method:
    """`x.f_()` from `f(x)`."""
    record: Fused = function.fused

    known = inplace.programs

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        # The short path: another tensor's elements into this one, nothing recorded.
        if len(args) == 1 and not kwargs and type(args[0]) is Tensor and state.tracer is None:
            other = args[0]
            program = known.get((record, self._layout, other._layout))
            storage = self._storage
            plain = not self._layout.grad and not other._layout.grad
            if program is not None and plain and other._storage is not storage:
                code = launch(program.address, self._ptr, other._ptr, self._ptr)
                storage.version += 1
                if code:
                    raise_status(record.name, code)
                return self
        return inplace.apply(record, self, args, kwargs)

    return _described(method, function, f"{record.name}_")


def in_place_of(function: Any) -> Method:
    """`x.f_()` from a function in plain Python: its result is copied into x."""
    name = function.__name__

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return inplace.assign(self, lambda x: function(x, *args, **kwargs), name)

    return _described(method, function, f"{name}_")


def _described(method: Any, function: Any, name: str) -> Method:
    """Name, text and signature of an in-place method."""
    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"In-place version of `{name[:-1]}`."
    signature = inspect.signature(function)
    kept = [p for p in signature.parameters.values() if p.name != "out"]
    method.__signature__ = signature.replace(parameters=kept)
    return method


def in_place_operator(function: Any) -> Method:
    """`x += y` and the like."""
    write = in_place(function)

    def method(self: Tensor, other: Any) -> Tensor:
        if not isinstance(other, Tensor | bool | int | float):
            other = _operand(other)
            if other is NotImplemented:
                return NotImplemented
        return write(self, other)

    return method


def varargs(function: Any, name: str) -> Method:
    """A method that takes its sizes as `f(2, 3)` or `f((2, 3))`.

    Calls that turn out to be views are remembered by layout and sizes: the same call again takes
    the view at once.
    """
    record: Fused | None = getattr(function, "fused", None)
    known = BoundedCache(4096)

    def method(self: Tensor, *sizes: Any, **kwargs: Any) -> Tensor:
        try:
            plan = known.get((self._layout, sizes))
        except TypeError:  # a list of sizes
            plan = None
        if plan is not None and not kwargs:
            return eager.run(plan, (self,))
        given = tuple(kwargs.values()) if kwargs else sizes
        if len(given) == 1 and isinstance(given[0], tuple | list):
            given = tuple(given[0])
        given = tuple([size(n) for n in given])
        result = function(self, given)
        plan = None if record is None else record.cache.get((self._layout, given))
        if plan is not None and plan.views is not None and all(type(n) is int for n in sizes):
            known[self._layout, sizes] = plan
        return result

    method.__name__ = method.__qualname__ = name
    method.__doc__ = function.__doc__
    first, second = list(inspect.signature(function).parameters.values())[:2]
    sizes_ = second.replace(kind=inspect.Parameter.VAR_POSITIONAL)
    method.__signature__ = inspect.Signature([first, sizes_])  # type: ignore[attr-defined]
    return method


def attach(table: dict[str, Any]) -> None:
    """Set methods on Tensor."""
    for name, method in table.items():
        setattr(Tensor, name, method)


def __len__(self: Tensor) -> int:
    if self.ndim == 0:
        raise TypeError(message("len", "a 0-d tensor has no length"))
    return self._layout.shape[0]


def __iter__(self: Tensor) -> Any:
    if self.ndim == 0:
        raise TypeError(message("iter", "a 0-d tensor can't be iterated"))
    return iter(shape.unbind(self, 0)) if self._layout.shape[0] <= 64 else _items(self)


def _items(self: Tensor) -> Any:
    return (indexing.getitem(self, i) for i in range(self._layout.shape[0]))


def __contains__(self: Tensor, value: Any) -> bool:
    if not isinstance(value, Tensor | bool | int | float):
        raise RuntimeError(
            message("in", "not a tensor or number", type(value).__name__, "a Tensor or number")
        )
    equal: Any = self == value
    return bool(equal.any())


def __format__(self: Tensor, spec: str) -> str:
    if self.ndim == 0 and not self._layout.grad:
        return format(self.item(), spec)
    if self.ndim == 0 and spec:
        return format(self.detach().item(), spec)
    return object.__format__(self, spec)


def __reversed__(self: Tensor) -> Tensor:
    return shape.flip(self, (0,)) if self.ndim else self


def __eq__(self: Tensor, other: Any) -> Any:
    found = operator_eq(self, other)
    return found


def power(input: Any, exponent: Any) -> Any:
    """input to the power exponent; small whole exponents are products."""
    if isinstance(exponent, int | float) and not isinstance(exponent, bool):
        if exponent == 2:
            return pointwise.square(input)
        if exponent == 1:
            return shape.clone(input)
        if exponent == 3:
            return cube(input)
        if exponent == 0.5 and input.dtype.kind == "f":
            return pointwise.sqrt(input)
        if exponent == -1 and input.dtype.kind == "f":
            return pointwise.reciprocal(input)
        if exponent < 0 and isinstance(exponent, int) and input.dtype.kind in "iu":
            raise RuntimeError(
                message("pow", "integers to negative powers are not integers", exponent,
                        hint=".float()")
            )
    return pointwise.pow_general(input, exponent)


@fused
def cube(input: Any) -> Any:
    """x · x · x."""
    return input * input * input


operator_eq = operator(pointwise.eq)
_add, _sub, _mul, _div = pointwise.add, pointwise.sub, pointwise.mul, pointwise.true_divide

attach({
    "__add__": operator(_add), "__radd__": reflected(_add), "__sub__": operator(_sub),
    "__rsub__": reflected(_sub), "__mul__": operator(_mul), "__rmul__": reflected(_mul),
    "__truediv__": operator(_div), "__rtruediv__": reflected(_div),
    "__floordiv__": operator(pointwise.floor_divide),
    "__rfloordiv__": reflected(pointwise.floor_divide),
    "__mod__": operator(pointwise.remainder), "__rmod__": reflected(pointwise.remainder),
    "__pow__": power, "__rpow__": reflected(pointwise.pow_general),
    "__matmul__": operator(linear.matmul), "__rmatmul__": reflected(linear.matmul),
    "__eq__": __eq__, "__ne__": operator(pointwise.ne), "__lt__": operator(pointwise.lt),
    "__le__": operator(pointwise.le), "__gt__": operator(pointwise.gt),
    "__ge__": operator(pointwise.ge), "__and__": operator(pointwise.bitwise_and),
    "__rand__": reflected(pointwise.bitwise_and), "__or__": operator(pointwise.bitwise_or),
    "__ror__": reflected(pointwise.bitwise_or), "__xor__": operator(pointwise.bitwise_xor),
    "__rxor__": reflected(pointwise.bitwise_xor),
    "__lshift__": operator(pointwise.bitwise_left_shift),
    "__rlshift__": reflected(pointwise.bitwise_left_shift),
    "__rshift__": operator(pointwise.bitwise_right_shift),
    "__rrshift__": reflected(pointwise.bitwise_right_shift),
    "__ilshift__": in_place_operator(pointwise.bitwise_left_shift),
    "__irshift__": in_place_operator(pointwise.bitwise_right_shift),
    "__neg__": lambda self: pointwise.neg(self), "__pos__": lambda self: self,
    "__abs__": lambda self: pointwise.abs(self),
    "__invert__": lambda self: pointwise.bitwise_not(self),
    "__iadd__": in_place_operator(_add), "__isub__": in_place_operator(_sub),
    "__imul__": in_place_operator(_mul), "__itruediv__": in_place_operator(_div),
    "__ifloordiv__": in_place_operator(pointwise.floor_divide),
    "__imod__": in_place_operator(pointwise.remainder),
    "__ipow__": in_place_operator(pointwise.pow_general),
    "__iand__": in_place_operator(pointwise.bitwise_and),
    "__ior__": in_place_operator(pointwise.bitwise_or),
    "__ixor__": in_place_operator(pointwise.bitwise_xor),
    "__getitem__": indexing.getitem, "__setitem__": indexing.setitem,
    "__len__": __len__, "__iter__": __iter__, "__contains__": __contains__, "__hash__": object.__hash__,
    "__bool__": interop.__bool__, "__int__": interop.__int__, "__float__": interop.__float__,
    "__complex__": interop.__complex__, "__index__": interop.__index__,
    "__array__": interop.__array__, "__array_wrap__": interop.__array_wrap__,
    "__dlpack__": interop.__dlpack__,
    "__dlpack_device__": interop.__dlpack_device__, "__reduce_ex__": interop.__reduce_ex__,
    "__deepcopy__": interop.__deepcopy__, "__repr__": printing.text_of,
    "__array_priority__": 1000, "__format__": __format__, "__reversed__": __reversed__,
})  # fmt: skip

__all__ = ["attach", "in_place", "in_place_of", "operator", "power", "varargs"]
