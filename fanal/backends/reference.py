"""The slow, obvious twin: a graph run node by node with each record's NumPy reference.

Floating values are computed in float64 whatever their dtype, so that a difference to a native
result is the native result's rounding. Only tests run on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fanal.graph.ir import Graph


def run_reference(graph: Graph, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a graph for NumPy arrays (floating ones in float64)."""

    def wide(array: Any, kind: str) -> Any:
        return np.asarray(array, np.float64) if kind == "f" else np.asarray(array)

    values: dict[Any, Any] = {
        v: wide(a, v.dtype.kind) for v, a in zip(graph.inputs, inputs, strict=True)
    }
    for node in graph.nodes:
        arguments = [values[v] for v in node.inputs]
        attributes = dict(node.attributes)
        with np.errstate(all="ignore"):
            result = node.primitive.reference(*arguments, **attributes)
        results = result if isinstance(result, tuple) else (result,)
        for v, r in zip(node.outputs, results, strict=True):
            exact = v.dtype.numpy if v.dtype.kind != "f" else np.float64
            values[v] = np.asarray(r).astype(exact)
    return [values[v] for v in graph.outputs]
