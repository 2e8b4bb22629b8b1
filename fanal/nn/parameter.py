"""Tensors that a module owns: parameters, buffers, and those whose shape is not known yet.

A parameter is a leaf tensor that registers itself when it is assigned to a module's attribute. The
uninitialised kinds stand in lazy modules until the first input tells their shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, SupportsIndex

from fanal.core import dtypes
from fanal.core.device import device as device_type
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.tensor import creation
from fanal.tensor.layout import layout
from fanal.tensor.tensor import Tensor, allocate, shared

_PREFIX = "Parameter containing:\n"


def _check_data(name: str, data: Any) -> Tensor:
    if data is None:
        return creation.empty(0)
    if not isinstance(data, Tensor):
        raise TypeError(
            message(name, "not a tensor", type(data).__name__, "a Tensor", "fanal.tensor(data)")
        )
    return data


def _same_memory(data: Tensor, cls: type, requires_grad: bool) -> Any:
    out = shared(data, data._layout.wanting(False), cls)
    return out.requires_grad_() if requires_grad else out


class Parameter(Tensor):
    """A tensor to be learned, as `torch.nn.Parameter`: it shares the memory of `data`.

    Assigned to an attribute of a Module it appears in `module.parameters()`.

    >>> fanal.nn.Parameter(fanal.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Self:
        made: Self = _same_memory(_check_data("Parameter", data), cls, requires_grad)
        return made

    def __repr__(self) -> str:
        return _PREFIX + super().__repr__().removeprefix(_PREFIX)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        found = memo.get(id(self))
        if found is None:
            found = memo[id(self)] = _same_memory(
                self.detach().clone(), type(self), self.requires_grad
            )
        return found

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        reduced: Any = super().__reduce_ex__(protocol)
        rebuild, args = reduced
        return (rebuild, args, self.__dict__) if self.__dict__ else (rebuild, args)


class Buffer(Tensor):
    """A tensor that is state but not learned; assigned to a module it becomes a buffer.

    `persistent`: whether it is part of the module's `state_dict`.
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Self:
        given = _check_data("Buffer", data)
        out: Self = _same_memory(given, cls, given.requires_grad)
        out.persistent = persistent
        return out

    def __repr__(self) -> str:
        return super().__repr__().removeprefix(_PREFIX)

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        found: Buffer = super().__deepcopy__(memo)
        found.__dict__.update(self.__dict__)
        return found

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        reduced: Any = super().__reduce_ex__(protocol)
        rebuild, args = reduced
        return rebuild, args, self.__dict__


class UninitializedTensorMixin:
    """A tensor without shape and memory until `materialize`."""

    _becomes: type

    def materialize(
        self, shape: Sequence[int], device: Any = None, dtype: DType | None = None
    ) -> None:
        """Give the tensor its shape (and memory with arbitrary contents); it becomes an ordinary
        parameter or buffer."""
        t: Any = self
        fresh = allocate(layout(dtype or t._layout.dtype, tuple(int(n) for n in shape)))
        wanted = t._layout.grad
        t._storage, t._ptr = fresh._storage, fresh._ptr
        t._layout = fresh._layout.wanting(wanted)
        t.__class__ = self._becomes

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            message(
                "UninitializedTensor", "the shape of an uninitialised parameter is not known",
                hint="a forward pass of the lazy module first",
            )
        )

    size = shape

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError(
            message(
                "UninitializedTensor", "an operation on a parameter without a shape",
                hint="a forward pass of the lazy module first",
            )
        )

    numel = nelement = __getitem__ = __add__ = __mul__ = __matmul__ = tolist = item = _refuse

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter of a lazy module before its first input."""

    _becomes = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: DType | None = None
    ) -> Any:
        if device is not None:
            device_type(device)
        data = creation.empty(0, dtype=dtype or dtypes.get_default_dtype())
        return _same_memory(data, cls, requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedParameter:
        found = memo.get(id(self))
        if found is None:
            found = type(self)(self.requires_grad, None, self.dtype)
            memo[id(self)] = found
        return found


class UninitializedBuffer(UninitializedTensorMixin, Buffer):
    """A buffer of a lazy module before its first input."""

    _becomes = Buffer

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: DType | None = None,
        persistent: bool = True,
    ) -> Any:  # fmt: skip
        data = creation.empty(0, dtype=dtype or dtypes.get_default_dtype())
        out = _same_memory(data, cls, requires_grad)
        out.persistent = persistent
        return out


def is_lazy(param: Any) -> bool:
    """Whether a parameter or buffer waits for its shape."""
    return isinstance(param, UninitializedTensorMixin)
