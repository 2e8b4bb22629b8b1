"""From a graph to a native program: views dissolve, elementwise chains and reductions are fused into
loop kernels, everything else goes through its rule in the file named like its record's."""

from fanal.backends.native.lower import (
    attention,
    barriers,
    composed,
    control,
    conv,
    cumulative,
    dot,
    host,
    scatter,
    sort,
    windows,
)
from fanal.backends.native.lower.lowering import Lowering, lower

__all__ = [
    "Lowering", "attention", "barriers", "composed", "control", "conv", "cumulative", "dot", "host", "lower",
    "scatter", "sort", "windows",
]  # fmt: skip
