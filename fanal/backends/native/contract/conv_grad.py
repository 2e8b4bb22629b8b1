"""The weight gradient of a convolution: a contraction over all output pixels of all images.

    out[o, c, tap] = Σ_n Σ_y  g[n, o, y] · x[n, c, y·stride − low + tap·dilation]

k runs over the images, then over the output pixels in the order of their axes, cut into blocks like
every other sum; windows that reach into the padding contribute g·0. With an input dilation the taps
fall into phases, each meeting only the outputs that hit elements (`windows.py`, roles exchanged).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from fanal.backends.native.contract.conv import Padding, check_shapes, moved
from fanal.backends.native.contract.dims import Dim
from fanal.backends.native.contract.dot import broadcast
from fanal.backends.native.contract.finish import Epilogue
from fanal.backends.native.contract.images import image_of_pixels, padded_image
from fanal.backends.native.contract.plan import Contraction, better_swapped, contraction_type, lower
from fanal.backends.native.contract.shape import shape_for
from fanal.backends.native.contract.tables import Tables
from fanal.backends.native.contract.windows import Phase, phases
from fanal.backends.native.program import Access, ProgramBuilder

WIDE = 8  # panels of output channels from which on the gradient is packed ahead


def lower_conv_weight_grad(
    p: ProgramBuilder,
    x: Access,
    g: Access,
    out: Access,
    *,
    stride: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
    input_dilation: Sequence[int],
    groups: int,
    epilogue: Epilogue | None = None,
) -> None:
    """Append out = ∂⟨g, conv(x, w)⟩/∂w; the attributes are the forward convolution's.

    x: (N, C, *spatial), g: (N, O, *out spatial), out: (O, C/groups, *kernel).
    """
    check_shapes("conv_weight_grad", x.shape, out.shape, g.shape, stride, padding, dilation,
                 input_dilation, groups)  # fmt: skip
    if 0 in out.shape:
        return
    axes = tuple(
        phases(out.shape[2 + i], g.shape[2 + i], dilation[i], padding[i][0], stride[i], up)
        for i, up in enumerate(input_dilation)
    )
    tables = Tables(p)
    whole = _contraction(x, g, out, axes_of_first(axes), [0] * len(axes), groups, epilogue)
    s = shape_for(p.target, contraction_type(whole))
    channels_last = x.strides[1] == g.strides[1] == 1
    # g is packed once where it is wide enough to be read from memory for every block of windows.
    wide = channels_last and out.shape[0] // groups >= WIDE * s.width
    swap = not wide if channels_last else better_swapped(whole, s)
    if groups >= s.lanes and groups == out.shape[0] and out.shape[1] == 1:
        # Depthwise: the channels take the lanes, so that all taps of eight advance together.
        image, origin = image_of_pixels(p, s, x, axes)
        g, _ = image_of_pixels(p, s, g, ())
    else:
        image, origin = padded_image(p, s, x, axes, pixel_lanes=swap)
    for combination in itertools.product(*axes):
        contraction = _contraction(image, g, out, combination, origin, groups, epilogue)
        lower(p, replace(contraction, ahead=(False, wide)), tables, swap)


def axes_of_first(axes: Sequence[Sequence[Phase]]) -> list[Phase]:
    """The first phase of every axis, as an example of them all."""
    return [axis[0] for axis in axes]


def _contraction(
    x: Access,
    g: Access,
    out: Access,
    axes: Sequence[Phase],
    origin: Sequence[int],
    groups: int,
    epilogue: Epilogue | None,
) -> Contraction:
    """One phase of the taps: windows of x are a (rows), g is b (columns)."""
    extras = epilogue.extras if epilogue else ()
    outs = [out, *(broadcast(e, out.shape) for e in extras)]

    def along(axis: int, times: int = 1) -> tuple[int, ...]:
        return tuple(v.strides[axis] * times for v in outs)

    still = (0,) * len(outs)
    outer, channels = out.shape[0] // groups, out.shape[1]
    batch = Dim(groups, (x.strides[1] * channels, g.strides[1] * outer, *along(0, outer)))
    rows = []
    inner = [Dim(x.shape[0], (x.strides[0], g.strides[0], *still))]
    offsets, start_g, start_x = [0] * len(outs), 0, 0
    for i, phase in enumerate(axes):
        sx, sg = x.strides[2 + i], g.strides[2 + i]
        rows.append(Dim(phase.count, (phase.step * sx, 0, *along(2 + i, phase.period))))
        inner.append(Dim(phase.taps, (phase.reach * sx, phase.tap_step * sg, *still)))
        start_g += phase.tap * sg
        start_x += (phase.start + origin[i]) * sx if phase.taps else 0
        for n, v in enumerate(outs):
            offsets[n] += phase.first * v.strides[2 + i]
    channel = Dim(channels, (x.strides[1], 0, *along(1)))
    # Neighbours in memory are neighbouring rows.
    rows = [*rows, channel] if x.strides[1] == 1 else [channel, *rows]
    cols = Dim(outer, (0, g.strides[1], *along(0)))
    operands = (
        moved(x, start_x),
        moved(g, start_g),
        *(moved(v, offsets[n]) for n, v in enumerate(outs)),
    )
    return Contraction(operands, (batch,), tuple(rows), (cols,), tuple(inner), epilogue)
