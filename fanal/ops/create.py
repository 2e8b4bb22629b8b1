"""Primitives without inputs: constants, ranges, random bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.dtypes import DType
from fanal.graph.ir import Type, Value
from fanal.ops.primitive import Primitive


def _full_infer(*, value: Any, shape: tuple[int, ...], dtype: DType) -> list[Type]:
    return [Type(dtype, tuple(shape))]


def _nullary_batch(inputs: Any, axes: Any, size: int, **attributes: Any) -> Any:
    raise AssertionError("an operation without inputs is never batched")


full_p = Primitive(
    name="full",
    kind="create",
    infer=_full_infer,
    reference=lambda *, value, shape, dtype: np.full(shape, value, dtype.numpy),
    batch=_nullary_batch,
    doc="A tensor filled with one number.",
)


def _iota_infer(*, shape: tuple[int, ...], dim: int, dtype: DType) -> list[Type]:
    return [Type(dtype, tuple(shape))]


def _iota_reference(*, shape: tuple[int, ...], dim: int, dtype: DType) -> Any:
    ramp = np.arange(shape[dim]).astype(dtype.numpy)
    return np.broadcast_to(ramp.reshape([-1 if i == dim else 1 for i in range(len(shape))]), shape)


iota_p = Primitive(
    name="iota",
    kind="create",
    infer=_iota_infer,
    reference=_iota_reference,
    batch=_nullary_batch,
    doc="0, 1, 2, … along one dimension.",
)

_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85


def philox(counter: np.ndarray, key: tuple[int, int], stream: int) -> list[np.ndarray]:
    """Philox-4x32-10 (Salmon et al., 2011): four 32-bit words for each 64-bit counter."""
    mask = np.uint64(0xFFFFFFFF)
    c = [counter & mask, counter >> np.uint64(32)]
    c += [np.full_like(counter, stream & 0xFFFFFFFF), np.full_like(counter, stream >> 32)]
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(_M0), c[2] * np.uint64(_M1)
        c = [
            (p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0),
            p1 & mask,
            (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1),
            p0 & mask,
        ]
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return c


def _random_infer(key: Value, *, shape: tuple[int, ...]) -> list[Type]:
    if key.dtype is not dtypes.int64 or key.shape != (2,):
        raise TypeError(f"[random_bits] key must be int64[2], got {key.type!r}")
    return [Type(dtypes.uint32, tuple(shape))]


def _random_reference(key: Any, *, shape: tuple[int, ...]) -> Any:
    count = int(np.prod(shape, dtype=np.int64))
    index = np.arange(count, dtype=np.uint64)
    seed, stream = (int(k) & 0xFFFFFFFFFFFFFFFF for k in key)
    words = philox(index >> np.uint64(2), (seed & 0xFFFFFFFF, seed >> 32), stream)
    chosen = np.choose((index & np.uint64(3)).astype(np.int64), words) if count else index
    return chosen.astype(np.uint32).reshape(shape)


def _random_batch(inputs: Any, axes: Any, size: int, *, shape: tuple[int, ...]) -> Any:
    """Without keys of their own, the members of a batch share one draw; each gets a part of it."""
    from fanal.ops.layout import concat_p, move_axis, reshape_p, slice_dim

    (key,), (axis,) = inputs, axes
    if axis is None:
        return bind(random_bits_p, key, shape=(size, *shape)), 0
    rows = [slice_dim(move_axis(key, axis, 0), 0, i, i + 1) for i in range(size)]
    drawn = [bind(random_bits_p, bind(reshape_p, k, shape=(2,)), shape=(1, *shape)) for k in rows]
    return bind(concat_p, *drawn, dim=0), 0


random_bits_p: Primitive = Primitive(
    name="random_bits",
    kind="random",
    infer=_random_infer,
    reference=_random_reference,
    batch=_random_batch,
    dtypes=(dtypes.int64,),
    jvp=lambda tangents, inputs, outputs, **a: None,
    doc=(
        "32 random bits an element: element i is word i mod 4 of Philox-4x32-10 at counter "
        "(i div 4, stream) under key seed, where the input is int64[2] = (seed, stream)."
    ),
)
