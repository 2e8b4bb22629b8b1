"""Fanal: write a model once as ordinary Python; run it now, whole, or elsewhere.

Names, signatures and semantics follow PyTorch 2.x where PyTorch has the name.

>>> import fanal
>>> x = fanal.randn(3, requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
"""

from fanal import autograd
from fanal.autograd import (
    enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad,
    set_grad_enabled,
)
from fanal.core.device import device
from fanal.core.dtypes import (
    DType as dtype,
    bfloat16, bool_ as bool, float16, float16 as half, float32, float32 as float, float64,
    float64 as double, get_default_dtype, int8, int16, int16 as short, int32, int32 as int, int64,
    int64 as long, promote_types, set_default_dtype, uint8, uint16, uint32, uint64,
)
from fanal.ops.convolution import (
    conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d,
)
from fanal.ops.linear import (
    addbmm, addmm, addmv, baddbmm, bmm, dot, matmul, mm, mv, outer, tensordot,
)
from fanal.ops.pointwise import (
    abs, acos, acosh, add, asin, asinh, atan, atan2, atanh, bitwise_and, bitwise_left_shift,
    bitwise_not, bitwise_or, bitwise_right_shift, bitwise_xor, ceil, copysign, cos, cosh, digamma,
    eq, erf, erfc, erfinv, exp, exp2, expm1, floor, floor_divide, fmod, ge, gt, hypot, i0, le,
    lgamma, log, log1p, log2, log10, lt, maximum, minimum, mul, ne, neg, nextafter, reciprocal,
    remainder, rsqrt, sigmoid, sign, sin, sinh, sqrt, square, sub, tan, tanh, true_divide, trunc,
)
from fanal.ops.reductions import (
    all, amax, amin, any, argmax, argmin, log_softmax, logsumexp, mean, nansum, prod, softmax, std,
    sum, var, var_mean,
)
from fanal.ops.shape import (
    cat, chunk, clone, flatten, flip, movedim, narrow, permute, reshape, select, split, squeeze,
    stack, t, transpose, unbind, unflatten, unsqueeze,
)
from fanal.ops.pointwise import where
from fanal.random import (
    Generator, bernoulli, default_generator, get_rng_state, initial_seed, manual_seed, multinomial,
    normal, poisson, rand, rand_like, randint, randint_like, randn, randn_like, randperm, seed,
    set_rng_state,
)
from fanal.tensor.creation import (
    arange, as_tensor, empty, empty_like, eye, from_numpy, full, full_like, linspace, logspace,
    ones, ones_like, tensor, zeros, zeros_like,
)
from fanal.tensor.interop import from_dlpack
from fanal.tensor.methods import power as pow
from fanal.tensor.printing import set_printoptions
from fanal.tensor.saving import load, save
from fanal.tensor.tensor import Size, Tensor
from fanal.tensor.threads import get_num_threads, set_num_threads
from fanal.tensor.toplevel import (
    allclose, equal, is_tensor, max, min, numel,
)
from fanal.version import __version__

__all__ = [name for name in list(globals()) if not name.startswith("_")]


def __getattr__(name: str) -> object:
    """Submodules on first use; for other names, an error that helps."""
    from fanal.tensor.missing import find

    return find(name)
