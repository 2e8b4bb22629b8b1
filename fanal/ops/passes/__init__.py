"""Passes over whole graphs, each with its grade of equality; `improved` runs them in order."""

from __future__ import annotations

from fanal.graph.ir import Graph, Node
from fanal.ops.passes.joins import JOIN
from fanal.ops.passes.rewrite import Pass
from fanal.ops.passes.scatters import SCATTER
from fanal.ops.passes.simplify import SIMPLIFY

PASSES: tuple[Pass, ...] = (SIMPLIFY, JOIN, SCATTER)


def improved(graph: Graph) -> tuple[Graph, dict[Node, Node]]:
    """The graph after all passes, and the node of the given graph that each of its nodes is from."""
    where = {node: node for node in graph.nodes}
    for one in PASSES:
        origin: dict[Node, Node] = {}
        graph = one(graph, origin)
        where = {new: where[old] for new, old in origin.items()}
    return graph, where


__all__ = ["PASSES", "Pass", "improved"]
