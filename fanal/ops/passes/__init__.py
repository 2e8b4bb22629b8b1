"""Passes over whole graphs, each with its grade of equality; `improved` runs them in order."""

from __future__ import annotations

from collections.abc import Collection

from fanal.graph.ir import Graph
from fanal.ops.passes.borders import BORDER
from fanal.ops.passes.fold import FOLD, fold
from fanal.ops.passes.gathers import GATHER
from fanal.ops.passes.interleaves import INTERLEAVE
from fanal.ops.passes.joins import JOIN
from fanal.ops.passes.rewrite import Fired, Pass, at_once
from fanal.ops.passes.scatters import SCATTER
from fanal.ops.passes.simplify import SIMPLIFY
from fanal.ops.passes.winograd import WINOGRAD

# Passes that are made in one walk. Paddings become joins when all sums of them were looked at.
_WALKS: tuple[tuple[Pass, ...], ...] = ((SIMPLIFY, JOIN, INTERLEAVE), (BORDER, SCATTER, GATHER))
PASSES: tuple[Pass, ...] = tuple(one for walk in _WALKS for one in walk)


def improved(
    graph: Graph, steady: Collection[int] = (), winograd: bool = False
) -> tuple[Graph, Fired]:
    """The graph after all passes, and how often each pass changed it.

    `steady`: inputs that may be taken not to change from call to call; those of which nothing may be
    computed otherwise than in eager mode are not among them. `winograd`: whether convolutions may be.
    """
    fired = Fired()
    for walk in _WALKS:
        graph = at_once(walk, graph, fired)
    if steady:
        graph = fold(graph, steady, fired)
    if winograd:
        graph = WINOGRAD(graph, fired)
    return graph, fired


__all__ = ["FOLD", "PASSES", "WINOGRAD", "Fired", "Pass", "improved"]
