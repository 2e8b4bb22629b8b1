"""A 3×3 convolution as phases: kernels and windows transformed, one product a point, and back.

Each is a phase, whose tasks are tiles or points: all values between them lie in memory, for an image or a few
in the second cache. Of many tiles a block at a time goes through all steps (`blocks.py`). Sums and transforms are the
same, and so are all bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fanal.backends.native.contract.dot import broadcast
from fanal.backends.native.contract.finish import Epilogue
from fanal.backends.native.contract.images import image_of_pixels
from fanal.backends.native.contract.shape import Shape, shape_for
from fanal.backends.native.contract.winograd.blocks import add_blocks, rows_of_block
from fanal.backends.native.contract.winograd.inputs import Grid, add_inputs
from fanal.backends.native.contract.winograd.outputs import add_outputs
from fanal.backends.native.contract.winograd.products import add_products
from fanal.backends.native.contract.winograd.weights import add_weights
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.core.dtypes import float32
from fanal.ops.winograd import tiles

# Bytes apart at which rows begin to share sets.
_FAR = 1024


def lower_winograd(
    p: ProgramBuilder,
    x: Access,
    w: Access,
    out: Access,
    *,
    padding: Sequence[tuple[int, int]],
    tile: int,
    epilogue: Epilogue | None = None,
) -> None:
    """Append out = conv(x, w), stride 1, in float32. x: (N, C, H, W), w: (O, C, 3, 3), out: (N, O, H', W')."""
    if 0 in out.shape:
        return
    s = shape_for(p.target, "float")
    if out.shape[1] <= s.lanes:
        s = replace(s, vectors=1)
    (low, _), (left, _) = padding
    grid = Grid(out.shape[0], tiles(out.shape[2], tile), tiles(out.shape[3], tile), tile, (low, left))
    extras = [broadcast(e, out.shape) for e in epilogue.extras] if epilogue else []
    x, _ = image_of_pixels(p, s, x, ())
    kernels = add_weights(p, s, w, tile)
    inner, outer = x.shape[1], out.shape[1]
    rows = rows_of_block(s, grid, inner, outer)
    shapes = [_planes(s, grid, rows or grid.count, n, unit) for n, unit in ((inner, s.lanes), (outer, s.width))]
    if rows:
        add_blocks(p, s, x, kernels, grid, rows, shapes, [out, *extras], epilogue)
        return
    windows, products = (
        replace(v, buffer=p.temp(grid.points * v.strides[0] * s.itemsize)) for v in shapes
    )
    add_inputs(p, s, x, grid, windows)
    add_products(p, s, windows, kernels, products)
    add_outputs(p, replace(s, vectors=1), products, grid, [out, *extras], epilogue)


def _planes(s: Shape, grid: Grid, count: int, channels: int, unit: int) -> Access:
    """How a value of every point, tile and channel lies (in no memory yet), in rows of whole units of
    channels.

    Rows and planes a power of two apart would share few sets of the first cache: they are a line longer.
    """
    pitch = -(-channels // unit) * unit
    if pitch * s.itemsize % _FAR == 0:
        pitch += s.lanes
    return Access(-1, float32, (grid.points, count, channels), (count * pitch + s.lanes, pitch, 1))
