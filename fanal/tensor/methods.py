"""The methods of Tensor: the ops layer's functions, attached by name.

One table says which function each method is. Operators on two tensors take a short path: if a
program for these layouts exists and no gradient is wanted, it is launched right there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fanal.backends.native.executable import launch
from fanal.core import dtypes
from fanal.core.device import device as device_type
from fanal.core.dispatch import Fused
from fanal.core.errors import message
from fanal.ops import linear, pointwise, reductions, shape
from fanal.tensor import creation, eager, indexing, inplace, interop, printing
from fanal.tensor.tensor import Tensor, allocate

Method = Callable[..., Any]


def operator(function: Any) -> Method:
    """A binary operator with the short path."""
    record: Fused = function.fused
    cache = record.cache

    def method(self: Any, other: Any) -> Any:
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
            eager.raise_status(plan.name, code)
        return out

    return method


def _slow(record: Fused, self: Any, other: Any) -> Any:
    if not isinstance(other, Tensor | bool | int | float):
        other = _operand(other)
        if other is NotImplemented:
            return NotImplemented
    from fanal.core.dispatch import state

    if state.tracer is not None:
        return record.body(self, other)
    return eager.call(record, (self, other), {})


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
        other = other if isinstance(other, bool | int | float) else _operand(other)
        return NotImplemented if other is NotImplemented else function(other, self)

    return method


def in_place(function: Any) -> Method:
    """`x.f_()` from `f(x)`."""
    record: Fused = function.fused

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return inplace.apply(record, self, args, kwargs)

    method.__name__ = f"{record.name}_"
    method.__doc__ = f"In-place version of `{record.name}`."
    return method


def in_place_operator(function: Any) -> Method:
    record: Fused = function.fused

    def method(self: Tensor, other: Any) -> Tensor:
        if not isinstance(other, Tensor | bool | int | float):
            other = _operand(other)
            if other is NotImplemented:
                return NotImplemented
        return inplace.apply(record, self, (other,), {})

    return method


def varargs(function: Any, name: str) -> Method:
    """A method that takes its sizes as `f(2, 3)` or `f((2, 3))`."""

    def method(self: Tensor, *sizes: Any, **kwargs: Any) -> Tensor:
        if kwargs:
            sizes = tuple(kwargs.values())
        given = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
        return function(self, tuple([n if type(n) is int else int(n) for n in given]))

    method.__name__ = name
    method.__doc__ = function.__doc__
    return method


def attach(table: dict[str, Any]) -> None:
    """Set methods on Tensor."""
    for name, method in table.items():
        setattr(Tensor, name, method)


def size(self: Tensor, dim: int | None = None) -> Any:
    """The shape, or the extent of one dimension."""
    return self.shape if dim is None else self.shape[shape.normalize_dim("size", dim, self.ndim)]


def stride(self: Tensor, dim: int | None = None) -> Any:
    """Strides in elements, or that of one dimension."""
    strides = self._layout.strides
    return strides if dim is None else strides[shape.normalize_dim("stride", dim, self.ndim)]


def view(self: Tensor, *sizes: Any) -> Tensor:
    """Another shape (or dtype of the same width) of the same memory; never copies."""
    given = sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    if isinstance(given, dtypes.DType):
        return _view_dtype(self, given)
    out = shape.reshape(self, tuple(int(n) for n in given))
    if out._storage is not self._storage:
        raise RuntimeError(
            message(
                "view", "strides don't allow this shape without a copy",
                f"shape {tuple(self.shape)}, strides {self._layout.strides} to {tuple(given)}",
                hint="reshape()",
            )
        )
    return out


def _view_dtype(self: Tensor, dtype: dtypes.DType) -> Tensor:
    from fanal.tensor.layout import layout
    from fanal.tensor.tensor import new_tensor

    if dtype.itemsize != self.dtype.itemsize or self.requires_grad:
        raise RuntimeError(
            message("view", "another width", f"{self.dtype!r} as {dtype!r}", "dtypes of equal width")
        )
    target = layout(dtype, self._layout.shape, self._layout.strides)
    return new_tensor(self._storage, target, self._ptr)


def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if its elements lie in row-major order, else a copy that does."""
    return self if self._layout.contiguous else _row_major(self)


def _row_major(self: Tensor) -> Tensor:
    out = shape.clone(self)
    if out._layout.contiguous:
        return out
    target = creation.empty(tuple(self.shape), dtype=self.dtype)
    if self.requires_grad:
        return target.copy_(self)
    return inplace.copy_(target, self)


def is_contiguous(self: Tensor, memory_format: Any = None) -> bool:
    """Whether the elements lie in row-major order."""
    return self._layout.contiguous


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Another dtype or device: `x.to(fanal.float64)`, `x.to("cpu")`, `x.to(other)`."""
    dtype = kwargs.get("dtype")
    where = kwargs.get("device")
    for a in args:
        if isinstance(a, dtypes.DType):
            dtype = a
        elif isinstance(a, Tensor):
            dtype = a.dtype
        elif isinstance(a, str | device_type):
            where = a
    if where is not None:
        device_type(where)
    if dtype is None or dtype is self.dtype:
        return shape.clone(self) if kwargs.get("copy") else self
    return shape.to_dtype(self, dtype)


def _cast(dtype: dtypes.DType) -> Method:
    def method(self: Tensor) -> Tensor:
        return to(self, dtype)

    method.__doc__ = f"The tensor as {dtype.name}."
    return method


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
    return bool((self == value).any())


def __hash__(self: Tensor) -> int:
    return id(self)


def __eq__(self: Tensor, other: Any) -> Any:
    found = operator_eq(self, other)
    return found


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in another's dtype."""
    return to(self, other.dtype)


def _max(name: str, whole: Any, along: Any, pairwise: Any) -> Method:
    """`x.max()`, `x.max(dim)`, `x.max(other)`."""

    def method(self: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        if isinstance(dim, Tensor):
            return pairwise(self, dim)
        if other is not None:
            return pairwise(self, other)
        return whole(self) if dim is None else along(self, dim, keepdim)

    method.__name__ = name
    method.__doc__ = method.__doc__ or f"The {name}imum of all, along a dimension, or of two."
    return method


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


from fanal.core.dispatch import fused  # noqa: E402 - used by the one function below


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
    "__rshift__": operator(pointwise.bitwise_right_shift),
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
    "__len__": __len__, "__iter__": __iter__, "__contains__": __contains__, "__hash__": __hash__,
    "__bool__": interop.__bool__, "__int__": interop.__int__, "__float__": interop.__float__,
    "__complex__": interop.__complex__, "__index__": interop.__index__,
    "__array__": interop.__array__, "__dlpack__": interop.__dlpack__,
    "__dlpack_device__": interop.__dlpack_device__, "__reduce_ex__": interop.__reduce_ex__,
    "__deepcopy__": interop.__deepcopy__, "__repr__": printing.text_of,
    "__array_priority__": 1000,
    "numpy": interop.numpy, "item": interop.item, "tolist": interop.tolist,
    "size": size, "stride": stride, "dim": lambda self: self.ndim,
    "ndimension": lambda self: self.ndim, "numel": lambda self: self._layout.numel,
    "nelement": lambda self: self._layout.numel,
    "element_size": lambda self: self._layout.dtype.itemsize,
    "data_ptr": lambda self: self._ptr,
    "storage_offset": lambda self: (self._ptr - self._storage.ptr) // self.dtype.itemsize,
    "is_contiguous": is_contiguous, "contiguous": contiguous, "view": view, "to": to,
    "type_as": type_as, "view_as": lambda self, other: view(self, tuple(other.shape)),
    "reshape_as": lambda self, other: shape.reshape(self, tuple(other.shape)),
    "expand_as": lambda self, other: shape.expand(self, tuple(other.shape)),
    "cpu": lambda self: self, "is_floating_point": lambda self: self.dtype.kind == "f",
    "is_complex": lambda self: False, "is_signed": lambda self: self.dtype.is_signed,
    "float": _cast(dtypes.float32), "double": _cast(dtypes.float64), "half": _cast(dtypes.float16),
    "bfloat16": _cast(dtypes.bfloat16), "long": _cast(dtypes.int64), "int": _cast(dtypes.int32),
    "short": _cast(dtypes.int16), "char": _cast(dtypes.int8), "byte": _cast(dtypes.uint8),
    "bool": _cast(dtypes.bool_),
    "reshape": varargs(shape.reshape, "reshape"), "permute": varargs(shape.permute, "permute"),
    "expand": varargs(shape.expand, "expand"), "flip": varargs(shape.flip, "flip"),
    "T": property(lambda self: shape.permute(self, tuple(range(self.ndim))[::-1])),
    "mT": property(lambda self: shape.transpose(self, -2, -1)),
    "copy_": inplace.copy_, "fill_": inplace.fill_, "zero_": inplace.zero_, "pow": power,
    "max": _max("max", reductions.amax, reductions.max_dim, pointwise.maximum),
    "min": _max("min", reductions.amin, reductions.min_dim, pointwise.minimum),
    "new_zeros": lambda self, *s, **k: creation.zeros(*s, **{"dtype": self.dtype, **k}),
    "new_ones": lambda self, *s, **k: creation.ones(*s, **{"dtype": self.dtype, **k}),
    "new_empty": lambda self, *s, **k: creation.empty(*s, **{"dtype": self.dtype, **k}),
    "new_full": lambda self, s, v, **k: creation.full(s, v, **{"dtype": self.dtype, **k}),
    "new_tensor": lambda self, d, **k: creation.tensor(d, **{"dtype": self.dtype, **k}),
    "nbytes": property(lambda self: self._layout.nbytes),
    "itemsize": property(lambda self: self.dtype.itemsize),
    "is_cuda": property(lambda self: False), "is_sparse": property(lambda self: False),
    "is_quantized": property(lambda self: False), "layout": property(lambda self: "strided"),
})  # fmt: skip

_FUNCTIONS = {
    pointwise: (
        "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh "
        "asinh acosh atanh sigmoid erf erfc erfinv lgamma digamma i0 neg atan2 hypot nextafter "
        "copysign maximum minimum mul remainder fmod floor_divide true_divide eq ne lt le gt ge "
        "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift add sub abs sign "
        "floor ceil trunc bitwise_not square reciprocal"
    ),
    shape: (
        "flatten unflatten transpose t movedim squeeze unsqueeze narrow select split chunk unbind "
        "clone"
    ),
    reductions: (
        "sum nansum mean prod amax amin all any argmax argmin var std logsumexp softmax log_softmax"
    ),
    linear: "matmul mm bmm mv dot outer addmm baddbmm addmv addbmm",
}
for _module, _names in _FUNCTIONS.items():
    for _name in _names.split():
        _function = getattr(_module, _name)
        attach({_name: _function})
        if _module is pointwise or _name in ("addmm", "baddbmm", "addmv", "addbmm"):
            attach({f"{_name}_": in_place(_function)})

__all__ = ["attach", "in_place", "math", "operator", "power"]
