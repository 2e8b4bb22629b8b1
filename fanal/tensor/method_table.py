"""Which function each method of Tensor is: one table a subject, attached when `fanal` is imported.

A method is the function with the tensor as its first argument. `IN_PLACE` names those that exist
with a trailing underscore as well.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from fanal.backends.native.runtime.layout import EXPORT
from fanal.core import dtypes
from fanal.core.errors import message
from fanal.core.memory_format import strided as strided_layout
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
    rearranging,
    reductions,
    running,
    scattering,
    shape,
    statistics,
)  # fmt: skip
from fanal.tensor import (
    array_api,
    conversion,
    copies,
    counting,
    creation,
    inplace,
    inplace_views,
    interop,
    memory,
    queries,
    rare_creation,
    selection,
    strided,
    toplevel,
    unique,
)  # fmt: skip
from fanal.tensor.lazy import settled
from fanal.tensor.methods import attach, in_place, in_place_of, power, varargs
from fanal.tensor.outputs import numpy_names
from fanal.tensor.tensor import Tensor

# A name as the method's, or "method=function" where they differ.
FUNCTIONS: dict[Any, str] = {
    pointwise: (
        "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh "
        "asinh acosh atanh sigmoid erf erfc erfinv lgamma digamma i0 neg atan2 hypot nextafter "
        "copysign maximum minimum mul remainder fmod floor_divide true_divide eq ne lt le gt ge "
        "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift add sub abs sign "
        "floor ceil trunc bitwise_not square reciprocal absolute=abs arccos=acos arccosh=acosh "
        "arcsin=asin arcsinh=asinh arctan=atan arctan2=atan2 arctanh=atanh multiply=mul negative=neg "
        "subtract=sub greater=gt greater_equal=ge less=lt less_equal=le not_equal=ne fix=trunc"
    ),
    comparing: (
        "isnan isinf isposinf isneginf isfinite isreal signbit isclose logical_and logical_or "
        "logical_xor logical_not fmax fmin heaviside clamp clip=clamp clamp_min clamp_max"
    ),
    formulas: (
        "lerp addcmul addcdiv div divide=div float_power ldexp frexp logaddexp logaddexp2 round frac "
        "positive sgn deg2rad rad2deg angle nan_to_num gcd lcm"
    ),
    reductions: (
        "sum nansum mean prod amax amin all any argmax argmin logsumexp softmax log_softmax"
    ),
    statistics: "var std nanmean aminmax count_nonzero cov corrcoef",
    ordering: "sort argsort msort topk kthvalue median nanmedian mode",
    quantiles: "quantile nanquantile",
    running: "cumsum cumprod cummax cummin logcumsumexp diff",
    gathering: "gather take_along_dim index_select take",
    scattering: (
        "scatter scatter_add scatter_reduce index_add index_copy index_fill index_reduce put"
    ),
    selection: (
        "nonzero argwhere nonzero_static masked_select repeat_interleave index_put"
    ),
    counting: "bincount histc histogram",
    unique: "unique unique_consecutive",
    shape: (
        "flatten unflatten transpose t movedim squeeze unsqueeze select split chunk unbind"
    ),
    rearranging: (
        "roll rot90 fliplr flipud swapaxes swapdims moveaxis adjoint ravel unfold masked_fill "
        "masked_scatter"
    ),
    joining: "tensor_split hsplit vsplit dsplit",
    diagonals: "tril triu diag_embed diagflat trace diagonal_scatter select_scatter slice_scatter",
    strided: "diagonal diag as_strided as_strided_scatter",
    products: "cross kron inner vdot addr",
    linear: "matmul mm bmm mv dot outer ger=outer addmm baddbmm addmv addbmm",
    distances: "dist renorm",
    toplevel: (
        "max min equal allclose narrow split_with_sizes unsafe_chunk unsafe_split"
    ),
    inplace: "copy_ fill_ zero_",
    inplace_views: (
        "squeeze_ unsqueeze_ t_ transpose_ swapaxes_ swapdims_ as_strided_ detach_ resize_ resize_as_ "
        "set_ is_set_to fill_diagonal_"
    ),
    interop: "numpy item tolist",
    queries: (
        "numel nelement=numel size stride storage_offset is_floating_point is_complex is_conj is_neg "
        "is_signed is_inference is_nonzero is_same_size get_device conj=same conj_physical=same conj_physical_=same "
        "resolve_conj=same resolve_neg=same"
    ),
    conversion: "view view_as contiguous is_contiguous clone dim_order to type_as type=type_of as_subclass",
    memory: "untyped_storage pin_memory is_pinned share_memory_ is_shared apply_ map_ module_load",
}

IN_PLACE = (
    "abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr arccos arccosh arcsin "
    "arcsinh arctan arctan2 arctanh asin asinh atan atan2 atanh baddbmm bitwise_and "
    "bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil clamp clamp_max "
    "clamp_min clip copysign cos cosh cumprod cumsum deg2rad digamma div divide eq erf erfc erfinv "
    "exp exp2 expm1 fix floor floor_divide fmod frac gcd ge greater greater_equal gt "
    "heaviside hypot i0 index_add index_copy index_fill index_put index_reduce lcm ldexp le lerp "
    "less less_equal lgamma log log10 log1p log2 logical_and logical_not logical_or logical_xor lt "
    "masked_fill masked_scatter mul multiply nan_to_num ne neg negative nextafter not_equal pow put "
    "rad2deg reciprocal remainder renorm round rsqrt scatter scatter_add scatter_reduce sgn sigmoid "
    "sign sin sinh sqrt square sub subtract tan tanh tril triu true_divide trunc"
)

# Functions of nn.functional that are methods as well; that package is loaded on their first use.
OF_LAYERS = "relu relu_ hardshrink prelu"


def _sized(function: Callable[..., Any]) -> Callable[..., Any]:
    return varargs(function, function.__name__)


def _new(factory: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """`x.new_zeros(…)`: a factory in the tensor's dtype."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = self.dtype
        made: Tensor = factory(*args, **kwargs)
        return made

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`fanal.{factory.__name__}` in this tensor's dtype."
    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = inspect.signature(factory).parameters.values()
    method.__signature__ = inspect.Signature([me, *given])  # type: ignore[attr-defined]
    return method


def _of_layers(name: str) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        function = getattr(importlib.import_module("fanal.nn.functional"), name)
        return function(self, *args, **kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"See `fanal.nn.functional.{name}`."
    return method


def where(self: Tensor, condition: Any, other: Any) -> Any:
    """This tensor's elements where the condition holds, else the other's."""
    return selection.where(condition, self, other)


def scatter_(
    self: Tensor, dim: int, index: Any, src: Any = None, *, value: Any = None,
    reduce: str | None = None,
) -> Tensor:  # fmt: skip
    """In-place version of `scatter`."""
    source, mode = scattering.scatter_source(src, value, reduce)
    return inplace.apply(scattering._scatter.fused, self, (dim, index, source, mode), {})


def float_power_(self: Tensor, exponent: Any) -> Tensor:
    """In-place version of `float_power`, whose results are float64: so must the tensor be."""
    if self.dtype is not dtypes.float64:
        raise RuntimeError(
            message("float_power_", "the result's dtype can't be stored in the tensor",
                    f"fanal.float64 into {self.dtype!r}", hint="pow_()")
        )
    return inplace.apply(formulas.float_power.fused, self, (exponent,), {})


# Their functions are plain Python, where NumPy's names of arguments are not translated yet.
PLAIN = (statistics, ordering, quantiles)


def _attach_functions() -> None:
    found: dict[str, Any] = {"pow": power}
    for module, names in FUNCTIONS.items():
        for entry in names.split():
            name, _, original = entry.partition("=")
            function = getattr(module, original or name)
            plain = module in PLAIN and not hasattr(function, "fused")
            found[name] = numpy_names(function) if plain else function
    for name in IN_PLACE.split():
        function = found[name]
        compiled = hasattr(function, "fused")
        found[f"{name}_"] = (in_place if compiled else in_place_of)(function)
    found["pow_"] = in_place(pointwise.pow_general)
    found["scatter_"] = scatter_
    found["float_power_"] = float_power_
    found["where"] = where
    found["narrow_copy"] = copies.COPIES["narrow_copy"]
    attach(found)


_attach_functions()
attach({name: _of_layers(name) for name in OF_LAYERS.split()})
attach({
    f.__name__: _sized(f)
    for f in (
        shape.reshape, shape.permute, shape.expand, shape.flip, rearranging.repeat,
        rearranging.tile, rearranging.broadcast_to, rearranging.sum_to_size,
    )
})  # fmt: skip
attach({
    f"new_{f.__name__}": _new(f, f"new_{f.__name__}")
    for f in (
        creation.zeros, creation.ones, creation.empty, creation.full, creation.tensor,
        rare_creation.empty_strided,
    )
})  # fmt: skip
attach({
    name: conversion.cast_to(dtype, name)
    for name, dtype in {
        "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16,
        "bfloat16": dtypes.bfloat16, "long": dtypes.int64, "int": dtypes.int32,
        "short": dtypes.int16, "char": dtypes.int8, "byte": dtypes.uint8, "bool": dtypes.bool_,
    }.items()
})  # fmt: skip
attach({name: conversion.device_moved(name) for name in ("cuda", "xpu", "mps")})


def dim(self: Tensor) -> int:
    """Number of dimensions."""
    return self._layout.ndim


def element_size(self: Tensor) -> int:
    """Bytes of one element."""
    return self._layout.dtype.itemsize


def data_ptr(self: Tensor) -> int:
    """The address of the first element."""
    pointer = settled(self)._ptr
    self._storage.exports += EXPORT  # for good: nobody knows what is done with it
    return pointer


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """The elements in another tensor's shape."""
    return shape.reshape(self, tuple(other.shape))


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """Expanded to another tensor's shape."""
    return shape.expand(self, tuple(other.shape))


def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself, as it is on the CPU."""
    return self


attach({
    "__array_namespace__": array_api.__array_namespace__, "to_device": array_api.to_device,
    "dim": dim, "ndimension": dim, "element_size": element_size, "data_ptr": data_ptr,
    "const_data_ptr": data_ptr, "reshape_as": reshape_as, "expand_as": expand_as, "cpu": cpu,
    "T": property(lambda self: shape.permute(self, tuple(range(self.ndim))[::-1])),
    "mT": property(lambda self: shape.transpose(self, -2, -1)),
    "H": property(lambda self: rearranging.adjoint(self) if self.ndim else self),
    "mH": property(rearranging.adjoint), "real": property(queries.same),
    "imag": property(queries.imag), "nbytes": property(lambda self: self._layout.nbytes),
    "itemsize": property(element_size), "layout": property(lambda self: strided_layout),
    "is_cpu": property(lambda self: True),
})  # fmt: skip
attach({
    f"is_{kind}": property(lambda self: False)
    for kind in ("cuda", "sparse", "quantized", "meta", "mps", "xla", "xpu", "mkldnn", "nested")
})  # fmt: skip
