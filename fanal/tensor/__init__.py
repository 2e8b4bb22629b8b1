"""What the user holds: tensors, their views, and the eager interpreter that runs operations."""

from fanal.tensor.tensor import Tensor

__all__ = ["Tensor"]
