"""The contraction primitive, and the public functions made of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.layout import move_axis, permute_p
from fanal.ops.primitive import NUMBERS, Primitive, check_dtype

Pair = tuple[tuple[int, ...], tuple[int, ...]]


def _free(ndim: int, used: tuple[int, ...]) -> list[int]:
    return [d for d in range(ndim) if d not in used]


def _infer(a: Value, b: Value, *, contract: Pair, batch: Pair) -> list[Type]:
    check_dtype("dot", a.dtype, NUMBERS)
    if a.dtype is not b.dtype:
        raise TypeError(message("dot", "dtypes differ", f"{a.dtype!r} and {b.dtype!r}"))
    for i, j in (*zip(*contract, strict=True), *zip(*batch, strict=True)):
        if a.shape[i] != b.shape[j]:
            raise RuntimeError(
                message("dot", "extents to contract differ", f"{a.shape} and {b.shape}")
            )
    shape = [a.shape[d] for d in batch[0]]
    shape += [a.shape[d] for d in _free(a.ndim, contract[0] + batch[0])]
    shape += [b.shape[d] for d in _free(b.ndim, contract[1] + batch[1])]
    return [Type(a.dtype, tuple(shape))]


def _reference(a: Any, b: Any, *, contract: Pair, batch: Pair) -> Any:
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    left: list[str] = [""] * a.ndim
    right: list[str] = [""] * b.ndim
    for i, j in (*zip(*batch, strict=True), *zip(*contract, strict=True)):
        left[i] = right[j] = next(letters)
    out = [left[i] for i in batch[0]]
    for side in (left, right):
        for d, letter in enumerate(side):
            if not letter:
                side[d] = next(letters)
                out.append(side[d])
    return np.einsum(f"{''.join(left)},{''.join(right)}->{''.join(out)}", a, b).astype(a.dtype)


def _transpose(ct: Value, inputs: Any, linear: Any, *, contract: Pair, batch: Pair) -> Any:
    a, b = inputs
    return [
        _cotangent(ct, b, a, contract, batch, 0) if linear[0] else None,
        _cotangent(ct, a, b, contract[::-1], batch[::-1], 1) if linear[1] else None,
    ]


def _cotangent(
    ct: Value, other: Value, mine: Value, contract: Pair, batch: Pair, side: int
) -> Value:
    """ct contracted with the other operand over the other's free dimensions, in my dims' order."""
    batches = len(batch[0])
    my_free = _free(mine.ndim, contract[0] + batch[0])
    other_free = _free(other.ndim, contract[1] + batch[1])
    count = len(my_free) if side == 0 else len(other_free)
    first = tuple(range(batches, batches + count))
    second = tuple(range(batches + count, ct.ndim))
    over = second if side == 0 else first
    out = bind(
        dot_p,
        ct,
        other,
        contract=(over, tuple(other_free)),
        batch=(tuple(range(batches)), batch[1]),
    )
    # The result's dims: batch, my free dims, then the other's contracted dims in its order.
    order_of_other = sorted(contract[1])
    result_dims = list(batch[0]) + my_free
    result_dims += [contract[0][contract[1].index(j)] for j in order_of_other]
    back = tuple(int(i) for i in np.argsort(result_dims))
    return out if back == tuple(range(out.ndim)) else bind(permute_p, out, dims=back)


def _jvp(tangents: Any, inputs: Any, outputs: Any, **attributes: Any) -> Any:
    a, b = inputs
    total = None
    for pair in ((tangents[0], b), (a, tangents[1])):
        if pair[0] is not None and pair[1] is not None:
            term = bind(dot_p, *pair, **attributes)
            total = term if total is None else total + term
    return total


def _batch(inputs: Any, axes: Any, size: int, *, contract: Pair, batch: Pair) -> Any:
    a, b = inputs
    if axes[0] is not None and axes[1] is not None:
        a, b = move_axis(a, axes[0], 0), move_axis(b, axes[1], 0)
        moved = tuple(tuple(d + 1 for d in dims) for dims in contract)
        batches = tuple((0, *(d + 1 for d in dims)) for dims in batch)
        return bind(dot_p, a, b, contract=moved, batch=batches), 0
    side = 0 if axes[0] is not None else 1
    # The batched dimension becomes one more free dimension of its operand.
    axis = axes[side]
    new_contract, new_batch = list(contract), list(batch)
    new_contract[side] = tuple(d + (d >= axis) for d in contract[side])
    new_batch[side] = tuple(d + (d >= axis) for d in batch[side])
    operand = inputs[side]
    free = _free(operand.ndim, new_contract[side] + new_batch[side])
    position = len(batch[0]) + free.index(axis)
    if side == 1:
        position += a.ndim - len(contract[0]) - len(batch[0])
    return bind(dot_p, a, b, contract=tuple(new_contract), batch=tuple(new_batch)), position


dot_p = Primitive(
    name="dot",
    kind="dot",
    infer=_infer,
    reference=_reference,
    dtypes=NUMBERS,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    doc=(
        "Sum of products over pairs of dimensions. Result: batch dimensions, then the free ones of "
        "a, then those of b. Order: one FMA chain in fixed blocks of k, whatever the other extents."
    ),
)
