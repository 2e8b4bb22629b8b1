"""Sums of overlapping windows: one strided accumulation for each offset, in row-major order."""

from __future__ import annotations

import itertools

from fanal.backends.native.loops.expression import Const, Load, Op
from fanal.backends.native.lower.lowering import Lowering, rule, window
from fanal.graph.ir import Node


@rule("window_sum")
def _window_sum(low: Lowering, node: Node) -> None:
    out = node.outputs[0]
    at = node.attributes
    first, size, n = at["first"], at["size"], len(at["size"])
    source = low.operand(node.inputs[0])
    counts = source.shape[first : first + n]
    to = low.destination(out)
    zero = 0.0 if out.dtype.kind == "f" else 0
    low.schedule.store(Const(out.dtype, out.shape, zero), to)
    rest = (1,) * (out.ndim - first - n)
    for offset in itertools.product(*(range(k) for k in size)):
        begin = (0,) * first + tuple(
            o * d for o, d in zip(offset, at["dilation"], strict=True)
        ) + (0,) * len(rest)
        step = (1,) * first + tuple(at["stride"]) + rest
        shape = (*out.shape[:first], *counts, *out.shape[first + n :])
        place = window(to, begin, shape, step)
        whole = (0,) * (first + n) + offset + (0,) * len(rest)
        part = window(
            source, whole, (*shape[: first + n], *(1,) * n, *shape[first + n :]),
            (1,) * (len(shape) + n),
        )  # fmt: skip
        strides = part.strides[: first + n] + part.strides[first + 2 * n :]
        term = Load(out.dtype, shape, type(part)(part.buffer, part.dtype, shape, strides, part.offset))
        old = Load(out.dtype, shape, place)
        low.schedule.store(Op(out.dtype, shape, "add", (old, term), out.dtype), place)
