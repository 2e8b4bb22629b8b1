"""Contractions, as ONNX's MatMul between the dimensions brought into its order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.export.onnx.layout import transposed
from fanal.export.onnx.records import Ref
from fanal.export.onnx.registry import rule
from fanal.export.onnx.writer import Writer, is_number


@rule("dot")
def _dot(w: Writer, node: Any, a: Ref, b: Ref) -> Ref:
    at = node.attributes
    return contracted(w, a, b, at["contract"], at["batch"], node.outputs[0].shape)


def contracted(
    w: Writer, a: Ref, b: Ref, contract: Any, batch: Any, shape: Sequence[Any]
) -> Ref:
    """Sum of products over pairs of dimensions."""
    free = [
        [d for d in range(x.ndim) if d not in contract[i] and d not in batch[i]]
        for i, x in enumerate((a, b))
    ]
    inner = [a.shape[d] for d in contract[0]]
    if any(is_number(n, 0) for n in inner):
        return w.number(0, a.dtype, shape)
    dtype = w.dtype_for("MatMul", a.dtype, True)
    x, y = (w.cast(w.whole(v), dtype) for v in (a, b))
    x = transposed(w, x, [*batch[0], *free[0], *contract[0]])
    y = transposed(w, y, [*batch[1], *contract[1], *free[1]])
    outer = [a.shape[d] for d in batch[0]]
    rows, columns = [a.shape[d] for d in free[0]], [b.shape[d] for d in free[1]]
    # One matrix on the right serves any number of dimensions on the left.
    kept = not outer and len(contract[0]) == 1 and len(free[1]) == 1 and len(rows) > 1
    left = rows if kept else [_product(rows)]
    x = w.reshape(x, [*outer, *left, _product(inner)])
    y = w.reshape(y, [*outer, _product(inner), _product(columns)])
    made = w.op("MatMul", [x, y], dtype, [*outer, *left, _product(columns)])
    return w.cast(w.reshape(made, shape), a.dtype)


def _product(numbers: Sequence[Any]) -> Any:
    return math.prod(numbers) if numbers else 1


