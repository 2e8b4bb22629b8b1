"""Phases that rewrite an operand before a contraction: panels packed ahead, copies in another order.

Both are the same walk: rows of k by panels of columns, each panel through `Packer`. *Packing ahead*
pays where many blocks of rows read the same panels; a *copy* makes an operand's values what the
row side can read directly (compute type, k in order).
"""

from __future__ import annotations

from collections.abc import Sequence

from fanal.backends.native.contract.pack import Packer
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.steps import Step, Walk
from fanal.backends.native.emit import Builder
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder, units_of
from fanal.core.dtypes import DType
from fanal.core.symbols import least

# Elements that one task moves at least, and the block that it moves at a time: few enough rows for
# the first level of address translation, several panels so that whole cache lines are used.
TASK_ELEMENTS = 1 << 15
BLOCK_DEPTH = 64
BLOCK_PANELS = 8


def add_pack(
    p: ProgramBuilder,
    s: Shape,
    how: str,
    source: Access,
    out: Access,
    *,
    exact: bool,
    batch: Sequence[tuple[int, int, int]],
    cols: Step,
    inner: Step,
    col_count: int,
    inner_count: int,
    panel_bytes: int,
    row_bytes: int,
) -> None:
    """Append the phase. `batch` are (extent, source step, out step), steps in bytes, at most two."""
    loops = [(1, 0, 0)] * (2 - len(batch)) + list(batch)
    panels = -(-col_count // s.width)
    depth_blocks = -(-inner_count // BLOCK_DEPTH)
    panel_blocks = -(-panels // BLOCK_PANELS)
    units = loops[0][0] * loops[1][0] * depth_blocks * panel_blocks
    one = least(inner_count, BLOCK_DEPTH) * least(col_count, BLOCK_PANELS * s.width)
    per_task = units_of(TASK_ELEMENTS, one)
    words = [units, per_task, depth_blocks, panel_blocks, loops[1][0]]
    words += [loops[0][1], loops[1][1], loops[0][2], loops[1][2]]
    words += [col_count, inner_count, panel_bytes, row_bytes, cols.bytes, inner.bytes]
    operands = [source, out] + [step.table for step in (cols, inner) if step.table is not None]
    modes = cols.mode, inner.mode
    kind = f"{s.scalar}x{s.vectors}"
    key = f"contract.pack|{kind}|{how}|{exact}|{source.dtype.name}|{modes[0]}{modes[1]}"
    kernel = Kernel(key, lambda b: _emit(b, s, how, exact, source.dtype, modes))
    p.phase(kernel, operands, words, -(-units // per_task), [out], alone=True)


def _emit(
    b: Builder, s: Shape, how: str, exact: bool, dtype: DType, modes: tuple[str, str]
) -> None:
    d = Descriptor(b, 2 + sum(mode == "t" for mode in modes))
    units, per_task, depth_blocks, panel_blocks, batch_inner = (d.word() for _ in range(5))
    steps = [d.word() for _ in range(4)]
    col_count, inner_count, panel_bytes, row_bytes = (d.word() for _ in range(4))
    table, walks = 2, []
    for mode in modes:
        pointer = d.pointer(table) if mode == "t" else None
        table += mode == "t"
        walks.append(Walk(b, mode, dtype.itemsize, d.word(), pointer))
    cols, inner = walks
    source, out = d.pointer(0), d.pointer(1)
    first = b.arg("task") * per_task
    last = first + per_task
    last = b.select(last.lt(units), last, units)
    panels = (col_count + (s.width - 1)).udiv(s.width)
    with b.loop(first, last) as (unit,):
        rest, panel_block = unit.udiv(panel_blocks), unit.urem(panel_blocks)
        batch, depth_block = rest.udiv(depth_blocks), rest.urem(depth_blocks)
        high, low = batch.udiv(batch_inner), batch.urem(batch_inner)
        base = b.at(source, high * steps[0] + low * steps[1])
        place = b.at(out, high * steps[2] + low * steps[3])
        packer = Packer(b, s, how, dtype, base, cols, inner, col_count, row_bytes, exact)
        start = depth_block * BLOCK_DEPTH
        depth = inner_count - start
        depth = b.select(depth.lt(BLOCK_DEPTH), depth, BLOCK_DEPTH)
        panel = panel_block * BLOCK_PANELS
        stop = panel + BLOCK_PANELS
        stop = b.select(stop.lt(panels), stop, panels)
        with b.loop(panel, stop) as (j,):
            packer.panel(j * s.width, start, depth, b.at(place, j * panel_bytes + start * row_bytes))
    b.ret()
