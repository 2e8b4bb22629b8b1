"""The register tile: one block of k for a few rows by a few vectors of columns.

`accumulate` is the inner loop of everything: per k, load the vectors of B, broadcast one value of A
a row, one fused multiply-add an accumulator. It starts from zero and goes through k in order, which
*is* the order that the design promises; there is no second inner loop with another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.contract.transpose import transposed_rows
from fanal.backends.native.emit import Builder, V, element

UNROLL = 4
STRIP, LAG = 2, 2


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
    across: bool = False,
    aside: Callable[[V], None] | None = None,
) -> list[V]:
    """Block sums of `rows` by `s.vectors` vectors of columns, row after row.

    `rows` are addresses of A at k = 0, `inner` its walk along k; the block is `start .. start+depth`.
    `columns(place, k)` loads the vectors of B for the block's k; `place` moves by `bump` bytes a k.
    Chains go on from `sums` where given. `across`: A has a value for every column, not one a row.
    `aside(k)` is written once every `UNROLL` k's.
    """
    sums = sums or zeros(b, s, len(rows))
    main = depth & -UNROLL
    state: list[V] = [place, inner.at(start) if inner.mode != "t" else b.i64(0), *sums]
    regular = rows if isinstance(rows, Rows) else None
    for low, high, step in ((b.i64(0), main, UNROLL), (main, depth, 1)):
        loop = b.loop(low, high, step, state)
        with loop as (k, place, offset, *acc):
            if aside is not None and step > 1:
                aside(k)
            for u in range(step):
                at = inner.at(start + k + u) if inner.mode == "t" else offset
                right = columns(place, k + u)
                addresses = regular.at(at) if regular else [b.at(row, at) for row in rows]
                for i, address in enumerate(addresses):
                    left = left_values(b, s, address, across)
                    for j, column in enumerate(right):
                        n = i * s.vectors + j
                        acc[n] = multiply_add(b, left[j], column, acc[n])
                place = b.at(place, bump)
                if inner.mode != "t":
                    offset = offset + inner.step
            loop.next(place, offset, *acc)
        state = loop.results
    return state[2:]


class Rows(Sequence[V]):
    """Addresses of rows one step apart, made anew at every k from one pointer and few multiples of the
    step: more rows than there are registers for addresses."""

    def __init__(self, b: Builder, first: V, step: V, count: int):
        self.b, self.first, self.step, self.height = b, first, step, count
        self.odd = {n: step * n for n in (3, 5, 7, 9)}

    def __len__(self) -> int:
        return self.height

    def __getitem__(self, i: Any) -> Any:
        return self.b.at(self.first, self.step * i)

    def at(self, offset: V) -> list[V]:
        """The rows' addresses at an offset: a base, or one nine rows on, and a scaled multiple."""
        b = self.b
        base = b.opaque(b.at(self.first, offset))
        found = []
        for i in range(self.height):
            if i == 9:
                base = b.at(base, self.odd[9])
            n = i % 9
            if n == 0:
                found.append(base)
            elif n in self.odd:
                found.append(b.at(base, self.odd[n]))
            elif n == 6:
                found.append(b.at(base, self.odd[3] * 2))
            else:  # 1, 2, 4, 8: forms that the processor adds up itself
                found.append(b.at(base, self.step * n))
        return found


def left_values(b: Builder, s: Shape, address: V, across: bool) -> list[V]:
    """A's factor for every vector: one value broadcast, or vectors of its own."""
    if across:
        size = s.lanes * s.itemsize
        return [b.load(s.vector, b.at(address, v * size)) for v in range(s.vectors)]
    return [b.splat(b.load(s.scalar, address), s.lanes)] * s.vectors


def accumulate_turned(
    b: Builder,
    s: Shape,
    rows: Sequence[V],
    inner: Walk,
    start: V,
    strips: V,
    column: Callable[[int, int, V], V],
) -> list[V]:
    """Block sums where k are neighbours in B, and B is read only once: transposed in registers.

    k advances in strips of `STRIP` blocks of lanes×lanes (a cache line of every column of B), and
    each vector lags `LAG` strips behind the one before: columns a power of two apart share a set of
    the first cache, which so holds the lines of one vector, read or fetched ahead, at a time.
    `column(v, lane, k)` loads lanes k's of the column of B on `lane` of vector v.
    """
    count = len(rows)
    loop = b.loop(0, strips + LAG * (s.vectors - 1), 1, zeros(b, s, count))
    with loop as (t, *acc):
        for v in range(s.vectors):
            strip = t - LAG * v if v else t
            mine = [acc[i * s.vectors + v] for i in range(count)]

            def go(v: int = v, strip: V = strip, mine: list[V] = mine) -> list[V]:
                return _strip(b, s, rows, inner, start, strip * (STRIP * s.lanes), v, mine, column)

            def stay(mine: list[V] = mine) -> list[V]:
                return mine

            idle = s.vectors > 1
            mine = b.branch(strip.ult(strips), go, stay) if idle else go()
            for i in range(count):
                acc[i * s.vectors + v] = mine[i]
        loop.next(*acc)
    return loop.results


def _strip(
    b: Builder,
    s: Shape,
    rows: Sequence[V],
    inner: Walk,
    start: V,
    first: V,
    v: int,
    acc: list[V],
    column: Callable[[int, int, V], V],
) -> list[V]:
    for block in range(STRIP):
        k = first + block * s.lanes if block else first
        lines = [column(v, lane, k) for lane in range(s.lanes)]
        for u, right in enumerate(transposed_rows(b, lines, 8 * s.itemsize)):
            at = inner.at(start + k + u)
            left = [b.splat(b.load(s.scalar, b.at(row, at)), s.lanes) for row in rows]
            acc = [multiply_add(b, x, right, y) for x, y in zip(left, acc, strict=True)]
    return acc


def zeros(b: Builder, s: Shape, rows: int) -> list[V]:
    """Where every chain of a block starts."""
    return [b.const(s.vector, 0)] * (rows * s.vectors)


def multiply_add(b: Builder, x: V, y: V, z: V) -> V:
    """x·y + z in one rounding (floats) or wrapping around (integers)."""
    if element(z.type).startswith("i"):
        return x * y + z
    return b.fma(x, y, z)
