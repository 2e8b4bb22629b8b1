"""Contractions: matmul, convolution and its two gradients, on one register-tiled core.

Every output element is a sum over k in one fixed order: an FMA chain from zero inside blocks of
`KC`, blocks added in order, one rounding at the end. That order depends on the operation, the dtype
and the extent of k alone; tiles, tails, threads, strides and the other extents change no bit.
"""

from fanal.backends.native.contract.conv import lower_conv, lower_conv_input_grad
from fanal.backends.native.contract.conv_grad import lower_conv_weight_grad
from fanal.backends.native.contract.dot import lower_dot
from fanal.backends.native.contract.finish import Epilogue
from fanal.backends.native.contract.shape import KC
from fanal.backends.native.contract.winograd import lower_winograd

__all__ = [
    "KC",
    "Epilogue",
    "lower_conv",
    "lower_conv_input_grad",
    "lower_conv_weight_grad",
    "lower_dot",
    "lower_winograd",
]

