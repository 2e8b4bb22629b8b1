"""Passes over whole graphs, each with its grade of equality; `improved` runs them in order."""

from __future__ import annotations

from collections import Counter

from fanal.graph.ir import Graph
from fanal.ops.passes.joins import JOIN
from fanal.ops.passes.rewrite import Pass
from fanal.ops.passes.scatters import SCATTER
from fanal.ops.passes.simplify import SIMPLIFY

PASSES: tuple[Pass, ...] = (SIMPLIFY, JOIN, SCATTER)


def improved(graph: Graph) -> tuple[Graph, Counter[Pass]]:
    """The graph after all passes, and how often each pass changed it."""
    fired: Counter[Pass] = Counter()
    for one in PASSES:
        graph = one(graph, fired)
    return graph, fired


__all__ = ["PASSES", "Pass", "improved"]
