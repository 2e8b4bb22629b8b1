"""All three steps for a block of tiles at a time, in scratch memory that stays in the second cache.

Where tiles are many (large images, batches) and the transformed kernels few, this saves the way to memory
and back of all that is transformed. A task goes through some blocks, with scratch of its own: there are
fewer tasks than blocks, and so less memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fanal.backends.native.contract.finish import Epilogue
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.winograd.inputs import Grid, Windows, task_range, window_words
from fanal.backends.native.contract.winograd.outputs import Form, Tiles, tile_words
from fanal.backends.native.contract.winograd.products import Panels, Products, product_words
from fanal.backends.native.emit import Builder
from fanal.backends.native.program import Access, Descriptor, Kernel, ProgramBuilder
from fanal.core.symbols import asked, chosen

# Bytes of a block's scratch and of the kernels that it meets, together less than a second cache.
_SCRATCH, _KERNELS = 3 << 18, 5 << 18
# Tasks at most, blocks to aim at, and register tiles that one has at least.
_TASKS, _BLOCKS, _FEW = 16, 8, 2


def rows_of_block(s: Shape, grid: Grid, inner: int, outer: int) -> int:
    """How many tiles a block has; 0 where steps that are phases of their own are better."""
    given = s, grid.points, grid.count, inner, outer
    return chosen(_rows, *given) if asked(_in_blocks, *given) else 0


def _in_blocks(s: Shape, points: int, count: int, inner: int, outer: int) -> bool:
    small = points * inner * outer * s.itemsize <= _KERNELS and _most(s, points, inner, outer) >= _FEW
    return small and count > (_BLOCKS - 2) * _rows(s, points, count, inner, outer)


def _rows(s: Shape, points: int, count: int, inner: int, outer: int) -> int:
    high = min(_most(s, points, inner, outer), -(-count // (_BLOCKS * s.rows)))
    return max(high, _FEW) * s.rows


def _most(s: Shape, points: int, inner: int, outer: int) -> int:
    """How many times the height of a register tile the scratch has room for."""
    return _SCRATCH // (points * (inner + outer) * s.itemsize) // s.rows


def add_blocks(
    p: ProgramBuilder, s: Shape, x: Access, kernels: Panels, grid: Grid, rows: int,
    planes: Sequence[Access], outs: Sequence[Access], epilogue: Epilogue | None,
) -> None:  # fmt: skip
    """Append the phase. `planes` are a block's windows and products, each in scratch memory of one task."""
    windows, products = planes
    blocks = -(-grid.count // rows)
    per_task = -(-blocks // _TASKS)
    tasks = -(-blocks // per_task)
    narrow = replace(s, vectors=1)
    form = Form.of(outs, epilogue)
    sizes = [grid.points * v.strides[0] * s.itemsize for v in planes]
    scratch = [Access(p.temp(size * tasks), v.dtype, (), ()) for size, v in zip(sizes, planes, strict=True)]

    def emit(b: Builder) -> None:
        d = Descriptor(b, 4 + len(outs))
        first, last = task_range(b, d)
        count, height = d.word(), d.word()
        places = [b.at(d.pointer(2 + n), b.arg("task") * d.word()) for n in range(2)]
        points = d.word()
        inputs = Windows(b, narrow, grid.tile, d)
        multiply = Products(b, s, d)
        back = Tiles(b, narrow, grid.tile, form, d)
        images, right = d.pointer(0), d.pointer(1)
        targets = [d.pointer(4 + n) for n in range(len(outs))]
        with b.loop(first, last) as (block,):
            begin = block * height
            end = begin + height
            end = b.select(end.lt(count), end, count)
            inputs.run(images, begin, end, places[0])
            with b.loop(0, points) as (point,):
                multiply.run(places[0], right, places[1], point, b.i64(0), end - begin)
            back.run(places[1], begin, end, targets)
        b.ret()

    words = [blocks, per_task, grid.count, rows, *sizes, grid.points]
    words += window_words(s, x, grid, windows)
    words += product_words(s, windows, kernels, products)
    words += tile_words(s, products, grid, outs, epilogue)
    kernel = Kernel(f"contract.winograd.blocks|{s.key}|{grid.tile}|{form.key}", emit)
    operands = [x, kernels.access, *scratch, *outs]
    p.phase(kernel, operands, words, tasks, [*scratch, outs[0]])
