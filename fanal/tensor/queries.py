"""Questions about tensors and dtypes that are answered from their layout, without their elements."""

from __future__ import annotations

from typing import Any

from fanal.core.dtypes import DType, category
from fanal.core.errors import message
from fanal.ops import promotion
from fanal.ops.primitive import normalize_dim
from fanal.tensor.lazy import offset_in_storage
from fanal.tensor.tensor import Tensor


def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor."""
    return isinstance(obj, Tensor)


def is_storage(obj: Any) -> bool:
    """Whether an object is a tensor's memory."""
    from fanal.tensor.memory import UntypedStorage

    return isinstance(obj, UntypedStorage)


def numel(input: Tensor) -> int:
    """Number of elements."""
    return input._layout.numel


def size(self: Tensor, dim: int | None = None) -> Any:
    """The shape, or the extent of one dimension."""
    return self.shape if dim is None else self._layout.shape[normalize_dim("size", dim, self.ndim)]


def stride(self: Tensor, dim: int | None = None) -> Any:
    """Strides in elements, or that of one dimension."""
    strides = self._layout.strides
    return strides if dim is None else strides[normalize_dim("stride", dim, self.ndim)]


def storage_offset(self: Tensor) -> int:
    """Elements between the beginning of the storage and the first element."""
    return offset_in_storage(self) // self._layout.dtype.itemsize


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is floating."""
    return input._layout.dtype.kind == "f"


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex: never."""
    return False


def is_conj(input: Tensor) -> bool:
    """Whether the conjugate is still to be taken: never."""
    return False


def is_neg(input: Tensor) -> bool:
    """Whether the negative is still to be taken: never."""
    return False


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return input._layout.dtype.is_signed


def is_inference(input: Tensor) -> bool:
    """Whether the tensor refuses to be recorded: none does here."""
    return False


def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not zero; raises RuntimeError if there are more or none."""
    return bool(input)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    return input._layout.shape == other._layout.shape


def get_device(input: Tensor) -> int:
    """The device's number; -1 for the CPU."""
    return -1


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype that an operation on two tensors or numbers computes in."""
    return promotion.result_type(tensor1, tensor2)


def can_cast(from_: DType, to: DType) -> bool:
    """Whether promotion rules allow a conversion: not from floats to integers, nor from those to
    bool."""
    return category(from_) <= category(to)


def broadcast_shapes(*shapes: Any) -> Any:
    """The shape that shapes broadcast to; a number counts as a shape of one dimension."""
    from fanal.tensor.layout import Size

    given = ((s,) if isinstance(s, int) else tuple(s) for s in shapes)
    return Size(promotion.broadcast_shapes(*given))


def typename(obj: Any) -> str:
    """The name of an object's type: "fanal.FloatTensor" for a tensor."""
    if isinstance(obj, Tensor):
        from fanal.tensor.conversion import type_of

        return str(type_of(obj))
    kind = obj if isinstance(obj, type) else type(obj)
    return kind.__name__ if kind.__module__ in ("builtins", "") else f"{kind.__module__}.{kind.__name__}"


def same(input: Any) -> Any:
    """The tensor itself: what conjugation and its like do to real numbers."""
    return input


def imag(input: Tensor) -> Tensor:
    """Raises RuntimeError: real tensors have no imaginary part."""
    raise RuntimeError(
        message("imag", "not defined for real tensors", repr(input.dtype), "a complex dtype")
    )


