"""Passes over whole graphs, each with its grade of equality; `improved` runs them in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from fanal.graph.ir import Graph
from fanal.ops.passes.borders import BORDER
from fanal.ops.passes.fold import FOLD, fold
from fanal.ops.passes.interleaves import INTERLEAVE
from fanal.ops.passes.joins import JOIN
from fanal.ops.passes.rewrite import Pass
from fanal.ops.passes.scatters import SCATTER
from fanal.ops.passes.simplify import SIMPLIFY

PASSES: tuple[Pass, ...] = (SIMPLIFY, JOIN, INTERLEAVE, BORDER, SCATTER)


def improved(graph: Graph, steady: Collection[int] = ()) -> tuple[Graph, Counter[Pass]]:
    """The graph after all passes, and how often each pass changed it.

    `steady`: inputs that may be taken not to change from call to call; those of which nothing may be
    computed otherwise than in eager mode are not among them.
    """
    fired: Counter[Pass] = Counter()
    for one in PASSES:
        graph = one(graph, fired)
    if steady:
        graph = fold(graph, steady, fired)
    return graph, fired


__all__ = ["FOLD", "PASSES", "Pass", "improved"]
