"""A few rows times a large matrix in place: streaming it, block of k by block of k.

What counts is to read B once and in long runs. A task takes one block of k and a strip of columns;
the chains of the strip lie in the first cache and advance a few k's at a time, so that B is read in
as many parallel runs of a whole strip. A second phase adds the block sums in order. The twin is
`gemm.py`: the same chains, the same order of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from fanal.backends.native.contract.element import compute_type, load
from fanal.backends.native.contract.finish import Epilogue, Finisher, Place
from fanal.backends.native.contract.gemm import Side
from fanal.backends.native.contract.shape import KC, Shape, thin_shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.contract.tile import multiply_add
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder
from fanal.core.dtypes import DType

# Columns of a strip (their chains take a quarter of the first cache), and of a task that adds.
WIDTH, _ADD = 2048, 1024
_UNROLL = 2


def add_strips(
    p: ProgramBuilder,
    s: Shape,
    a: Side,
    b: Side,
    outs: Sequence[Side],
    extents: tuple[int, int, int],
    sums: Access,
    epilogue: Epilogue | None,
) -> None:
    """Append both phases. `sums` is room for (blocks, rows, columns rounded up to a vector)."""
    rows, cols, inner = extents
    s = thin_shape(s, rows, 2)
    strips = -(-cols // WIDTH)
    pitch = sums.strides[1] * s.itemsize
    words = [strips, cols, inner, a.first.bytes, a.second.bytes, b.first.bytes, pitch]
    dtype = b.access.dtype
    key = f"contract.strips|{s.key}|{dtype.name}"
    kernel = Kernel(key, lambda builder: _emit_strips(builder, s, dtype))
    p.phase(kernel, [a.access, b.access, sums], words, strips * -(-inner // KC))
    words = [-(-inner // KC), cols, pitch, rows]
    for side in outs:
        words += (side.first.bytes, side.second.bytes)
    sides = ",".join(side.key for side in outs)
    key = f"contract.blocks|{s.key}|{sides}|{epilogue.key if epilogue else ''}"
    dtypes = [side.access.dtype for side in outs]
    modes = [(side.first.mode, side.second.mode) for side in outs]
    kernel = Kernel(key, lambda builder: _emit_blocks(builder, s, dtypes, modes, epilogue))
    p.phase(kernel, [sums, *(side.access for side in outs)], words, -(-cols // _ADD))


def _emit_strips(b: Builder, s: Shape, dtype: DType) -> None:
    """Block sums of one block of k for one strip of columns."""
    d = Descriptor(b, 3)
    strips, cols, inner, row_step, k_step, b_step, pitch = (d.word() for _ in range(7))
    left, right, sums = d.pointer(0), d.pointer(1), d.pointer(2)
    block, strip = b.arg("task").udiv(strips), b.arg("task").urem(strips)
    # A strip is never narrower than a vector: the last one may begin inside the one before.
    first, last = strip * WIDTH, cols - s.lanes
    first = b.select(first.lt(last), first, last)
    width = cols - first
    width = b.select(width.lt(WIDTH), width, WIDTH)
    start = block * KC
    depth = inner - start
    depth = b.select(depth.lt(KC), depth, KC)
    left = b.at(left, start * k_step)
    right = b.at(right, start * b_step + first * dtype.itemsize)
    out = b.at(sums, block * pitch * s.rows + first * s.itemsize)
    size = s.lanes * s.itemsize
    chains = b.alloca("i8", WIDTH * s.rows * s.itemsize)
    vectors = (width + (s.lanes - 1)).udiv(s.lanes)
    with b.loop(0, vectors * s.rows) as (n,):
        b.store(b.const(s.vector, 0), b.at(chains, n * size), size)
    deep = max(1, 8 // s.rows)
    main = depth & -deep
    for low, high, step in ((b.i64(0), main, deep), (main, depth, 1)):
        with b.loop(low, high, step) as (k,):
            at = b.at(left, k * k_step), b.at(right, k * b_step)
            _advance(b, s, dtype, chains, at, step, (row_step, k_step, b_step), width)
    # The chains lie vector by vector, the sums row by row; the last vector may overlap.
    with b.loop(0, vectors) as (j,):
        column = _column(b, s, j, width)
        for i in range(s.rows):
            value = b.load(s.vector, b.at(chains, (j * s.rows + i) * size), size)
            b.store(value, b.at(out, pitch * i + column * s.itemsize))
    b.ret()


def _column(b: Builder, s: Shape, vector: V, width: V) -> V:
    """The first column of a vector: the last one is moved back to end with the strip."""
    column, last = vector * s.lanes, width - s.lanes
    return b.select(column.lt(last), column, last)


def _advance(
    b: Builder,
    s: Shape,
    dtype: DType,
    chains: V,
    at: tuple[V, V],
    depth: int,
    steps: tuple[V, V, V],
    width: V,
) -> None:
    """`depth` k's from the addresses `at` on, in order, for every column of the strip."""
    row_step, k_step, b_step = steps
    factors = [
        [
            b.splat(b.load(s.scalar, b.at(at[0], k_step * u + row_step * i)), s.lanes)
            for i in range(s.rows)
        ]
        for u in range(depth)
    ]
    lines = [b.at(at[1], b_step * u) for u in range(depth)]
    size = s.lanes * s.itemsize

    def advance(vector: V, column: V) -> None:
        values = [load(b, dtype, b.at(x, column * dtype.itemsize), s.lanes, s.scalar) for x in lines]
        for i in range(s.rows):
            place = b.at(chains, (vector * s.rows + i) * size)
            chain = b.load(s.vector, place, size)
            for u in range(depth):
                chain = multiply_add(b, factors[u][i], values[u], chain)
            b.store(chain, place, size)

    whole = width.udiv(s.lanes)
    pairs = whole & -_UNROLL
    with b.loop(0, pairs, _UNROLL) as (j,):
        for q in range(_UNROLL):
            vector = j + q if q else j
            advance(vector, vector * s.lanes)
    with b.loop(pairs, (width + (s.lanes - 1)).udiv(s.lanes)) as (j,):
        advance(j, _column(b, s, j, width))


def _emit_blocks(
    b: Builder,
    s: Shape,
    dtypes: Sequence[DType],
    modes: Sequence[tuple[str, str]],
    epilogue: Epilogue | None,
) -> None:
    """Totals of some columns: block sums added in order, then finished."""
    tables = sum(mode == "t" for pair in modes for mode in pair)
    assert not tables, "strips are for operands without tables"
    d = Descriptor(b, 1 + len(dtypes))
    blocks, cols, pitch, rows = (d.word() for _ in range(4))
    places = []
    for n, (dtype, pair) in enumerate(zip(dtypes, modes, strict=True)):
        walks = [Walk(b, mode, dtype.itemsize, d.word(), None) for mode in pair]
        places.append(Place(dtype, compute_type(dtype), d.pointer(1 + n), walks[0], walks[1]))
    sums = d.pointer(0)
    finisher = Finisher(b, s, places[0], places[1:], epilogue)
    totals = b.alloca("i8", s.rows * s.row_bytes)
    size = s.lanes * s.itemsize
    first = b.arg("task") * _ADD
    last = first + _ADD
    last = b.select(last.lt(cols), last, cols)
    with b.loop(first, last, s.width) as (col,):
        for i in range(s.rows):
            for v in range(s.vectors):
                at = b.at(sums, pitch * i + (col + v * s.lanes) * s.itemsize)
                loop = b.loop(1, blocks, 1, [b.load(s.vector, at)])
                with loop as (block, total):
                    loop.next(total + b.load(s.vector, b.at(at, block * pitch * s.rows)))
                b.store(loop.results[0], b.at(totals, i * s.row_bytes + v * size), size)
        finisher.rows(totals, b.i64(0), rows, col, cols)
    b.ret()
