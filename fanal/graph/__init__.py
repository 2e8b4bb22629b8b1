"""The SSA graph: values, nodes, the builder that records them, verifier and printer."""

from fanal.graph.ir import Builder, Graph, Node, SubGraph, Type, Value
from fanal.graph.verify import verify

__all__ = ["Builder", "Graph", "Node", "SubGraph", "Type", "Value", "verify"]
