"""Some rows times a large matrix in place: streaming it, block of k by block of k.

Where few rows meet a matrix beyond the caches, reading it once and in long runs is all that counts.
A task takes one block of k and a strip of columns and goes through it a few k's at a time, along the
whole strip; the chains wait in memory near by. A second phase adds the block sums in order. The twin
is `gemm.py`: the same chains, the same order of blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fanal.backends.native.contract.element import compute_type, load
from fanal.backends.native.contract.finish import Epilogue, Finisher, Place, words_of
from fanal.backends.native.contract.gemm import Side, tile_counts
from fanal.backends.native.contract.shape import KC, Shape, thin_shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.contract.tile import accumulate, multiply_add
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Descriptor, Kernel, ProgramBuilder
from fanal.core.dtypes import DType

# Rows at most; up to `_VECTOR_ROWS` whole strips advance vector by vector, else tile by tile, and
# from `_PACKED_ROWS` on a little panel is packed for the tiles to share.
ROWS_MAX, _VECTOR_ROWS, _PACKED_ROWS = 12, 2, 9
# Columns of a strip in either form, and columns of a task that adds blocks.
_VECTOR_WIDTH, _TILE_WIDTH, _ADD = 2048, 512, 512


def add_strips(
    p: ProgramBuilder,
    s: Shape,
    a: Side,
    b: Side,
    outs: Sequence[Side],
    extents: tuple[int, int, int],
    sums_dtype: DType,
    epilogue: Epilogue | None,
) -> None:
    """Append both phases of rows × cols × inner; `outs` are `out` and the epilogue's extras."""
    rows, cols, inner = extents
    tiles = rows > _VECTOR_ROWS
    blocks, panels = -(-inner // KC), -(-cols // s.width)
    strips = -(-cols // (_TILE_WIDTH if tiles else _VECTOR_WIDTH))
    words = [strips, cols, inner, rows]
    words += [a.first.bytes, a.second.bytes, b.first.bytes]
    dtype = b.access.dtype
    emit: Callable[..., None]
    extra: tuple[int, ...]
    if tiles:
        # Rows that the last tile repeats have chains of their own.
        sums = p.temp_like(sums_dtype, (blocks, panels, rows + s.rows, s.width))
        depth = 16 if rows >= _PACKED_ROWS else 8
        emit, key = _emit_tiles, f"contract.strips|{s.key}|{dtype.name}|{depth}"
        # The chains lie on the stack: few rows need little of it.
        most = ROWS_MAX if rows > 8 else 8
        key += f"|{most}"
        shape, extra = s, (depth, most)
        pitches = (sums.strides[0], sums.strides[1], sums.strides[2])
    else:
        shape = thin_shape(s, rows, 2)
        sums = p.temp_like(sums_dtype, (blocks, rows, panels * s.width))
        emit, key, extra = _emit_vectors, f"contract.strips|{shape.key}|{dtype.name}", ()
        pitches = (sums.strides[0], s.width, sums.strides[1])
    words += [pitch * s.itemsize for pitch in pitches]
    kernel = Kernel(key, lambda builder: emit(builder, shape, dtype, *extra))
    p.phase(kernel, [a.access, b.access, sums], words, strips * blocks, [sums])
    words = [blocks, cols, rows, int(tiles), *(pitch * s.itemsize for pitch in pitches)]
    for side in outs:
        words += (side.first.bytes, side.second.bytes)
    words += words_of(epilogue)
    dtypes = [side.access.dtype for side in outs]
    modes = [(side.first.mode, side.second.mode) for side in outs]
    sides = ",".join(side.key for side in outs)
    key = f"contract.blocks|{s.key}|{sides}|{epilogue.key if epilogue else ''}"
    kernel = Kernel(key, lambda builder: _emit_blocks(builder, s, dtypes, modes, epilogue))
    operands = [sums, *(side.access for side in outs)]
    p.phase(kernel, operands, words, -(-cols // _ADD), operands[1:2])


class _Strip:
    """The task's strip: its columns and k's, and where A, B and the chains lie."""

    def __init__(self, b: Builder, s: Shape, dtype: DType, width: int):
        d = Descriptor(b, 3)
        strips, self.cols, inner, self.rows = (d.word() for _ in range(4))
        self.row_step, self.k_step, self.b_step = (d.word() for _ in range(3))
        self.block_pitch, self.panel_pitch, self.row_pitch = (d.word() for _ in range(3))
        left, right, self.sums = d.pointer(0), d.pointer(1), d.pointer(2)
        self.block, strip = b.arg("task").udiv(strips), b.arg("task").urem(strips)
        self.first = strip * width
        self.stop = b.select((self.first + width).lt(self.cols), self.first + width, self.cols)
        start = self.block * KC
        depth = inner - start
        self.depth = b.select(depth.lt(KC), depth, KC)
        self.left = b.at(left, start * self.k_step)
        self.right = b.at(right, start * self.b_step)
        self.chains = b.at(self.sums, self.block * self.block_pitch)


# -- one or two rows: whole strips, vector by vector ------------------------------------------------


def _emit_vectors(b: Builder, s: Shape, dtype: DType) -> None:
    t = _Strip(b, s, dtype, _VECTOR_WIDTH)
    # A strip is never narrower than a vector: the last one may begin inside the one before.
    last = t.cols - s.lanes
    first = b.select(t.first.lt(last), t.first, last)
    width = t.stop - first
    right = b.at(t.right, first * dtype.itemsize)
    size = s.lanes * s.itemsize
    chains = b.alloca("i8", _VECTOR_WIDTH * s.rows * s.itemsize)
    vectors = (width + (s.lanes - 1)).udiv(s.lanes)
    with b.loop(0, vectors * s.rows) as (n,):
        b.store(b.const(s.vector, 0), b.at(chains, n * size), size)
    deep = 8 // s.rows
    main = t.depth & -deep
    for low, high, step in ((b.i64(0), main, deep), (main, t.depth, 1)):
        with b.loop(low, high, step) as (k,):
            at = b.at(t.left, k * t.k_step), b.at(right, k * t.b_step)
            _advance(b, s, dtype, chains, at, step, (t.row_step, t.k_step, t.b_step), width)
    # The chains lie vector by vector, the sums row by row; the last vector may overlap.
    out = b.at(t.chains, first * s.itemsize)
    with b.loop(0, vectors) as (j,):
        column = _column(b, s, j, width)
        for i in range(s.rows):
            value = b.load(s.vector, b.at(chains, (j * s.rows + i) * size), size)
            b.store(value, b.at(out, t.row_pitch * i + column * s.itemsize))
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

    pairs = width.udiv(s.lanes) & -2
    with b.loop(0, pairs, 2) as (j,):
        for vector in (j, j + 1):
            advance(vector, vector * s.lanes)
    with b.loop(pairs, (width + (s.lanes - 1)).udiv(s.lanes)) as (j,):
        advance(j, _column(b, s, j, width))


# -- more rows: register tiles, a few k's deep ------------------------------------------------------


def _emit_tiles(b: Builder, s: Shape, dtype: DType, deep: int, most: int) -> None:
    t = _Strip(b, s, dtype, _TILE_WIDTH)
    low = t.first.udiv(s.width)
    high = (t.stop + (s.width - 1)).udiv(s.width)
    size = s.lanes * s.itemsize
    chains = b.alloca("i8", (most + s.rows) * _TILE_WIDTH * s.itemsize)
    vectors = (high - low) * t.panel_pitch.udiv(size)
    with b.loop(0, vectors) as (n,):
        b.store(b.const(s.vector, 0), b.at(chains, n * size), size)
    packed = b.alloca("i8", deep * s.row_bytes) if deep > 8 else None
    with b.loop(0, t.depth, deep) as (k,):
        count = t.depth - k
        count = b.select(count.lt(deep), count, deep)
        with b.loop(low, high) as (panel,):
            mine = b.at(chains, (panel - low) * t.panel_pitch)
            _tiles(b, s, dtype, t, mine, panel, k, count, packed)
    out = b.at(t.chains, low * t.panel_pitch)
    with b.loop(0, vectors) as (n,):
        b.store(b.load(s.vector, b.at(chains, n * size), size), b.at(out, n * size), size)
    b.ret()


def _tiles(
    b: Builder,
    s: Shape,
    dtype: DType,
    t: _Strip,
    chains: V,
    panel: V,
    k: V,
    count: V,
    packed: V | None,
) -> None:
    """All rows of one panel, `count` k's on. The last panel is moved back to end with the matrix."""
    size = s.lanes * s.itemsize
    column, last = panel * s.width, t.cols - s.width
    column = b.select(column.lt(last), column, last)
    right = b.at(t.right, column * dtype.itemsize + k * t.b_step)

    def in_place(row: V) -> list[V]:
        at = [b.at(row, v * s.lanes * dtype.itemsize) for v in range(s.vectors)]
        return [load(b, dtype, x, s.lanes, s.scalar) for x in at]

    def columns(place: V, u: V) -> list[V]:
        if packed is None:
            return in_place(b.at(place, u * t.b_step))
        return [b.load(s.vector, b.at(place, v * size), size) for v in range(s.vectors)]

    if packed is not None:
        with b.loop(0, count) as (u,):
            for v, value in enumerate(in_place(b.at(right, u * t.b_step))):
                b.store(value, b.at(packed, u * s.row_bytes + v * size), size)
    inner = Walk(b, "s", s.itemsize, t.k_step, None)
    start, bump = (right, 0) if packed is None else (packed, s.row_bytes)

    def tile(height: int, first: V) -> None:
        rows = []
        for i in range(height):
            row = first + i
            row = b.select(row.lt(t.rows), row, t.rows - 1)
            rows.append(b.at(t.left, row * t.row_step))
        places = [b.at(chains, first * s.row_bytes + n * size) for n in range(height * s.vectors)]
        sums = [b.load(s.vector, place, size) for place in places]
        sums = accumulate(b, s, rows, inner, k, count, columns, start, bump, sums)
        for value, place in zip(sums, places, strict=True):
            b.store(value, place, size)

    many, few = tile_counts(b, s, t.rows)
    with b.loop(0, many) as (i,):
        tile(s.rows, i * s.rows)
    with b.loop(0, few) as (i,):
        tile(s.few_rows, many * s.rows + i * s.few_rows)


# -- blocks in order --------------------------------------------------------------------------------


def _emit_blocks(
    b: Builder,
    s: Shape,
    dtypes: Sequence[DType],
    modes: Sequence[tuple[str, str]],
    epilogue: Epilogue | None,
) -> None:
    """Totals of some columns: block sums added in order, then finished."""
    d = Descriptor(b, 1 + len(dtypes))
    blocks, cols, rows, tiles, block_pitch, panel_pitch, row_pitch = (d.word() for _ in range(7))
    places = []
    for n, (dtype, pair) in enumerate(zip(dtypes, modes, strict=True)):
        walks = [Walk(b, mode, dtype.itemsize, d.word(), None) for mode in pair]
        places.append(Place(dtype, compute_type(dtype), d.pointer(1 + n), walks[0], walks[1]))
    sums = d.pointer(0)
    bound = None if epilogue is None else epilogue.bound(d)
    finisher = Finisher(b, s, places[0], places[1:], bound)
    # A panel that was moved back is read beyond the end of its last row.
    totals = b.alloca("i8", (ROWS_MAX + 1) * s.row_bytes)
    size = s.lanes * s.itemsize
    first = b.arg("task") * _ADD
    last = first + _ADD
    last = b.select(last.lt(cols), last, cols)
    with b.loop(first, last, s.width) as (col,):
        at = b.at(sums, col.udiv(s.width) * panel_pitch)
        with b.loop(0, rows) as (i,):
            for v in range(s.vectors):
                place = b.at(at, i * row_pitch + v * size)
                loop = b.loop(1, blocks, 1, [b.load(s.vector, place)])
                with loop as (block, total):
                    loop.next(total + b.load(s.vector, b.at(place, block * block_pitch)))
                b.store(loop.results[0], b.at(totals, i * s.row_bytes + v * size), size)
        over = col + s.width - cols
        over = b.select(over.gt(0) & tiles.ne(0), over, 0)
        finisher.rows(b.at(totals, over * s.itemsize), b.i64(0), rows, col, cols)
    b.ret()
