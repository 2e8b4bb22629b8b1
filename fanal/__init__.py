"""Fanal: write a model once as ordinary Python; run it now, whole, or elsewhere."""

from fanal.core.dtypes import (
    bfloat16,
    float16,
    float32,
    float64,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    promote_types,
    set_default_dtype,
    uint8,
    uint16,
    uint32,
    uint64,
)
from fanal.core.dtypes import bool_ as bool
from fanal.tensor import methods as _methods
from fanal.tensor.tensor import Size, Tensor
from fanal.tensor.creation import (
    arange, as_tensor, empty, empty_like, eye, from_numpy, full, full_like, linspace, logspace,
    ones, ones_like, tensor, zeros, zeros_like,
)
from fanal.ops.pointwise import *
from fanal.ops.shape import *
from fanal.ops.reductions import *
from fanal.ops.linear import *
from fanal.autograd.mode import no_grad, enable_grad, inference_mode, set_grad_enabled, is_grad_enabled
from fanal.random import *
from fanal.random import sampling as _s
for _n in ("uniform_","normal_","bernoulli_","exponential_","geometric_","cauchy_","log_normal_","random_","bernoulli","multinomial"):
    setattr(Tensor,_n,getattr(_s,_n))
from fanal.ops.convolution import *  # noqa
