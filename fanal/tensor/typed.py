"""PyTorch's oldest constructors: `FloatTensor(2, 3)`, `LongTensor([1, 2])`, `isinstance(x, …)`.

They are not classes of tensors (there is one, with a dtype) but answer as if they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core.dtypes import DType
from fanal.tensor import creation
from fanal.tensor.conversion import TYPES
from fanal.tensor.layout import Size
from fanal.tensor.tensor import Tensor


class Typed(type):
    """A name for tensors of one dtype."""

    dtype: DType

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype

    def __call__(cls, *args: Any) -> Tensor:
        """An uninitialised tensor of a shape given as numbers or Size; or a tensor of values."""
        if not args:
            return creation.empty(0, dtype=cls.dtype)
        if isinstance(args[0], int):
            return creation.empty(*args, dtype=cls.dtype)
        if isinstance(args[0], Size):
            return creation.empty(args[0], dtype=cls.dtype)
        values = args[0]
        if not isinstance(values, Sequence | Tensor) and not hasattr(values, "__array__"):
            values = list(values)
        return creation.tensor(values, dtype=cls.dtype)


def typed(name: str) -> Any:
    """The constructor of that name."""
    kind = Typed(name, (), {"__doc__": f"Tensors of dtype {TYPES[name].name}."})
    kind.dtype = TYPES[name]
    return kind


BFloat16Tensor, BoolTensor, ByteTensor = map(typed, ("BFloat16Tensor", "BoolTensor", "ByteTensor"))
CharTensor, DoubleTensor, FloatTensor = map(typed, ("CharTensor", "DoubleTensor", "FloatTensor"))
HalfTensor, IntTensor, LongTensor = map(typed, ("HalfTensor", "IntTensor", "LongTensor"))
ShortTensor = typed("ShortTensor")
