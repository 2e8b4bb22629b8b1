"""A graph run node by node with each record's NumPy reference: what the graph means.

Floating values are computed in float64 whatever their dtype, so that a difference to a backend's
result is that result's rounding; all others have their exact dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fanal.graph.ir import Graph, Value


def evaluated(graph: Graph, arrays: Sequence[Any]) -> list[Any]:
    """The outputs of a graph for NumPy arrays."""

    def exact(array: Any, v: Value) -> Any:
        return np.asarray(array).astype(np.float64 if v.dtype.kind == "f" else v.dtype.numpy)

    values = {v: exact(a, v) for v, a in zip(graph.inputs, arrays, strict=True)}
    for node in graph.nodes:
        arguments = [values[v] for v in node.inputs]
        with np.errstate(all="ignore"):
            result = node.primitive.reference(*arguments, **node.attributes)
        results = result if isinstance(result, tuple) else (result,)
        values.update((v, exact(r, v)) for v, r in zip(node.outputs, results, strict=True))
    return [values[v] for v in graph.outputs]
