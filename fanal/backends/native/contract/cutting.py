"""How a contraction's work is cut into blocks and tasks: a function of the problem alone.

No bit depends on it. Large problems have many blocks of the size that the caches like; where there are
few, their sizes are chosen such that two or four threads have equally much to do.
"""

from __future__ import annotations

import functools
import heapq
import math
from collections.abc import Sequence
from dataclasses import replace

from fanal.backends.native.contract import gemm
from fanal.backends.native.contract.gemm import Numbers
from fanal.backends.native.contract.shape import Shape, rows_max
from fanal.core.symbols import decided, is_settled

# Multiply-adds of one task at least (its claim must not count), and tasks to aim at.
_TASK_MIN, _TASKS = 1 << 17, 64
# Rows of a block whose panels were packed ahead: it shares the second cache with their totals, and
# costs no other block a packing.
_READY_ROWS = 96
# Panels of one unit: their running totals share the second cache with a block of A.
_BLOCK_PANELS = 16
# The same where rows are copied: tiles of a block at least, its panels at most and at least, tasks.
_COPIED_TILES, _COPIED_PANELS, _FEW_PANELS, _COPIED_TASKS = 3, 64, 8, 32
# Elements of B from which on every block of rows fetches it from afar (16 megabytes of floats), and the
# tiles of a block that make up for that.
_FAR_ELEMENTS, _FAR_TILES = 1 << 22, 12
# Fewer units than this are cut anew; into how many parts rows and panels may be cut then.
_FEW_UNITS, _PARTS = 24, (1, 2, 3, 4, 5, 6, 8)
# What a unit costs besides its products, in cycles: a row's block of k copied, a panel's packed, fetched
# from a far cache or from memory, read by one more tile (these a k), a tile's totals, a claim.
_COPY, _PACK, _FETCH, _STREAM, _READ, _TILE, _CLAIM = 0.3, 8.0, 3.0, 24.0, 1.5, 30, 2000
# Elements of B from which on it doesn't stay in a cache (a megabyte of floats).
STREAM_ELEMENTS = 1 << 18
_DECIDED = ("units", "units_per_task", "block_rows", "block_panels")
_SHARES = ((1, 0.3), (2, 0.5), (4, 0.2))  # how much the times on so many threads count


def row_cycles(s: Shape, rows: int) -> int:
    """Cycles per k and panel that the tiles over `rows` rows take (see `gemm.tile_counts`)."""
    whole, rest = divmod(rows, s.rows)
    if rest == 0:
        return rows
    if whole and rest <= 2 * s.few_rows - s.rows:
        return rows - rest - s.rows + 2 * s.few_rows
    if rest <= s.few_rows:
        return rows - rest + s.few_rows
    return rows - rest + (2 * s.few_rows if s.rows > gemm.MANY_ROWS else s.rows)


def cut(
    s: Shape, batch: tuple[int, ...], rows: int, cols: int, inner: int, ready: bool,
    copied: bool = False,
) -> Numbers:  # fmt: skip
    """Blocks and tasks of batch × rows × cols sums over `inner`. Where sizes are symbols, how the work
    is cut is decided for each size by itself (or once, if it can't be; then the number of blocks follows)."""
    count = math.prod(batch)
    made: Numbers = decided(_cut, s, count, rows, cols, inner, ready, copied, numbers=_DECIDED)
    if is_settled(count, rows, cols, inner):
        panels = -(-cols // s.width)
        units = count * -(-rows // made.block_rows) * -(-panels // made.block_panels)
        made = replace(made, units=units)
    return replace(made, batch_inner=batch[-1] if batch else 1, rows=rows, cols=cols, inner=inner)


@functools.lru_cache(4096)
def _cut(
    s: Shape, count: int, rows: int, cols: int, inner: int, ready: bool, copied: bool
) -> Numbers:
    """The same of `count` products.

    Blocks start as large as the caches like them and are halved until there are enough to share:
    rows first where panels are packed ahead (all blocks read the same ones), else panels first.
    Where rows are copied, every block of panels copies them again: hardly at the expense of panels.
    """
    panels = -(-cols // s.width)
    work = count * rows * panels * s.width * inner
    wanted = min(max(work // _TASK_MIN, 1), _TASKS)
    if copied:
        numbers = _cut_copied(s, count, rows, cols, inner, ready, min(wanted, _COPIED_TASKS))
    else:
        numbers = _cut_plain(s, count, rows, cols, inner, ready, wanted)
    if numbers.units < _FEW_UNITS and wanted > 1:
        far = _STREAM if cols * inner >= STREAM_ELEMENTS else _FETCH
        return _balanced(s, numbers, count, _COPY if copied else 0.0, far if ready else _PACK)
    return numbers


def _balanced(s: Shape, numbers: Numbers, count: int, copy: float, load: float) -> Numbers:
    """The same work in units such that threads have equally much to do."""
    rows, inner = numbers.rows, numbers.inner
    panels = -(-numbers.cols // s.width)
    best, chosen = math.inf, (numbers.block_rows, numbers.block_panels)
    tallest = rows_max(s)
    candidates = {-(-rows // n) for n in _PARTS} | {numbers.block_rows}
    candidates |= {-(-height // s.rows) * s.rows for height in candidates}
    widths = {-(-panels // n) for n in _PARTS} | {numbers.block_panels}
    for height in sorted(h for h in candidates if h <= tallest):
        for width in sorted(widths):
            if count * -(-rows // height) * -(-panels // width) > 2 * _FEW_UNITS:
                continue
            blocks, rest = divmod(rows, height)
            costs = _costs(s, height, width, panels, inner, copy, load) * blocks
            if rest:
                costs += _costs(s, rest, width, panels, inner, copy, load)
            costs *= count
            total = sum(share * n * _span(costs, n) for n, share in _SHARES)
            if total < best:
                best, chosen = total, (height, width)
    height, width = chosen
    units = count * -(-rows // height) * -(-panels // width)
    return replace(numbers, units=units, units_per_task=1, block_rows=height, block_panels=width)


def _costs(
    s: Shape, rows: int, width: int, panels: int, inner: int, copy: float, load: float
) -> list[float]:
    """Cycles of the units of one block of rows: their panels are of two sizes at most."""
    parts = -(-panels // width)
    of = {n: _cost(s, rows, n, inner, copy, load) for n in {panels // parts, -(-panels // parts)}}
    return [of[panels * (n + 1) // parts - panels * n // parts] for n in range(parts)]


def _cost(s: Shape, rows: int, panels: int, inner: int, copy: float, load: float) -> float:
    """Cycles of a unit, a k."""
    cycles = max(row_cycles(s, rows), 4)
    whole, rest = divmod(cycles, s.rows)
    tiles = whole + -(-rest // s.few_rows)
    beside = (_CLAIM + _TILE * tiles * panels) / max(inner, 1)
    return panels * (cycles * s.vectors / 2 + load + _READ * tiles) + copy * rows + beside


def _span(costs: Sequence[float], threads: int) -> float:
    """When threads that take one unit after another are done."""
    if threads == 1:
        return sum(costs)
    busy = [0.0] * threads
    for cost in costs:
        heapq.heapreplace(busy, busy[0] + cost)
    return max(busy)


def _cut_plain(
    s: Shape, count: int, rows: int, cols: int, inner: int, ready: bool, wanted: int
) -> Numbers:
    panels = -(-cols // s.width)
    tallest = min(rows_max(s), _READY_ROWS // s.rows * s.rows) if ready else rows_max(s)
    block_rows, block_panels = min(tallest, rows), min(panels, _BLOCK_PANELS)

    def blocks(extent: int, block: int) -> int:
        return -(-extent // block)

    while (units := count * blocks(rows, block_rows) * blocks(panels, block_panels)) < wanted:
        tall = block_rows > 8 * s.rows
        if ready and tall:
            block_rows = -(-block_rows // 2)
        elif block_panels > (4 if ready else 1):
            block_panels = -(-block_panels // 2)
        elif tall and units < _TASKS // 4:
            # Every block of rows packs its panels itself: not lightly.
            block_rows = -(-block_rows // 2)
        elif block_panels > 1:
            block_panels = -(-block_panels // 2)
        else:
            break
    block_rows = blocks(blocks(rows, blocks(rows, block_rows)), s.rows) * s.rows
    block_panels = -(-panels // blocks(panels, block_panels))
    units = count * blocks(rows, block_rows) * blocks(panels, block_panels)
    unit = max(1, min(block_rows, rows) * block_panels * s.width * inner)
    per_task = max(1, min(_TASK_MIN // unit, units))
    return Numbers(1, units, per_task, rows, cols, inner, block_rows, block_panels)


def _cut_copied(
    s: Shape, count: int, rows: int, cols: int, inner: int, ready: bool, wanted: int
) -> Numbers:
    panels = -(-cols // s.width)
    tiles = -(-rows // s.rows)
    tallest = rows_max(s) // s.rows

    def blocks(tall: int, wide: int) -> int:
        return count * -(-tiles // tall) * -(-panels // wide)

    tall, wide = min(tallest, tiles), min(_COPIED_PANELS, panels)
    least = _FAR_TILES if ready and cols * inner >= _FAR_ELEMENTS else _COPIED_TILES
    while blocks(tall, wide) < wanted:
        if ready and tall > least:
            tall = -(-tall // 2)
        elif wide > _FEW_PANELS:
            wide = -(-wide // 2)
        elif not ready and tall > 2 * _COPIED_TILES:
            tall = -(-tall // 2)
        else:
            break
    tall, wide = -(-tiles // -(-tiles // tall)), -(-panels // -(-panels // wide))
    units = blocks(tall, wide)
    unit = max(1, tall * s.rows * wide * s.width * inner)
    per_task = max(1, min(_TASK_MIN // unit, units))
    return Numbers(1, units, per_task, rows, cols, inner, tall * s.rows, wide)
