"""From PyTorch's values to Fanal's, its functions to Fanal's, and the comparison of results.

Tensors keep their strides, offset and `requires_grad`; functions are found by name, and those that
are written in Python (`lambda x: torch.nn.functional.f(x.mT)`) run with Fanal in the place of the
global `torch`.
"""

from __future__ import annotations

import functools
import math
import types
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch.testing._internal.opinfo.core import OpInfo

import fanal
import fanal.linalg
import fanal.nn
import fanal.special

# By dtype: relative, absolute. Those of `torch.testing.assert_close`, but twice for float32, whose
# results stand on another order of summation.
TOLERANCE = {
    torch.float64: (1e-7, 1e-7), torch.float32: (3e-6, 2e-5),
    torch.bfloat16: (1.6e-2, 1e-3), torch.float16: (1e-3, 1e-3),
}  # fmt: skip


class Unsupported(Exception):
    """A value that has no counterpart in Fanal on purpose (complex, sparse, quantised)."""


class Bridge:
    """Converts the arguments of one sample; the same tensor twice is the same tensor there, too."""

    def __init__(self) -> None:
        self.known: dict[int, Any] = {}
        self.keep: list[Any] = []

    def __call__(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if id(value) not in self.known:
                self.known[id(value)] = to_fanal(value)
                self.keep.append(value)
            return self.known[id(value)]
        if isinstance(value, complex):
            raise Unsupported("complex")
        if isinstance(value, torch.dtype):
            return dtype_of(value)
        if isinstance(value, torch.device):
            return str(value)
        if isinstance(value, torch.memory_format | torch.layout):
            found = getattr(fanal, str(value).removeprefix("torch."), None)
            if found is None:
                raise Unsupported(str(value))
            return found
        if isinstance(value, torch.Generator):
            return fanal.Generator()
        if isinstance(value, torch.Size):
            return tuple(value)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return tuple(self(v) for v in value)
        if isinstance(value, list | tuple):
            return type(value)(self(v) for v in value)
        if isinstance(value, dict):
            return {k: self(v) for k, v in value.items()}
        if isinstance(value, slice):
            return slice(self(value.start), self(value.stop), self(value.step))
        if isinstance(value, torch.nn.Module):
            return getattr(fanal.nn, type(value).__name__)()
        if callable(value) and not isinstance(value, type | OpInfo):
            return rebound(value)
        return value


def dtype_of(kind: torch.dtype) -> Any:
    if kind.is_complex:
        raise Unsupported("complex")
    found = getattr(fanal, str(kind).removeprefix("torch."), None)
    if found is None:
        raise Unsupported(str(kind))
    return found


def array_of(t: torch.Tensor) -> np.ndarray:
    """A contiguous tensor's elements, in NumPy's or ml_dtypes' dtype."""
    t = t.detach().resolve_neg()
    if t.dtype is torch.bfloat16:
        return t.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return t.numpy()


def to_fanal(t: torch.Tensor) -> Any:
    """The same numbers with the same strides and offset, in memory of their own."""
    if t.layout is not torch.strided or t.is_quantized:
        raise Unsupported(str(t.layout))
    if t.device.type != "cpu":
        raise Unsupported(str(t.device))
    dtype_of(t.dtype)
    plain = t.detach().resolve_neg()
    count = plain.untyped_storage().nbytes() // plain.element_size()
    if plain.numel() == 0:
        out = fanal.empty_strided(plain.shape, plain.stride(), dtype=dtype_of(t.dtype))
    else:
        whole = torch.as_strided(plain, (count,), (1,), 0)
        base = fanal.from_numpy(array_of(whole.clone()))
        out = base
        if (plain.shape, plain.stride(), plain.storage_offset()) != (whole.shape, (1,), 0):
            out = base.as_strided(plain.shape, plain.stride(), plain.storage_offset())
    out = out.detach()
    if isinstance(t, torch.nn.Parameter):
        return fanal.nn.Parameter(out, requires_grad=t.requires_grad)
    return out.requires_grad_() if t.requires_grad else out


def rebound(function: Any) -> Any:
    """PyTorch's function with Fanal inside it."""
    if isinstance(function, functools.partial):
        return functools.partial(
            rebound(function.func), *Bridge()(list(function.args)), **Bridge()(function.keywords)
        )
    if isinstance(function, types.FunctionType):
        module = function.__module__ or ""
        if module == "torch.signal.windows.windows":
            module = "torch.signal.windows"
        if module.startswith("torch.") and "_internal" not in module:
            module = {"torch._tensor": "torch.Tensor", "torch.functional": "torch"}.get(module, module)
            return named(f"{module}.{function.__name__}")
        space = dict(function.__globals__)
        space.update({
            name: rebound_global(name, space[name])
            for name in function.__code__.co_names if name in space
        })  # fmt: skip
        inner = Bridge()
        closure = None
        if function.__closure__:
            cells = [c.cell_contents for c in function.__closure__]
            closure = tuple(types.CellType(c if c is function else inner(c)) for c in cells)
        made = types.FunctionType(
            function.__code__, space, function.__name__, function.__defaults__, closure
        )
        made.__kwdefaults__ = function.__kwdefaults__
        return made
    name = getattr(function, "__name__", "")
    module = getattr(function, "__module__", None) or ""
    if module in ("_operator", "operator", "builtins", "math", "numpy"):
        return function
    owner = getattr(function, "__objclass__", None)
    if owner is not None and issubclass(torch.Tensor, owner):
        return named(f"torch.Tensor.{name}")
    for space in ("torch", "torch.nn.functional", "torch.special", "torch.linalg"):
        if getattr(eval(space), name, None) is function:
            return named(f"{space}.{name}")
    return named(str(function))


def rebound_global(name: str, value: Any) -> Any:
    if value is torch:
        return fanal
    if value is torch.nn.functional:
        return fanal.nn.functional
    if value is torch.Tensor:
        return fanal.Tensor
    module = getattr(value, "__module__", None) or ""
    if isinstance(value, types.FunctionType) and "_internal" in module:
        return value if name in ("wrapper_set_seed", "freeze_rng_state") else rebound(value)
    return value


def named(path: str) -> Any:
    """Fanal's object of PyTorch's dotted name; AttributeError where there is none."""
    path = path.removeprefix("torch.").removeprefix("ops.aten.").removeprefix("_C._nn.")
    found: Any = fanal
    for part in path.split("."):
        found = getattr(found, part)
    return found


def numbers(t: Any) -> np.ndarray:
    """Fanal's tensor as an array."""
    if t.dtype is fanal.bfloat16:
        t = t.detach().to(fanal.float32)
    return np.array(t.detach().numpy())


def differences(
    expected: Any, got: Any, where: str = "", values: bool = True, precise: Any = None
) -> str | None:
    """What differs, or None: structure, dtype, shape, and (if asked) values.

    `precise`: the result in a wider dtype. Where Fanal is as near to it as PyTorch is, or nearer,
    the values are right.
    """
    if isinstance(expected, torch.Tensor):
        if not isinstance(got, fanal.Tensor):
            return f"{where}type: {type(got).__name__}"
        if expected.layout is not torch.strided or expected.dtype.is_complex:
            raise Unsupported("complex or sparse result")
        kind = str(expected.dtype).removeprefix("torch.")
        if got.dtype.name != kind:
            return f"{where}dtype: {got.dtype.name}, expected {kind}"
        if tuple(got.shape) != tuple(expected.shape):
            return f"{where}shape: {tuple(got.shape)}, expected {tuple(expected.shape)}"
        return far(expected, got, where, precise=precise) if values else None
    if isinstance(expected, tuple | list):
        if not isinstance(got, tuple | list) or len(got) != len(expected):
            return f"{where}structure: {got if not hasattr(got, '__len__') else len(got)}"
        wider = precise if isinstance(precise, tuple | list) else [None] * len(got)
        for i, (e, g, p) in enumerate(zip(expected, got, wider, strict=True)):
            if found := differences(e, g, f"{where}[{i}] ", values, p):
                return found
        return None
    if isinstance(expected, dict):
        return differences(list(expected.values()), list(got.values()), where, values)
    if isinstance(expected, torch.dtype):
        return None if dtype_of(expected) is got else f"{where}dtype: {got}, expected {expected}"
    if isinstance(expected, float) and isinstance(got, float | int):
        same = math.isclose(expected, got, rel_tol=1e-5) or (expected != expected and got != got)
        return None if same or not values else f"{where}number: {got}, expected {expected}"
    if isinstance(expected, bool | int | str) or expected is None:
        same = expected == got or not values
        return None if same else f"{where}answer: {got!r}, expected {expected!r}"
    return None


def plain_array(t: torch.Tensor) -> np.ndarray:
    """PyTorch's tensor as an array, bfloat16 widened."""
    t = t.detach().resolve_neg()
    return (t.to(torch.float32) if t.dtype is torch.bfloat16 else t).numpy(force=True)


def far(
    expected: torch.Tensor, got: Any, where: str, scale: float = 1.0, precise: Any = None
) -> str | None:
    """The first difference beyond the dtype's tolerance, as text."""
    relative, absolute = TOLERANCE.get(expected.dtype, (0.0, 0.0))
    a, b = plain_array(expected), numbers(got)
    with np.errstate(all="ignore"):
        if a.dtype.kind in "biu":
            wrong = a != b
        else:
            a, b = a.astype(np.float64), b.astype(np.float64)
            wrong = ~np.isclose(b, a, rtol=relative * scale, atol=absolute * scale, equal_nan=True)
            if isinstance(precise, torch.Tensor) and precise.shape == expected.shape:
                exact = plain_array(precise).astype(np.float64)
                allowed = np.maximum(np.nanmax(np.abs(a - exact), initial=0), absolute)
                wrong &= ~(np.abs(b - exact) <= allowed + relative * np.abs(exact))
    if not wrong.any():
        return None
    place = tuple(int(i) for i in np.argwhere(wrong)[0]) if a.ndim else ()
    return f"{where}value: {wrong.sum()} of {a.size}, at {place} {b[place]}, expected {a[place]}"


WIDER = {
    torch.float32: torch.float64, torch.bfloat16: torch.float32, torch.float16: torch.float32,
}  # fmt: skip


def widened(value: Any) -> Any:
    """The arguments with tensors and dtypes in a wider dtype."""
    if isinstance(value, torch.Tensor):
        return value.detach().to(WIDER[value.dtype]) if value.dtype in WIDER else value.clone()
    if isinstance(value, torch.dtype):
        return WIDER.get(value, value)
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)(widened(v) for v in value)
    if isinstance(value, dict):
        return {k: widened(v) for k, v in value.items()}
    return value
