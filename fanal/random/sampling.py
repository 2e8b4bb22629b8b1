"""Distributions drawn from random bits: uniform, normal, Bernoulli, permutations, …"""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.arithmetic import cast_p, shift_right_p
from fanal.ops.create import random_bits_p
from fanal.ops.pointwise import cos, floor, log, log1p, lt, sqrt, where
from fanal.ops.promotion import cast, constant
from fanal.ops.reductions import sum as sum_
from fanal.ops.sort import sort_p
from fanal.random.generator import Generator, default_generator
from fanal.tensor import inplace
from fanal.tensor.creation import check_options, shape_of
from fanal.tensor.factory import factory
from fanal.tensor.lazy import is_known
from fanal.tensor.outputs import takes_out
from fanal.tensor.tensor import Tensor

Shape = tuple[int, ...]


# -- on graph values ------------------------------------------------------------------------------------


def random_bits(key: Value, shape: Shape) -> Value:
    """32 random bits an element, as uint32."""
    return bind(random_bits_p, key, shape=tuple(shape))


def unit_interval(key: Value, shape: Shape, dtype: DType) -> Value:
    """Uniform numbers in [0, 1): 24 bits in float32 (and 16-bit floats), 53 in float64."""
    if dtype is dtypes.float64:
        wide = bind(cast_p, random_bits(key, (*shape, 2)), dtype=dtypes.int64)
        from fanal.ops.layout import slice_dim
        from fanal.ops.shape import reshaped

        last = len(shape)
        high = reshaped(slice_dim(wide, last, 0, 1), shape)
        low = reshaped(slice_dim(wide, last, 1, 2), shape)
        whole = high * 2**21 + bind(shift_right_p, low, constant(11, dtypes.int64, shape))
        return bind(cast_p, whole, dtype=dtype) * 2.0**-53
    digits = {"float16": 11, "bfloat16": 8}.get(dtype.name, 24)
    bits = random_bits(key, shape)
    kept = bind(shift_right_p, bits, constant(32 - digits, dtypes.uint32, shape))
    return bind(cast_p, kept, dtype=dtype) * 2.0**-digits


def standard_normal(key: Value, shape: Shape, dtype: DType) -> Value:
    """Normal numbers by Box and Muller's method, from two uniform numbers each."""
    wide = dtypes.float64 if dtype is dtypes.float64 else dtypes.float32
    from fanal.ops.layout import slice_dim
    from fanal.ops.shape import reshaped

    both = unit_interval(key, (2, *shape), wide)
    radius = reshaped(slice_dim(both, 0, 0, 1), shape)
    angle = reshaped(slice_dim(both, 0, 1, 2), shape)
    # 1 - u lies in (0, 1], where the logarithm is finite.
    normal = sqrt(log(1.0 - radius) * -2.0) * cos(angle * (2 * math.pi))
    return bind(cast_p, normal, dtype=dtype)


# -- compiled functions -----------------------------------------------------------------------------------


@fused(scalars=("low", "high"))
def _uniform(key: Any, shape: Shape, dtype: DType, low: Any, high: Any) -> Any:
    u = unit_interval(key, shape, dtype)
    return u * (cast(high, dtype) - cast(low, dtype)) + cast(low, dtype)


@fused(scalars=("mean", "std"))
def _normal(key: Any, shape: Shape, dtype: DType, mean: Any, std: Any) -> Any:
    return standard_normal(key, shape, dtype) * cast(std, dtype) + cast(mean, dtype)


@fused
def _bernoulli(key: Any, p: Any, dtype: DType) -> Any:
    wide = cast(p, dtypes.float32) if p.dtype.bits < 32 else p
    return bind(cast_p, lt(unit_interval(key, p.shape, wide.dtype), wide), dtype=dtype)


@fused(scalars=("p",))
def _bernoulli_number(key: Any, shape: Shape, dtype: DType, p: Any) -> Any:
    hit = lt(unit_interval(key, shape, dtypes.float32), cast(p, dtypes.float32))
    return bind(cast_p, hit, dtype=dtype)


@fused(scalars=("low", "high"))
def _integers(key: Any, shape: Shape, dtype: DType, low: Any, high: Any) -> Any:
    from fanal.ops.layout import slice_dim
    from fanal.ops.shape import reshaped

    # 64 random bits modulo the range: the bias is below 2^-31 for ranges below 2^32.
    words = bind(cast_p, random_bits(key, (2, *shape)), dtype=dtypes.int64)
    first, second = (reshaped(slice_dim(words, 0, i, i + 1), shape) for i in (0, 1))
    bits = (first * 2**31) ^ second
    span = cast(high, dtypes.int64) - cast(low, dtypes.int64)
    return bind(cast_p, bits % span + cast(low, dtypes.int64), dtype=dtype)


@fused(scalars=("rate",))
def _exponential(key: Any, shape: Shape, dtype: DType, rate: Any) -> Any:
    u = unit_interval(key, shape, dtype)
    return -log1p(-u) / cast(rate, dtype)


@fused
def _permutation(key: Any, n: int) -> Any:
    from fanal.ops.layout import slice_dim
    from fanal.ops.shape import reshaped

    words = bind(cast_p, random_bits(key, (2, n)), dtype=dtypes.int64)
    first, second = (reshaped(slice_dim(words, 0, i, i + 1), (n,)) for i in (0, 1))
    return bind(sort_p, (first * 2**31) ^ second, dim=0, descending=False)[1]


@fused
def _multinomial(key: Any, weights: Any, count: int, replacement: bool) -> Any:
    """Rows of weights → indices. With replacement by inversion; without, by Gumbel's keys."""
    from fanal.ops.cumulative import cumsum_p
    from fanal.ops.layout import expand_to
    from fanal.ops.shape import reshaped

    rows, n = weights.shape
    if replacement:
        running = bind(cumsum_p, weights, dim=1)
        total = sum_(weights, 1, True)
        u = unit_interval(key, (rows, count), weights.dtype) * total
        below = expand_to(reshaped(running, (rows, 1, n)), (rows, count, n))
        point = expand_to(reshaped(u, (rows, count, 1)), (rows, count, n))
        return sum_(bind(cast_p, below <= point, dtype=dtypes.int64), 2)
    u = unit_interval(key, weights.shape, weights.dtype)
    keys = where(weights <= 0, math.inf, -log1p(-u) / weights)
    from fanal.ops.layout import slice_dim

    return slice_dim(bind(sort_p, keys, dim=1, descending=False)[1], 1, 0, count)


# -- the user's functions ------------------------------------------------------------------------------------


def _key(generator: Generator | None) -> Tensor:
    return (generator or default_generator).draw()


def _floating(dtype: DType | None, device: Any, like: DType | None = None) -> DType:
    kind = check_options(dtype, device, like)
    if kind.kind != "f":
        raise NotImplementedError(message("random", "not a floating dtype", repr(kind)))
    return kind


@factory
def rand(
    *size: Any, generator: Generator | None = None, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Uniform numbers in [0, 1)."""
    out = _uniform(_key(generator), shape_of(size), _floating(dtype, device), 0.0, 1.0)
    return out.requires_grad_() if requires_grad else out


@factory
def randn(
    *size: Any, generator: Generator | None = None, dtype: DType | None = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Standard normal numbers."""
    out = _normal(_key(generator), shape_of(size), _floating(dtype, device), 0.0, 1.0)
    return out.requires_grad_() if requires_grad else out


@factory
def rand_like(
    input: Tensor, *, generator: Generator | None = None, dtype: DType | None = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Uniform numbers in [0, 1) in a tensor's shape and dtype."""
    kind = _floating(dtype, device, input.dtype)
    return rand(tuple(input.shape), generator=generator, dtype=kind, requires_grad=requires_grad)


@factory
def randn_like(
    input: Tensor, *, generator: Generator | None = None, dtype: DType | None = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Standard normal numbers in a tensor's shape and dtype."""
    kind = _floating(dtype, device, input.dtype)
    return randn(tuple(input.shape), generator=generator, dtype=kind, requires_grad=requires_grad)


@factory
def randint(
    low: int, high: Any = None, size: Any = None, *, generator: Generator | None = None,
    dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Integers from low (0 if left out) to high - 1: `randint(10, (2, 3))`."""
    if size is None:
        low, high, size = 0, low, high
    if high <= low:
        raise RuntimeError(message("randint", "an empty range", f"{low} to {high}", "low < high"))
    kind = check_options(dtype, device, dtypes.int64)
    out = _integers(_key(generator), shape_of((size,)), kind, int(low), int(high))
    return out.requires_grad_() if requires_grad else out


@factory
def randint_like(
    input: Tensor, low: int, high: int | None = None, *, dtype: DType | None = None,
    device: Any = None, requires_grad: bool = False, generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Random integers in a tensor's shape and dtype."""
    if high is None:
        low, high = 0, low
    kind = check_options(dtype, device, input.dtype)
    return randint(
        low, high, tuple(input.shape), dtype=kind, requires_grad=requires_grad, generator=generator
    )


@factory
def randperm(
    n: int, *, generator: Generator | None = None, dtype: DType = dtypes.int64, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The numbers 0 … n - 1 in random order."""
    if n < 0:
        raise RuntimeError(message("randperm", "a negative number of elements", n))
    return _permutation(_key(generator), n).to(dtype)


@takes_out
def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None,
    dtype: DType | None = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Normal numbers; mean and std are numbers (with a size) or tensors."""
    if isinstance(std, int | float) and std < 0:
        raise RuntimeError(message("normal", "a negative standard deviation", std))
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        like = mean if isinstance(mean, Tensor) else std
        shape = tuple((mean + std).shape)
        return randn(shape, dtype=like.dtype, generator=generator) * std + mean
    kind = check_options(dtype, device)
    return _normal(_key(generator), shape_of((size or (),)), kind, float(mean), float(std))


@takes_out
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element gives (or p), else 0."""
    if p is not None:
        return _bernoulli_number(_key(generator), tuple(input.shape), input.dtype, float(p))
    if input.dtype.kind != "f":
        raise RuntimeError(message("bernoulli", "probabilities must be floating", repr(input.dtype)))
    return _bernoulli(_key(generator), input.detach(), input.dtype)


@takes_out
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn in proportion to weights: (n,) → (samples,), (rows, n) → (rows, samples)."""
    if input.dtype.kind != "f" or input.ndim not in (1, 2):
        raise RuntimeError(
            message("multinomial", "weights must be a floating vector or matrix", input.shape)
        )
    if num_samples <= 0:
        raise RuntimeError(message("multinomial", "not a positive number of samples", num_samples))
    finite = (input >= 0) & (input < math.inf)
    if is_known(input) and (not bool(finite.all()) or bool((input.sum(-1) <= 0).any())):
        raise RuntimeError(
            message("multinomial", "weights must be 0 or more, with a positive sum in each row")
        )
    if not replacement and num_samples > input.shape[-1]:
        raise RuntimeError(
            message("multinomial", "more samples than categories", num_samples,
                    f"at most {input.shape[-1]}", "replacement=True")
        )
    rows = input.detach().reshape(-1, input.shape[-1]) if input.ndim == 2 else input.detach()[None]
    out = _multinomial(_key(generator), rows, num_samples, replacement)
    return out if input.ndim == 2 else out[0]


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson counts with the rates that the elements give.

    Rates below 30 by inversion of the distribution; larger ones by the rounded normal
    approximation with Anscombe's variance-stabilising square root.
    """
    return _poisson(_key(generator), input.detach())


@fused
def _poisson(key: Any, rate: Any) -> Any:
    from fanal.ops.pointwise import erfinv, exp, maximum

    wide = dtypes.float64
    lam = cast(rate, wide)
    u = unit_interval(key, rate.shape, wide)
    term = exp(-lam)
    total, count = term, u * 0.0
    for k in range(1, 90):
        count = count + bind(cast_p, u >= total, dtype=wide)
        term = term * lam / float(k)
        total = total + term
    normal = erfinv(u * 2.0 - 1.0) * math.sqrt(2)
    root = sqrt(lam + 0.375) + normal * 0.5
    large = maximum(floor(root * root - 0.375 + 0.5), 0.0)
    return bind(cast_p, where(lam < 30.0, count, large), dtype=rate.dtype)


# -- filling in place ------------------------------------------------------------------------------------------


def _fill(self: Tensor, values: Tensor) -> Tensor:
    from fanal.autograd.mode import no_grad

    inplace.check_writable(self, "random", self.requires_grad and self._node is not None)
    with no_grad():
        return inplace.copy_(self, values)


def _float_dtype(self: Tensor) -> DType:
    return self.dtype if self.dtype.kind == "f" else dtypes.float32


def uniform_(self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Any = None, **named: Any) -> Tensor:
    """Fill with uniform numbers in [from, to)."""
    low = float(named.get("from", named.get("a", from_)))
    high = float(named.get("b", to))
    if high < low:
        raise RuntimeError(message("uniform_", "an empty range", f"{low} to {high}"))
    return _fill(self, _uniform(_key(generator), tuple(self.shape), _float_dtype(self), low, high))


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with normal numbers."""
    if std < 0:
        raise RuntimeError(message("normal_", "a negative standard deviation", std))
    kind = _float_dtype(self)
    return _fill(self, _normal(_key(generator), tuple(self.shape), kind, float(mean), float(std)))


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill with 1 with probability p, else 0."""
    if isinstance(p, Tensor):
        return _fill(self, _bernoulli(_key(generator), p.detach(), self.dtype))
    return _fill(self, _bernoulli_number(_key(generator), tuple(self.shape), self.dtype, float(p)))


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with exponentially distributed numbers of rate lambd."""
    if not lambd > 0:
        raise RuntimeError(message("exponential_", "the rate is not positive", lambd))
    kind = _float_dtype(self)
    return _fill(self, _exponential(_key(generator), tuple(self.shape), kind, float(lambd)))


def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Fill with the number of trials up to the first success of probability p."""
    if not 0 < p < 1:
        raise RuntimeError(message("geometric_", "p is not inside of (0, 1)", p))
    u = _uniform(_key(generator), tuple(self.shape), dtypes.float64, 0.0, 1.0)
    return _fill(self, floor(log1p(-u) / math.log1p(-p)) + 1)


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with Cauchy distributed numbers."""
    from fanal.ops.pointwise import tan

    if not sigma > 0:
        raise RuntimeError(message("cauchy_", "sigma is not positive", sigma))
    u = _uniform(_key(generator), tuple(self.shape), dtypes.float64, 0.0, 1.0)
    return _fill(self, tan((u - 0.5) * math.pi) * sigma + median)


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None) -> Tensor:
    """Fill with exponentials of normal numbers."""
    if not std > 0:
        raise RuntimeError(message("log_normal_", "the deviation is not positive", std))
    from fanal.ops.pointwise import exp

    return _fill(self, exp(_normal(_key(generator), tuple(self.shape), dtypes.float64, mean, std)))


def random_(self: Tensor, from_: int = 0, to: int | None = None, *, generator: Any = None) -> Tensor:
    """Fill with integers from `from_` to to - 1 (one argument: from 0)."""
    if to is None:
        kind = self.dtype
        limit = 2**24 if kind.kind == "f" else 2 if kind.kind == "b" else 2 ** (kind.bits - (kind.kind == "i"))
        from_, to = (0, from_) if from_ else (0, min(limit, 2**63 - 1))
    kind = self.dtype if self.dtype.kind in "iu" else dtypes.int64
    return _fill(self, _integers(_key(generator), tuple(self.shape), kind, int(from_), int(to)))
