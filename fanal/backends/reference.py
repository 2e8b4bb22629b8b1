"""The slow, obvious twin: a graph run node by node with each record's NumPy reference.

Floating values are computed in float64 whatever their dtype, so that a difference to a native
result is the native result's rounding. Only tests run on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.graph.ir import Graph
from fanal.ops.evaluating import evaluated


def run_reference(graph: Graph, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a graph for NumPy arrays (floating ones in float64)."""
    return evaluated(graph, inputs)
