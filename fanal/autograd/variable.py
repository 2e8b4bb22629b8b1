"""`Variable`: what tensors with a gradient were called once; programs still import it."""

from __future__ import annotations

from typing import Any


class _Kind(type):
    """Every tensor is a Variable."""

    def __instancecheck__(cls, instance: Any) -> bool:
        from fanal.tensor.tensor import Tensor

        return isinstance(instance, Tensor)

    def __call__(cls, data: Any, requires_grad: bool = False, volatile: bool = False) -> Any:
        """The tensor itself, or a leaf of the same memory that asks for a gradient."""
        return data.detach().requires_grad_() if requires_grad else data


class Variable(metaclass=_Kind):
    """`Variable(tensor, requires_grad=True)`; today write `tensor.requires_grad_()`."""
