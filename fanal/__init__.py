"""Fanal: write a model once as ordinary Python; run it now, whole, or elsewhere.

Names, signatures and semantics follow PyTorch 2.x where PyTorch has the name.

>>> import fanal
>>> x = fanal.randn(3, requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
"""

from math import e, inf, nan, pi

from fanal import autograd
from fanal.autograd import (
    enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad,
    set_grad_enabled,
)
from fanal.core.device import device
from fanal.core.errors import OutOfMemoryError
from fanal.core.dtypes import (
    DType as dtype,
    bfloat16, bool_ as bool, float16, float16 as half, float32, float32 as float, float64,
    float64 as double, get_default_dtype, int8, int16, int16 as short, int32, int32 as int, int64,
    int64 as long, promote_types, set_default_dtype, uint8, uint16, uint32, uint64,
)
from fanal.compiler import compile
from fanal.compiler.control import cond, scan, while_loop
from fanal.linalg.legacy import (
    chain_matmul, cholesky, cholesky_inverse, cholesky_solve, det, geqrf, inverse, logdet, lu,
    lu_solve, lu_unpack, matrix_exp, matrix_power, norm, orgqr, ormqr, pinverse, qr, slogdet, svd,
    triangular_solve,
)
from fanal.special import (
    gammainc as igamma, gammaincc as igammac, logit, multigammaln as mvlgamma, polygamma, sinc,
    xlogy,
)
from fanal.ops.convolution import (
    conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d,
)
from fanal.ops.einsum import einsum
from fanal.func import vmap
from fanal.core.limits import finfo, iinfo
from fanal.core.memory_format import (
    channels_last, channels_last_3d, contiguous_format, layout, memory_format, preserve_format,
    strided,
)
from fanal.core.settings import (
    are_deterministic_algorithms_enabled, get_default_device, get_deterministic_debug_mode,
    get_float32_matmul_precision, get_num_interop_threads,
    is_deterministic_algorithms_warn_only_enabled, is_warn_always_enabled, set_default_device,
    set_default_tensor_type, set_deterministic_debug_mode, set_float32_matmul_precision,
    set_flush_denormal, set_num_interop_threads, set_warn_always, use_deterministic_algorithms,
)
from fanal.ops.comparing import (
    clamp, clamp as clip, clamp_max, clamp_min, fmax, fmin, heaviside, isclose, isfinite, isinf,
    isnan, isneginf, isposinf, isreal, logical_and, logical_not, logical_or, logical_xor, signbit,
)
from fanal.ops.diagonals import (
    diag_embed, diagflat, diagonal_scatter, select_scatter, slice_scatter, trace,
    tril, triu,
)
from fanal.ops.distances import cdist, dist, renorm
from fanal.ops.formulas import (
    addcdiv, addcmul, angle, deg2rad, div, div as divide, float_power, frac, frexp, gcd, lcm, ldexp,
    lerp, logaddexp, logaddexp2, nan_to_num, positive, rad2deg, round, rsub, sgn,
)
from fanal.ops.gathering import gather, index_select, take, take_along_dim, unravel_index
from fanal.ops.joining import (
    atleast_1d, atleast_2d, atleast_3d, block_diag, column_stack, dsplit, dstack, hsplit, hstack,
    tensor_split, vsplit, vstack, vstack as row_stack,
)
from fanal.ops.linear import (
    addbmm, addmm, addmv, baddbmm, bmm, dot, matmul, mm, mv, outer, outer as ger, tensordot,
)
from fanal.ops.ordering import argsort, kthvalue, mode, msort, sort, topk
from fanal.ops.pointwise import (
    abs, abs as absolute, acos, acos as arccos, acosh, acosh as arccosh, add, asin, asin as arcsin,
    asinh, asinh as arcsinh, atan, atan as arctan, atan2, atan2 as arctan2, atanh,
    atanh as arctanh, bitwise_and, bitwise_left_shift, bitwise_not, bitwise_or, bitwise_right_shift,
    bitwise_xor, ceil, copysign, cos, cosh, digamma, eq, erf, erfc, erfinv, exp, exp2, expm1, floor,
    floor_divide, fmod, ge, ge as greater_equal, gt, gt as greater, hypot, i0, le, le as less_equal,
    lgamma, log, log1p, log2, log10, lt, lt as less, maximum, minimum, mul, mul as multiply, ne,
    ne as not_equal, neg, neg as negative, nextafter, reciprocal, remainder, rsqrt, sigmoid, sign,
    sin, sinh, sqrt, square, sub, sub as subtract, tan, tanh, true_divide, trunc, trunc as fix,
)
from fanal.ops.products import addr, cartesian_prod, cross, inner, kron, meshgrid, vander, vdot
from fanal.ops.rearranging import (
    adjoint, broadcast_tensors, broadcast_to, fill, fliplr, flipud, masked_fill, masked_scatter, moveaxis,
    ravel, roll, rot90, swapaxes, swapdims, tile,
)
from fanal.ops.reductions import (
    all, amax, amin, any, argmax, argmin, log_softmax, logsumexp, mean, nansum, prod, softmax, sum,
)
from fanal.ops.running import (
    cummax, cummin, cumprod, cumsum, cumulative_trapezoid, diff, gradient, logcumsumexp, trapezoid,
    trapezoid as trapz,
)
from fanal.ops.scattering import (
    index_add, index_copy, index_fill, index_reduce, put, scatter_add, scatter_reduce,
)
from fanal.ops.searching import isin
from fanal.ops.shape import (
    cat, cat as concat, cat as concatenate, chunk, constant_pad as constant_pad_nd, flatten, flip, movedim, permute, reshape,
    select, split, squeeze, stack, t, transpose, unbind, unflatten, unsqueeze,
)
from fanal.ops.statistics import corrcoef, count_nonzero, cov, nanmean
from fanal.random import (
    Generator, bernoulli, default_generator, get_rng_state, initial_seed, manual_seed, multinomial,
    normal, poisson, rand, rand_like, randint, randint_like, randn, randn_like, randperm, seed,
    set_rng_state,
)
from fanal.tensor.conversion import clone
from fanal.tensor import copies
from fanal.tensor.array_api import (
    __array_namespace_info__, astype, bitwise_invert, broadcast_arrays, cumulative_prod,
    cumulative_sum, expand_dims, isdtype, matrix_transpose, permute_dims, repeat, take_along_axis,
    unique_all, unique_counts, unique_inverse, unique_values, unstack, vecdot,
)
from fanal.tensor.counting import bincount, histogramdd
from fanal.tensor.creation import (
    arange, as_tensor, empty, empty_like, eye, from_numpy, full, full_like, linspace, logspace,
    ones, ones_like, tensor, zeros, zeros_like,
)
from fanal.tensor.inplace_views import resize_as_
from fanal.tensor.interop import from_dlpack
from fanal.tensor import method_table
from fanal.tensor.namespace import (
    aminmax, bucketize, conj_physical, diag, histc, histogram, masked_select, max, median, min, nanmedian,
    nanquantile, nonzero, pow, quantile, scatter, searchsorted, std, std_mean, var, var_mean, where,
)
from fanal.tensor.printing import set_printoptions
from fanal.tensor.queries import (
    broadcast_shapes, can_cast, get_device, imag, is_complex, is_conj, is_floating_point,
    is_inference, is_neg, is_nonzero, is_same_size, is_signed, is_storage, is_tensor, numel,
    result_type, same as conj, same as real, same as resolve_conj,
    same as resolve_neg, typename,
)
from fanal.tensor.rare_creation import (
    asarray, empty_permuted, empty_strided, frombuffer, range_closed as range, scalar_tensor,
)
from fanal.tensor.memory import UntypedStorage
from fanal.tensor.saving import load, save
from fanal.tensor.selection import (
    argwhere, combinations, index_put, nonzero_static, repeat_interleave, tril_indices, triu_indices,
)
from fanal.tensor.strided import as_strided, as_strided_scatter, diagonal
from fanal.tensor.tapers import (
    bartlett_window, blackman_window, hamming_window, hann_window, kaiser_window,
)
from fanal.tensor.layout import Size
from fanal.tensor.tensor import Tensor
from fanal.tensor.typed import (
    BFloat16Tensor, BoolTensor, ByteTensor, CharTensor, DoubleTensor, FloatTensor, HalfTensor,
    IntTensor, LongTensor, ShortTensor,
)
from fanal.tensor.threads import get_num_threads, set_num_threads
from fanal.tensor.toplevel import (
    allclose, equal, narrow, split_with_sizes, unsafe_chunk, unsafe_split,
)
from fanal.tensor.unique import unique, unique_consecutive
from fanal.version import __version__

newaxis = None
globals().update(copies.COPIES)

_PACKAGES = {"autograd", "func", "core", "graph", "ops", "backends", "linalg", "special", "method_table", "copies"}
__all__ = [
    name for name in list(globals()) if not name.startswith("_") and name not in _PACKAGES
]


def __getattr__(name: str) -> object:
    """Submodules on first use; for other names, an error that helps."""
    from fanal.tensor.missing import find

    return find(name)
