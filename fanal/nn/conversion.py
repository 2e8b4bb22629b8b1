"""A module's parameters and buffers in another dtype or on another device, in place.

The tensors stay the same objects (optimisers hold them); their memory is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fanal.autograd.mode import no_grad
from fanal.core import dtypes
from fanal.core.device import device as device_type
from fanal.core.dtypes import DType
from fanal.core.errors import Limit, message
from fanal.nn.parameter import is_lazy
from fanal.tensor.tensor import Tensor

Function = Callable[[Any], Any]


class Conversion:
    """The part of Module that changes dtypes and devices."""

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]

    def children(self) -> Iterator[Any]:
        """See `Traversal`."""
        raise NotImplementedError

    def _apply(self, fn: Function, recurse: bool = True) -> Any:
        """Replace the memory of parameters, their gradients and buffers by what `fn` makes."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            with no_grad():
                made = fn(param)
                param.data = made
                if param.grad is not None:
                    grad = param.grad
                    grad.data = fn(grad)
        for buffer in self._buffers.values():
            if buffer is not None:
                buffer.data = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Another dtype or device: `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(tensor)`.

        Only floating parameters and buffers change their dtype.
        """
        dtype, where = _parse(args, kwargs)
        if where is not None:
            device_type(where)
        if dtype is None:
            return self
        if dtype.kind != "f":
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )
        return self._apply(lambda t: t.to(dtype) if t.dtype.kind == "f" else t)

    def type(self, dst_type: DType) -> Any:
        """All parameters and buffers in a dtype, integers too."""
        return self._apply(lambda t: t.to(dst_type))

    def _floating(self, dtype: DType) -> Any:
        return self._apply(lambda t: t.to(dtype) if t.dtype.kind == "f" else t)

    def float(self) -> Any:
        """Floating parameters and buffers as float32."""
        return self._floating(dtypes.float32)

    def double(self) -> Any:
        """Floating parameters and buffers as float64."""
        return self._floating(dtypes.float64)

    def half(self) -> Any:
        """Floating parameters and buffers as float16."""
        return self._floating(dtypes.float16)

    def bfloat16(self) -> Any:
        """Floating parameters and buffers as bfloat16."""
        return self._floating(dtypes.bfloat16)

    def cpu(self) -> Any:
        """The module itself: all tensors live on the CPU."""
        return self

    def cuda(self, device: Any = None) -> Any:
        """Not available: there is no such backend here."""
        raise Limit(message("Module.cuda", "no CUDA backend", hint='to("cpu")'))

    def share_memory(self) -> Any:
        """The module itself: its tensors are shared by the threads of a process already."""
        return self

    def to_empty(self, *, device: Any, recurse: bool = True) -> Any:
        """Fresh memory with arbitrary contents."""
        from fanal.tensor.creation import empty_like

        device_type(device)
        return self._apply(lambda t: t if is_lazy(t) else empty_like(t), recurse=recurse)


def _parse(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[DType | None, Any]:
    dtype, where = kwargs.get("dtype"), kwargs.get("device")
    unknown = set(kwargs) - {"dtype", "device", "non_blocking", "memory_format", "tensor"}
    if unknown:
        raise TypeError(f"to() received an invalid keyword argument: {', '.join(sorted(unknown))}")
    for a in (*args, kwargs.get("tensor")):
        if isinstance(a, DType):
            dtype = a
        elif isinstance(a, Tensor):
            dtype, where = a.dtype, a.device
        elif isinstance(a, str | int | device_type) and not isinstance(a, bool):
            where = a
        elif a is not None and not isinstance(a, bool):
            raise TypeError(message("Module.to", "not a dtype, device or tensor", type(a).__name__))
    return dtype, where
