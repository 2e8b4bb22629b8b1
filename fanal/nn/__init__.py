"""The model-building kit, as `torch.nn`: modules, their parameters, functions and initial values."""

from fanal.nn import functional, init, modules, parameter
from fanal.nn.modules import *
from fanal.nn.modules import __all__ as _layers
from fanal.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)

from fanal.nn import utils  # isort: skip - uses the modules

__all__ = sorted([
    *_layers, "Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter",
    "functional", "init", "modules", "parameter", "utils",
])  # fmt: skip
