"""The functions of `fanal` that take `out=`, and those that are written in plain Python.

Compiled functions only need to be told; others are wrapped, so their public form is made here.
"""

from __future__ import annotations

from fanal.ops import (
    comparing,
    diagonals,
    distances,
    formulas,
    gathering,
    joining,
    linear,
    ordering,
    pointwise,
    products,
    quantiles,
    reductions,
    running,
    scattering,
    searching,
    shape,
    statistics,
)  # fmt: skip
from fanal.tensor import counting, methods, queries, selection, strided, toplevel
from fanal.tensor.outputs import numpy_names, takes_out

COMPILED = {
    pointwise: (
        "abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not "
        "bitwise_or bitwise_right_shift bitwise_xor ceil copysign cos cosh digamma eq erf erfc "
        "erfinv exp exp2 expm1 floor floor_divide fmod ge gt hypot i0 le lgamma log log10 log1p log2 "
        "lt maximum minimum mul ne neg nextafter reciprocal remainder rsqrt sigmoid sign sin sinh "
        "sqrt square sub tan tanh true_divide trunc where"
    ),
    comparing: (
        "clamp clamp_max clamp_min fmax fmin heaviside isneginf isposinf logical_and logical_not "
        "logical_or logical_xor signbit"
    ),
    formulas: (
        "addcdiv addcmul angle deg2rad div float_power frac frexp gcd lcm ldexp lerp logaddexp "
        "logaddexp2 nan_to_num rad2deg round sgn"
    ),
    reductions: (
        "all amax amin any argmax argmin log_softmax logsumexp mean nansum prod softmax sum"
    ),
    statistics: "nanmean",
    ordering: "argsort kthvalue mode msort sort topk",
    running: "cummax cummin cumprod cumsum diff logcumsumexp",
    gathering: "gather index_select take take_along_dim",
    scattering: "index_add index_copy index_reduce scatter_add scatter_reduce",
    searching: "isin",
    shape: "cat clone stack",
    joining: "column_stack dstack hstack vstack",
    diagonals: "slice_scatter tril triu",
    products: "addr cross inner kron vdot",
    linear: "addbmm addmm addmv baddbmm bmm dot matmul mm mv outer tensordot",
    distances: "renorm",
}
for _module, _names in COMPILED.items():
    for _name in _names.split():
        takes_out(getattr(_module, _name))

# -- functions in plain Python: their public form ---------------------------------------------------

max = takes_out(toplevel.max)
min = takes_out(toplevel.min)
conj_physical = takes_out(queries.same)
aminmax = takes_out(numpy_names(statistics.aminmax))
bucketize = takes_out(searching.bucketize)
searchsorted = takes_out(searching.searchsorted)
diag = takes_out(strided.diag)
histc = takes_out(counting.histc)
histogram = takes_out(counting.histogram)
masked_select = takes_out(selection.masked_select)
median = takes_out(numpy_names(ordering.median))
nanmedian = takes_out(numpy_names(ordering.nanmedian))
nanquantile = takes_out(numpy_names(quantiles.nanquantile))
nonzero = takes_out(selection.nonzero)
pow = takes_out(methods.power)
quantile = takes_out(numpy_names(quantiles.quantile))
scatter = takes_out(scattering.scatter)
std = takes_out(numpy_names(statistics.std))
std_mean = numpy_names(statistics.std_mean)
var = takes_out(numpy_names(statistics.var))
var_mean = numpy_names(statistics.var_mean)
where = takes_out(selection.where)
