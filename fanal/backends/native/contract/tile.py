"""The register tile: one block of k for a few rows by a few vectors of columns.

`accumulate` is the inner loop of everything: per k, load the vectors of B, broadcast one value of A
a row, one fused multiply-add an accumulator. It starts from zero and goes through k in order, which
*is* the order that the design promises; there is no second inner loop with another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.contract.transpose import transposed
from fanal.backends.native.emit import Builder, V, element

UNROLL = 4


def accumulate(
    b: Builder,
    s: Shape,
    rows: Sequence[V],
    inner: Walk,
    start: V,
    depth: V,
    columns: Callable[[V, V], Sequence[V]],
    place: V,
    bump: int,
    sums: Sequence[V] = (),
) -> list[V]:
    """Block sums of `rows` by `s.vectors` vectors of columns, row after row.

    `rows` are addresses of A at k = 0, `inner` its walk along k; the block is `start .. start+depth`.
    `columns(place, k)` loads the vectors of B for the block's k; `place` moves by `bump` bytes a k.
    Chains go on from `sums` where given.
    """
    sums = sums or zeros(b, s, len(rows))
    main = depth & -UNROLL
    state: list[V] = [place, inner.at(start) if inner.mode != "t" else b.i64(0), *sums]
    for low, high, step in ((b.i64(0), main, UNROLL), (main, depth, 1)):
        loop = b.loop(low, high, step, state)
        with loop as (k, place, offset, *acc):
            for u in range(step):
                at = inner.at(start + k + u) if inner.mode == "t" else offset
                right = columns(place, k + u)
                for i, row in enumerate(rows):
                    left = b.splat(b.load(s.scalar, b.at(row, at)), s.lanes)
                    for j, column in enumerate(right):
                        n = i * s.vectors + j
                        acc[n] = multiply_add(b, left, column, acc[n])
                place = b.at(place, bump)
                if inner.mode != "t":
                    offset = offset + inner.step
            loop.next(place, offset, *acc)
        state = loop.results
    return state[2:]


def accumulate_transposed(
    b: Builder,
    s: Shape,
    rows: Sequence[V],
    inner: Walk,
    start: V,
    depth: V,
    piece: Callable[[int, int, V, int], V],
) -> list[V]:
    """Block sums where k are neighbours in B, and B is read only once: transposed in registers.

    `piece(v, lane, k, column)` loads a piece of the column of B on `lane` of vector v, from k +
    column on. `depth` is a multiple of the lanes.
    """
    bits = 8 * s.itemsize
    loop = b.loop(0, depth, s.lanes, zeros(b, s, len(rows)))
    with loop as (k, *acc):
        left = [
            [b.splat(b.load(s.scalar, b.at(row, inner.at(start + k + u))), s.lanes) for row in rows]
            for u in range(s.lanes)
        ]
        for v in range(s.vectors):
            turned = transposed(b, s.lanes, bits, lambda lane, col, v=v: piece(v, lane, k, col))
            for u, column in enumerate(turned):
                for i in range(len(rows)):
                    n = i * s.vectors + v
                    acc[n] = multiply_add(b, left[u][i], column, acc[n])
        loop.next(*acc)
    return loop.results


def zeros(b: Builder, s: Shape, rows: int) -> list[V]:
    """Where every chain of a block starts."""
    return [b.const(s.vector, 0)] * (rows * s.vectors)


def multiply_add(b: Builder, x: V, y: V, z: V) -> V:
    """x·y + z in one rounding (floats) or wrapping around (integers)."""
    if element(z.type).startswith("i"):
        return x * y + z
    return b.fma(x, y, z)
