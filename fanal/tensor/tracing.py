"""Tracing a call: its arguments become a graph's inputs, what the body returns its outputs."""

from __future__ import annotations

import inspect
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import Fused, LiveNumber
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.core.symbols import is_symbolic
from fanal.graph.ir import Builder, Graph, Value
from fanal.tensor.keys import NUMBERS, is_scalar
from fanal.tensor.tensor import Tensor


class Arguments:
    """A call's arguments as values of a graph that is being built.

    `inputs` has, for each input of the graph, a tensor's layout or a by-value number's dtype.
    """

    __slots__ = ("builder", "function", "inputs", "named", "traced")

    def __init__(
        self, builder: Builder, function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]
    ):
        self.builder, self.function = builder, function
        self.inputs: list[Any] = []
        self.traced = [self._value(a, i) for i, a in enumerate(args)]
        self.named = {own_name(function, k): self._value(a, k) for k, a in kwargs.items()}

    def _value(self, a: Any, where: int | str) -> Any:
        if isinstance(a, Tensor):
            self.inputs.append(a._layout)
            return self.builder.input(a._layout.dtype, a._layout.shape)
        if type(a) is LiveNumber:
            a = float(a)
        if (type(a) in NUMBERS or is_symbolic(a)) and is_scalar(self.function, where):
            v = self.builder.input(_number_dtype(a), ())
            v.weak = True
            self.inputs.append(v.dtype)
            return v
        if type(a) in (tuple, list):
            return type(a)(self._value(x, "") for x in a)
        return a


def trace(
    function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Graph, list[Any], Any]:
    """The graph of a call, its inputs (layouts or dtypes), and how its outputs are returned."""
    builder = Builder()
    given = Arguments(builder, function, args, kwargs)
    result = builder.trace(function.body, *given.traced, **given.named)
    leaves, structure = _flatten(result, function.name)
    return builder.graph(leaves), given.inputs, structure


# NumPy's names of arguments, which PyTorch takes as well.
NUMPY_NAMES = {
    "axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input", "x2": "other",
}  # fmt: skip


def own_name(function: Any, name: str) -> str:
    """The name that a parameter has here, where it may be given as in NumPy."""
    ours = NUMPY_NAMES.get(name)
    if ours is None:
        return name
    names = inspect.signature(getattr(function, "body", function)).parameters
    return ours if name not in names and ours in names else name


def _number_dtype(a: Any) -> DType:
    return dtypes.bool_ if type(a) is bool else dtypes.int64 if isinstance(a, int) else dtypes.float64


def _flatten(result: Any, name: str) -> tuple[list[Value], Any]:
    if isinstance(result, Value):
        return [result], None
    if isinstance(result, tuple | list):
        kind = type(result)
        if not all(isinstance(v, Value) for v in result):
            raise TypeError(message(name, "a composite function must return values"))
        if hasattr(kind, "_fields"):
            return list(result), lambda outputs: kind(*outputs[: len(result)])
        return list(result), lambda outputs: kind(outputs[: len(result)])
    raise TypeError(message(name, "a composite function must return values", type(result).__name__))
