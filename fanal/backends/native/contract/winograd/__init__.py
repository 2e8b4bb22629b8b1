"""3×3 convolution from products of transformed tiles: three transforms around one batched product."""

from fanal.backends.native.contract.winograd.plan import lower_winograd

__all__ = ["lower_winograd"]
