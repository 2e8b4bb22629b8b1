"""A 3×3 convolution as phases: kernels and windows transformed, one product a point, and back.

The products of all points are one batched contraction over the channels, tile by tile: its order of
additions is that of any contraction, so no bit depends on the batch or on threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fanal.backends.native.contract.dims import Dim
from fanal.backends.native.contract.dot import broadcast
from fanal.backends.native.contract.finish import Epilogue
from fanal.backends.native.contract.images import image_of_pixels
from fanal.backends.native.contract.plan import Contraction, lower
from fanal.backends.native.contract.shape import Shape, shape_for
from fanal.backends.native.contract.winograd.inputs import Grid, add_inputs
from fanal.backends.native.contract.winograd.outputs import add_outputs
from fanal.backends.native.contract.winograd.weights import add_weights
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.core.dtypes import float32
from fanal.ops.winograd import tiles


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
    s = replace(shape_for(p.target, "float"), vectors=1)
    (low, _), (left, _) = padding
    grid = Grid(out.shape[0], tiles(out.shape[2], tile), tiles(out.shape[3], tile), tile, (low, left))
    extras = [broadcast(e, out.shape) for e in epilogue.extras] if epilogue else []
    x, _ = image_of_pixels(p, s, x, ())
    kernels = add_weights(p, s, w, tile)
    windows = _planes(p, s, grid, x.shape[1])
    products = _planes(p, s, grid, out.shape[1])
    add_inputs(p, s, x, grid, windows)
    lower(p, _products(windows, kernels, products), swap=False)
    add_outputs(p, s, products, grid, [out, *extras], epilogue)


def _planes(p: ProgramBuilder, s: Shape, grid: Grid, channels: int) -> Access:
    """Room for a value of every point, tile and channel; whole vectors of channels may be read."""
    pitch = -(-channels // s.lanes) * s.lanes
    # One line more than the tiles: planes a power of two apart would share few sets of the first cache.
    plane = grid.count * pitch + 16
    buffer = p.temp(grid.points * plane * 4)
    shape = (grid.points, grid.count, channels)
    return Access(buffer, float32, shape, (plane, pitch, 1))


def _products(windows: Access, kernels: Access, out: Access) -> Contraction:
    points, count, inner = windows.shape
    outer = kernels.shape[2]

    def dim(extent: int, a: int, b: int, c: int) -> tuple[Dim, ...]:
        return (Dim(extent, (a, b, c)),)

    return Contraction(
        (windows, kernels, out),
        batch=dim(points, windows.strides[0], kernels.strides[0], out.strides[0]),
        rows=dim(count, windows.strides[1], 0, out.strides[1]),
        cols=dim(outer, 0, 1, 1),
        inner=dim(inner, 1, kernels.strides[1], 0),
    )
