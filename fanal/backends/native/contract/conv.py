"""Convolution and its input gradient: contractions of windows with reordered weights.

    out[n, o, y] = Σ_tap Σ_c  x[n, c, y·stride − low + tap·dilation] · w[o, c, tap]

k runs over the kernel's taps (in the order of its axes, ascending), then over the channels of the
group. A tap that falls on padding contributes 0·w, as an element 0 would; one that falls on a zero
inserted by `input_dilation` is left out: outputs are computed phase by phase (`windows.py`), each
phase meeting only taps that hit elements. The input gradient is the same sum with g for x, walking
backwards over the kernel's reach but through the taps in the same order.

Windows are read where they lie, or from a copy with its padding: nothing here checks a bound inside
a loop. Either the pixels take the lanes (packed from rows of the image) or the channels do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fanal.backends.native.contract.cutting import row_cycles
from fanal.backends.native.contract.depthwise import add_depthwise, strip_for
from fanal.backends.native.contract.depthwise_last import add_depthwise_channels, fits_channels
from fanal.backends.native.contract.dims import Dim, Steps
from fanal.backends.native.contract.dot import broadcast
from fanal.backends.native.contract.element import compute_type
from fanal.backends.native.contract.finish import Epilogue
from fanal.backends.native.contract.images import padded_image
from fanal.backends.native.contract.plan import Contraction, lower, reordered
from fanal.backends.native.contract.shape import Shape, shape_for
from fanal.backends.native.contract.tables import Tables
from fanal.backends.native.contract.windows import Phase, output_extent, phases
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.core.symbols import asked, largest

Padding = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Correlation:
    """The sum above with its roles named: `rows` are the channels of `out`, `inner` those of `x`.

    `w_rows` and `w_inner` are the axes of `w` that belong to them, counts are per group.
    """

    x: Access
    w: Access
    out: Access
    w_rows: int
    w_inner: int
    rows: int
    inner: int
    groups: int
    axes: tuple[list[Phase], ...]
    epilogue: Epilogue | None

    @property
    def targets(self) -> list[Access]:
        """`out` and the epilogue's extras, seen with its shape."""
        extras = self.epilogue.extras if self.epilogue else ()
        return [self.out, *(broadcast(e, self.out.shape) for e in extras)]


def lower_conv(
    p: ProgramBuilder,
    x: Access,
    w: Access,
    out: Access,
    *,
    stride: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    input_dilation: Sequence[int],
    groups: int,
    epilogue: Epilogue | None = None,
) -> None:
    """Append out = conv(x, w). x: (N, C, *spatial), w: (O, C/groups, *kernel), out: (N, O, *spatial).

    `padding` is (low, high) an axis and may be negative; strides of the accesses say the layout.
    """
    check_shapes("conv", x.shape, w.shape, out.shape, stride, padding, dilation, input_dilation, groups)
    axes = tuple(
        phases(out.shape[2 + i], w.shape[2 + i], stride[i], padding[i][0], dilation[i], up)
        for i, up in enumerate(input_dilation)
    )
    rows, inner = w.shape[0] // groups, w.shape[1]
    lower_correlation(
        p, Correlation(x, w, out, 0, 1, rows, inner, groups, axes, epilogue)
    )


def lower_conv_input_grad(
    p: ProgramBuilder,
    g: Access,
    w: Access,
    out: Access,
    *,
    stride: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    input_dilation: Sequence[int],
    groups: int,
    epilogue: Epilogue | None = None,
) -> None:
    """Append out = ∂⟨g, conv(x, w)⟩/∂x; the attributes are the forward convolution's.

    Element i of the input lies at i·input_dilation, met by tap t of output o where
    o·stride = i·input_dilation + low − t·dilation. k runs over the taps, then the output channels.
    """
    check_shapes("conv_input_grad", out.shape, w.shape, g.shape, stride, padding, dilation,
           input_dilation, groups)  # fmt: skip
    axes = tuple(
        phases(
            out.shape[2 + i], w.shape[2 + i], input_dilation[i], -padding[i][0], -dilation[i], step
        )
        for i, step in enumerate(stride)
    )
    rows, inner = w.shape[1], w.shape[0] // groups
    lower_correlation(p, Correlation(g, w, out, 1, 0, rows, inner, groups, axes, epilogue))


def lower_correlation(p: ProgramBuilder, c: Correlation) -> None:
    """Append the phases of a correlation."""
    if 0 in c.out.shape:
        return
    scalar = compute_type(c.x.dtype, c.w.dtype)
    if scalar == "i32" and not c.out.dtype.is_floating_point:
        scalar = compute_type(c.x.dtype, c.w.dtype, c.out.dtype)
    s = shape_for(p.target, scalar)
    tables = Tables(p)
    depthwise = c.rows == 1 and c.inner == 1 and c.groups >= s.lanes
    if _by_planes(p, s, c) or _by_channels(p, s, c, tables):
        return
    pixel_lanes = pixels_take_lanes(c, s)
    if depthwise and c.x.strides[1] == 1:
        pixel_lanes = False
    deal = _deal(c) if pixel_lanes else 1
    x, origin = padded_image(p, s, c.x, c.axes, pixel_lanes, deal)
    w = _ordered_weights(p, s, c, tables, depthwise and not pixel_lanes)
    for combination in itertools.product(*c.axes):
        contraction = _contraction(c, x, w, combination, origin, deal)
        contraction = replace(contraction, ahead=(True, False))
        lower(p, contraction, tables, swap=not pixel_lanes)


def _by_planes(p: ProgramBuilder, s: Shape, c: Correlation) -> bool:
    """Depthwise sums over planes of pixels have a kernel of their own; whether it was used."""
    if c.inner != 1 or c.rows > 4 or c.x.strides[1] == 1 or not 1 <= len(c.axes) <= 3:
        return False
    combinations = list(itertools.product(*c.axes))
    strips = [strip_for(s, axes) for axes in combinations]
    if None in strips:
        return False
    steps = c.w.strides
    group = steps[0] * (c.w.shape[0] // c.groups)
    for strip, axes in zip(strips, combinations, strict=True):
        assert strip is not None
        taps = itertools.product(*([ph.tap + q * ph.tap_step for q in range(ph.taps)] for ph in axes))
        offsets = [sum(t * st for t, st in zip(tap, steps[2:], strict=True)) for tap in taps]
        places = [_every(v, axes) for v in c.targets]
        weights = (group, steps[c.w_rows], offsets)
        add_depthwise(p, s, strip, c.x, c.w, places, c.rows, weights, c.epilogue)
    return True


def _by_channels(p: ProgramBuilder, s: Shape, c: Correlation, tables: Tables) -> bool:
    """Depthwise sums over channels-last images have one, too."""
    if c.inner != 1 or c.rows != 1 or c.x.strides[1] != 1 or not 1 <= len(c.axes) <= 3:
        return False
    combinations = list(itertools.product(*c.axes))
    if not all(fits_channels(s, c.x, c.targets, axes) for axes in combinations):
        return False
    w = c.w if c.w.strides[0] == 1 else _ordered_weights(p, s, c, tables, depthwise=True)
    for axes in combinations:
        places = [_every(v, axes) for v in c.targets]
        add_depthwise_channels(p, s, c.x, w, places, axes, c.epilogue)
    return True


def _every(v: Access, axes: Sequence[Phase]) -> Access:
    """The elements of an output that belong to one phase of every axis."""
    spatial = list(zip(axes, v.strides[2:], strict=True))
    first = sum(ph.first * step for ph, step in spatial)
    return replace(
        moved(v, first),
        shape=(*v.shape[:2], *(ph.count for ph in axes)),
        strides=(*v.strides[:2], *(ph.period * step for ph, step in spatial)),
    )


def _deal(c: Correlation) -> int:
    """The stride along the last axis, where rows are better dealt out by it than read with it."""
    strides = {ph.step for ph in c.axes[-1] if ph.taps}
    taps = max(ph.taps for ph in c.axes[-1])
    worth = taps > 1 and c.x.strides[-1] == 1 and len(strides) == 1
    return strides.pop() if worth else 1


def _dealt(x: Access, phase: Phase, origin: int, deal: int) -> tuple[int, tuple[int, ...]]:
    """Where the first tap meets a dealt row, and how far from there the others do."""
    share = x.shape[-1] // deal
    places = [phase.start + origin + q * phase.reach for q in range(phase.taps)]
    places = [at % deal * share + at // deal for at in places]
    return places[0], tuple(at - places[0] for at in places)


def _contraction(
    c: Correlation,
    x: Access,
    w: Access,
    axes: Sequence[Phase],
    origin: Sequence[int],
    deal: int,
) -> Contraction:
    """One phase: weights are a (rows), windows of x are b (columns)."""
    outs = c.targets

    def along(axis: int, times: int = 1) -> tuple[int, ...]:
        return tuple(v.strides[axis] * times for v in outs)

    still = (0,) * len(outs)
    groups = Dim(
        c.groups,
        (
            w.strides[0] * (w.shape[0] // c.groups),
            x.strides[1] * c.inner,
            *along(1, c.rows),
        ),
    )
    rows = Dim(c.rows, (w.strides[c.w_rows], 0, *along(1)))
    cols = [Dim(x.shape[0], (0, x.strides[0], *along(0)))]
    inner = []
    offsets = [0, *([0] * len(outs))]
    start_w = start_x = 0
    reach: Steps
    for i, phase in enumerate(axes):
        sw, sx = w.strides[2 + i], x.strides[2 + i]
        step, reach = phase.step * sx, phase.reach * sx
        start_w += phase.tap * sw
        if deal > 1 and i == len(axes) - 1 and phase.taps:
            first, reach = _dealt(x, phase, origin[i], deal)
            step = 1
            start_x += first
        elif phase.taps:
            start_x += (phase.start + origin[i]) * sx
        cols.append(Dim(phase.count, (0, step, *along(2 + i, phase.period))))
        inner.append(Dim(phase.taps, (phase.tap_step * sw, reach, *still)))
        for n, v in enumerate(outs):
            offsets[n] += phase.first * v.strides[2 + i]
    inner.append(Dim(c.inner, (w.strides[c.w_inner], x.strides[1], *still)))
    operands = (
        moved(w, start_w),
        moved(x, start_x),
        *(moved(v, offsets[n]) for n, v in enumerate(outs)),
    )
    return Contraction(operands, (groups,), (rows,), tuple(cols), tuple(inner), c.epilogue)


def moved(v: Access, elements: int) -> Access:
    return replace(v, offset=v.offset + elements * v.dtype.itemsize)


def _ordered_weights(
    p: ProgramBuilder, s: Shape, c: Correlation, tables: Tables, depthwise: bool
) -> Access:
    """Weights with their inner channel as the fastest axis, k in order, in compute type.

    Weights that lie so (1×1 kernels, channels-last ones) are read as they are. Depthwise ones that
    meet channels on the lanes have their channels as the fastest axis instead.
    """
    w = c.w
    if depthwise:
        return reordered(p, s, w, (*range(1, len(w.shape)), 0), tables)
    if w.strides[c.w_inner] == 1 or w.shape[c.w_inner] == 1 or 0 in w.shape:
        return w
    spatial = tuple(range(2, len(w.shape)))
    return reordered(p, s, w, (c.w_rows, *spatial, c.w_inner), tables)


def pixels_take_lanes(c: Correlation, s: Shape) -> bool:
    """Whether pixels rather than channels go along the vectors: an estimate of both costs a k."""
    if c.rows >= s.lanes and c.x.strides[1] == c.out.strides[1] == 1:
        return False
    pixels = c.x.shape[0] * math.prod(largest(*(ph.count for ph in axis)) for axis in c.axes)
    return asked(
        _pixels_are_cheaper, s, c.rows, pixels, c.inner * math.prod(c.w.shape[2:]),
        c.x.strides[-1] == 1, c.w.strides[c.w_inner] == 1, c.out.strides[-1] == 1, c.out.strides[1] == 1,
    )  # fmt: skip


def _pixels_are_cheaper(
    s: Shape, rows: int, pixels: int, terms: int, unit: bool, dense: bool, stored_by_pixel: bool,
    stored_by_row: bool,
) -> bool:  # fmt: skip
    """`unit`, `dense`: whether neighbouring pixels of the input and inner channels of the weights are
    neighbours; `stored_by_…`: whether those of the output are."""
    pixel_panels, row_panels = -(-pixels // s.width), -(-rows // s.width)
    fill = (2.5 if unit else 5.0) * -(-rows // 192)
    pixel_cost = pixel_panels * (row_cycles(s, rows) + fill)
    row_cost = row_panels * row_cycles(s, pixels) + rows * (0.3 if dense else 1.0)
    store = rows * pixels / max(1, terms)
    pixel_cost += store * (0.3 if stored_by_pixel else 2.0)
    row_cost += store * (0.3 if stored_by_row else 2.0)
    return pixel_cost <= row_cost


def check_shapes(
    op: str,
    x: tuple[int, ...],
    w: tuple[int, ...],
    out: tuple[int, ...],
    stride: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    input_dilation: Sequence[int],
    groups: int,
) -> None:
    """Shapes that do not belong together are a mistake of the caller's, not of the user's."""
    spatial = tuple(
        output_extent(x[2 + i], w[2 + i], stride[i], *padding[i], dilation[i], input_dilation[i])
        for i in range(len(x) - 2)
    )
    expected = (x[0], w[0], *spatial)
    if out != expected or x[1] != w[1] * groups or w[0] % groups:
        raise ValueError(
            f"[{op}] shapes do not belong together: got x {x}, w {w}, out {out} with groups="
            f"{groups}; expected out {expected}."
        )
