"""Convolution and its gradients, as ONNX's Conv and ConvTranspose.

ONNX convolves floating numbers only; integers are windows and contractions (`formulas`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.symbols import is_symbolic
from fanal.export.onnx.formulas import (
    conv_input_grad_of_integers,
    conv_of_integers,
    conv_weight_grad_of_integers,
)
from fanal.export.onnx.layout import padded, sliced, transposed
from fanal.export.onnx.records import Ref
from fanal.export.onnx.registry import rule
from fanal.export.onnx.writer import Writer


def floating(w: Writer, *xs: Ref) -> list[Ref]:
    """Operands in a dtype that ONNX convolves in."""
    wide = dtypes.float32 if xs[0].dtype is dtypes.bfloat16 else xs[0].dtype
    return [w.cast(w.whole(x), wide) for x in xs]


def cropped(w: Writer, x: Ref, padding: Any) -> tuple[Ref, list[tuple[Any, Any]]]:
    """What negative paddings cut off, cut off, and the paddings that are left."""
    if all(is_symbolic(n) or n >= 0 for pair in padding for n in pair):
        return x, list(padding)
    low = [0, 0, *(min(a, 0) for a, _ in padding)]
    high = [0, 0, *(min(b, 0) for _, b in padding)]
    shape = [n + a + b for n, a, b in zip(x.shape, low, high, strict=True)]
    y = padded(w, x, low, high, (0,) * x.ndim, 0, shape)
    return y, [(max(a, 0), max(b, 0)) for a, b in padding]


def conv(w: Writer, at: Any, x: Ref, weight: Ref, shape: Sequence[Any], bias: Ref | None = None) -> Ref:
    """A convolution, perhaps with a vector that is added to its channels."""
    dtype = x.dtype
    x, weight, *more = floating(w, x, weight, *([] if bias is None else [bias]))
    x, padding = cropped(w, x, at["padding"])
    y = w.op(
        "Conv", [x, weight, *more], x.dtype, shape,
        strides=tuple(at["stride"]), dilations=tuple(at["dilation"]), group=at["groups"],
        pads=(*(a for a, _ in padding), *(b for _, b in padding)),
    )  # fmt: skip
    return w.cast(y, dtype)


@rule("conv_winograd")
def _winograd(w: Writer, node: Any, x: Ref, weight: Ref) -> Ref:
    """What it computes; by which products is up to the runtime."""
    at = {
        "stride": (1, 1), "dilation": (1, 1), "groups": 1, "padding": node.attributes["padding"],
    }  # fmt: skip
    return conv(w, at, x, weight, node.outputs[0].shape)


@rule("conv")
def _conv(w: Writer, node: Any, x: Ref, weight: Ref) -> Ref:
    if x.dtype.kind != "f":
        return conv_of_integers(w, node, x, weight)
    return conv(w, node.attributes, x, weight, node.outputs[0].shape)


@rule("conv_input_grad")
def _input_grad(w: Writer, node: Any, g: Ref, weight: Ref) -> Ref:
    if g.dtype.kind != "f":
        return conv_input_grad_of_integers(w, node, g, weight)
    return conv_transpose(w, node, g, weight)


def missing(node: Any) -> tuple[int, ...] | None:
    """What ONNX's ConvTranspose has to add at the ends to give the image's extents; None where it can't:
    there the whole reach of the windows is made, and the image cut from it."""
    g, weight = node.inputs
    at = node.attributes
    rows = zip(at["shape"], g.shape[2:], weight.shape[2:], at["stride"], at["dilation"], at["padding"], strict=True)
    found = []
    for n, m, k, s, d, (a, b) in rows:
        short = n + a + b - _reach(m, k, s, d)
        if type(short) is not int or not 0 <= short < s or is_symbolic(a) or is_symbolic(b) or min(a, b) < 0:
            return None
        found.append(short)
    return tuple(found)


def _reach(m: Any, k: Any, s: int, d: int) -> Any:
    """The extent that m windows cover."""
    return (m - 1) * s + d * (k - 1) + 1


def conv_transpose(w: Writer, node: Any, g: Ref, weight: Ref, bias: Ref | None = None) -> Ref:
    """The gradient of a convolution in its input. A bias needs that nothing is `missing`."""
    at, shape, dtype = node.attributes, node.outputs[0].shape, g.dtype
    strides, dilations, padding = at["stride"], at["dilation"], at["padding"]
    g, weight, *more = floating(w, g, weight, *([] if bias is None else [bias]))
    same = {"strides": tuple(strides), "dilations": tuple(dilations), "group": at["groups"]}
    short = missing(node)
    if short is not None:
        y = w.op(
            "ConvTranspose", [g, weight, *more], g.dtype, shape, **same, output_padding=short,
            pads=(*(a for a, _ in padding), *(b for _, b in padding)),
        )  # fmt: skip
        return w.cast(y, dtype)
    assert bias is None
    full = [_reach(*row) for row in zip(g.shape[2:], weight.shape[2:], strides, dilations, strict=True)]
    y = w.op("ConvTranspose", [g, weight], g.dtype, [*shape[:2], *full], **same)
    low = [0, 0, *(-a for a, _ in padding)]
    high = [0, 0, *(n + a - f for n, f, (a, _) in zip(at["shape"], full, padding, strict=True))]
    return w.cast(padded(w, y, low, high, (0,) * y.ndim, 0, shape), dtype)


@rule("conv_weight_grad")
def _weight_grad(w: Writer, node: Any, x: Ref, g: Ref) -> Ref:
    """A convolution of the images by the gradients as kernels: channels are its batch, the batch its
    channels, steps and gaps change places. What lies behind the kernel's reach is cut off."""
    if g.dtype.kind != "f":
        return conv_weight_grad_of_integers(w, node, x, g)
    at, dtype = node.attributes, x.dtype
    groups, kernel = at["groups"], at["kernel"]
    x, g = floating(w, x, g)
    x, padding = cropped(w, x, at["padding"])
    n, spatial, each = x.shape[0], x.shape[2:], x.shape[1] // groups
    x = w.reshape(x, (n, groups, each, *spatial))
    x = transposed(w, x, (2, 1, 0, *range(3, x.ndim)))
    x = w.reshape(x, (each, groups * n, *spatial))
    g = transposed(w, g, (1, 0, *range(2, g.ndim)))
    reach = [
        (m + a + b - s * (k - 1) - 1) // d + 1
        for m, (a, b), k, s, d in zip(
            spatial, padding, g.shape[2:], at["stride"], at["dilation"], strict=True
        )
    ]
    y = w.op(
        "Conv", [x, g], x.dtype, [each, g.shape[0], *reach],
        strides=tuple(at["dilation"]), dilations=tuple(at["stride"]), group=groups,
        pads=(*(a for a, _ in padding), *(b for _, b in padding)),
    )  # fmt: skip
    zero, one = (0,) * y.ndim, (1,) * y.ndim
    y = sliced(w, y, zero, (*y.shape[:2], *kernel), one, (*y.shape[:2], *kernel))
    return w.cast(transposed(w, y, (1, 0, *range(2, y.ndim))), dtype)
