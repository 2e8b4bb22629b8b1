"""Convolution and its two gradients: three bilinear primitives that are one another's transposes.

y[n, o, p] = Σ over c, k of x[n, c, p·stride + k·dilation - low] · w[o, c, k], channels in groups.
`conv` is linear in x and in w; its transpose in x is `conv_input_grad` (the transposed convolution
of deep learning), in w it is `conv_weight_grad`; the transposes of those are again of the three.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.layout import in_front, move_axis, reshape_p
from fanal.ops.primitive import NUMBERS, Primitive, check_dtype

Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def output_extents(spatial: Ints, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints) -> Ints:
    """Spatial extents of a convolution's result; raises where the kernel does not fit."""
    out = []
    for n, k, s, (low, high), d in zip(spatial, kernel, stride, padding, dilation, strict=True):
        reach = d * (k - 1) + 1
        if n + low + high < reach:
            raise RuntimeError(
                message(
                    "conv", "the kernel is larger than the padded input",
                    f"kernel reach {reach}, padded extent {n + low + high}",
                    hint="more padding, or a smaller kernel or dilation",
                )
            )
        out.append((n + low + high - reach) // s + 1)
    return tuple(out)


def _check(name: str, a: Value, b: Value) -> None:
    check_dtype(name, a.dtype, NUMBERS)
    if a.dtype is not b.dtype:
        raise RuntimeError(message(name, "dtypes differ", f"{a.dtype!r} and {b.dtype!r}"))


def _conv_infer(
    x: Value, w: Value, *, stride: Ints, padding: Pads, dilation: Ints, groups: int
) -> list[Type]:
    _check("conv", x, w)
    if x.ndim != w.ndim or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise RuntimeError(
            message(
                "conv", "channels don't fit",
                f"input {x.shape}, weight {w.shape}, groups {groups}",
                f"an input with {w.shape[1] * groups} channels",
            )
        )
    spatial = output_extents(x.shape[2:], w.shape[2:], stride, padding, dilation)
    return [Type(x.dtype, (x.shape[0], w.shape[0], *spatial))]


def _windows(x: Any, kernel: Ints, out: Ints, stride: Ints, padding: Pads, dilation: Ints) -> Any:
    """For each kernel offset: the elements of padded x that it meets, shape (n, c, *out)."""
    widths = [(max(low, 0), max(high, 0)) for low, high in padding]
    padded = np.pad(x, [(0, 0), (0, 0), *widths])
    crop = tuple(slice(max(-low, 0), None) for low, _ in padding)
    padded = padded[(slice(None), slice(None), *crop)]
    for offset in itertools.product(*(range(k) for k in kernel)):
        place = tuple(
            slice(o * d, o * d + (m - 1) * s + 1, s)
            for o, d, m, s in zip(offset, dilation, out, stride, strict=True)
        )
        yield offset, padded, (slice(None), slice(None), *place)


def _conv_reference(
    x: Any, w: Any, *, stride: Ints, padding: Pads, dilation: Ints, groups: int
) -> Any:
    out = output_extents(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y = np.zeros((x.shape[0], groups, w.shape[0] // groups, *out), x.dtype)
    wg = w.reshape(groups, -1, *w.shape[1:])
    for offset, padded, place in _windows(x, w.shape[2:], out, stride, padding, dilation):
        part = padded[place].reshape(x.shape[0], groups, -1, *out)
        y += np.einsum("ngc...,goc->ngo...", part, wg[(Ellipsis, *offset)])
    return y.reshape(x.shape[0], w.shape[0], *out)


def _input_infer(
    g: Value, w: Value, *, shape: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int
) -> list[Type]:
    _check("conv_input_grad", g, w)
    expected = output_extents(shape, w.shape[2:], stride, padding, dilation)
    if g.shape[1:] != (w.shape[0], *expected):
        raise RuntimeError(
            message("conv_transpose", "shapes don't fit", f"{g.shape} and {w.shape}", str(expected))
        )
    return [Type(g.dtype, (g.shape[0], w.shape[1] * groups, *shape))]


def _input_reference(
    g: Any, w: Any, *, shape: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int
) -> Any:
    n, out = g.shape[0], g.shape[2:]
    x = np.zeros((n, w.shape[1] * groups, *shape), g.dtype)
    total = None
    gg = g.reshape(n, groups, -1, *out)
    wg = w.reshape(groups, -1, *w.shape[1:])
    for offset, padded, place in _windows(x, w.shape[2:], out, stride, padding, dilation):
        total = np.zeros_like(padded) if total is None else total
        part = np.einsum("ngo...,goc->ngc...", gg, wg[(Ellipsis, *offset)])
        total[place] += part.reshape(n, -1, *out)
    keep = tuple(
        slice(max(low, 0), max(low, 0) + m - max(-low, 0))
        for (low, _), m in zip(padding, shape, strict=True)
    )
    begin = tuple(slice(max(-low, 0), None) for low, _ in padding)
    if total is not None:
        inner = total[(slice(None), slice(None), *keep)]
        target = x[(slice(None), slice(None), *begin)]
        fit = tuple(slice(0, min(a, b)) for a, b in zip(inner.shape, target.shape, strict=True))
        target[fit] = inner[fit]
    return x


def _weight_infer(
    x: Value, g: Value, *, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int
) -> list[Type]:
    _check("conv_weight_grad", x, g)
    return [Type(x.dtype, (g.shape[1], x.shape[1] // groups, *kernel))]


def _weight_reference(
    x: Any, g: Any, *, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int
) -> Any:
    n, out = x.shape[0], g.shape[2:]
    w = np.zeros((groups, g.shape[1] // groups, x.shape[1] // groups, *kernel), x.dtype)
    gg = g.reshape(n, groups, -1, *out)
    for offset, padded, place in _windows(x, kernel, out, stride, padding, dilation):
        part = padded[place].reshape(n, groups, -1, *out)
        w[(Ellipsis, *offset)] = np.einsum(
            "ngcx,ngox->goc", part.reshape(*part.shape[:3], -1), gg.reshape(*gg.shape[:3], -1)
        )
    return w.reshape(g.shape[1], -1, *kernel)


def _bilinear_jvp(primitive: Primitive) -> Any:
    def jvp(tangents: Any, inputs: Any, outputs: Any, **attributes: Any) -> Any:
        a, b = inputs
        total = None
        for pair in ((tangents[0], b), (a, tangents[1])):
            if pair[0] is not None and pair[1] is not None:
                term = bind(primitive, *pair, **attributes)
                total = term if total is None else total + term
        return total

    return jvp


def _conv_transpose(ct: Value, inputs: Any, linear: Any, **at: Any) -> Any:
    x, w = inputs
    return [
        bind(conv_input_grad_p, ct, w, shape=x.shape[2:], **at) if linear[0] else None,
        bind(conv_weight_grad_p, x, ct, kernel=w.shape[2:], **at) if linear[1] else None,
    ]


def _input_transpose(ct: Value, inputs: Any, linear: Any, *, shape: Ints, **at: Any) -> Any:
    g, w = inputs
    return [
        bind(conv_p, ct, w, **at) if linear[0] else None,
        bind(conv_weight_grad_p, ct, g, kernel=w.shape[2:], **at) if linear[1] else None,
    ]


def _weight_transpose(ct: Value, inputs: Any, linear: Any, *, kernel: Ints, **at: Any) -> Any:
    x, g = inputs
    return [
        bind(conv_input_grad_p, g, ct, shape=x.shape[2:], **at) if linear[0] else None,
        bind(conv_p, x, ct, **at) if linear[1] else None,
    ]


def _merged(x: Value, dim: int) -> Value:
    """A leading batch axis merged into dimension `dim` of what follows it."""
    x = move_axis(x, 0, dim)
    shape = (*x.shape[:dim], x.shape[dim] * x.shape[dim + 1], *x.shape[dim + 2 :])
    return bind(reshape_p, x, shape=shape)


def _split(y: Value, dim: int, size: int) -> Value:
    shape = (*y.shape[:dim], size, y.shape[dim] // size, *y.shape[dim + 1 :])
    return bind(reshape_p, y, shape=shape)


def _conv_batch(inputs: Any, axes: Any, size: int, **at: Any) -> Any:
    """A batch of convolutions is one with as many times the groups (or a larger batch)."""
    if axes[1] is None:
        y = bind(conv_p, _merged(in_front(inputs[0], axes[0], size), 0), inputs[1], **at)
        return _split(y, 0, size), 0
    x, w = (in_front(v, a, size) for v, a in zip(inputs, axes, strict=True))
    at = {**at, "groups": at["groups"] * size}
    y = bind(conv_p, _merged(x, 1), _merged(w, 0), **at)
    return _split(y, 1, size), 1


def _input_batch(inputs: Any, axes: Any, size: int, **at: Any) -> Any:
    if axes[1] is None:
        y = bind(conv_input_grad_p, _merged(in_front(inputs[0], axes[0], size), 0), inputs[1], **at)
        return _split(y, 0, size), 0
    g, w = (in_front(v, a, size) for v, a in zip(inputs, axes, strict=True))
    at = {**at, "groups": at["groups"] * size}
    y = bind(conv_input_grad_p, _merged(g, 1), _merged(w, 0), **at)
    return _split(y, 1, size), 1


def _weight_batch(inputs: Any, axes: Any, size: int, **at: Any) -> Any:
    x, g = (in_front(v, a, size) for v, a in zip(inputs, axes, strict=True))
    at = {**at, "groups": at["groups"] * size}
    w = bind(conv_weight_grad_p, _merged(x, 1), _merged(g, 1), **at)
    return _split(w, 0, size), 0


_FIELDS: dict[str, Any] = {"kind": "conv", "dtypes": NUMBERS}
conv_p = Primitive(
    name="conv", infer=_conv_infer, reference=_conv_reference, transpose=_conv_transpose,
    batch=_conv_batch, doc="n-dimensional convolution (cross-correlation): (N, C, …), (O, C/g, …).",
    **_FIELDS,
)  # fmt: skip
conv_input_grad_p = Primitive(
    name="conv_input_grad", infer=_input_infer, reference=_input_reference,
    transpose=_input_transpose, batch=_input_batch,
    doc="The gradient of conv in its input, of spatial extents `shape`.", **_FIELDS,
)  # fmt: skip
conv_weight_grad_p = Primitive(
    name="conv_weight_grad", infer=_weight_infer, reference=_weight_reference,
    transpose=_weight_transpose, batch=_weight_batch,
    doc="The gradient of conv in its weight, of spatial extents `kernel`.", **_FIELDS,
)  # fmt: skip
for _p in (conv_p, conv_input_grad_p, conv_weight_grad_p):
    _p.jvp = _bilinear_jvp(_p)
