"""A name for what a graph computes: equal graphs have equal names, in every process.

Values are named by their order, attributes by their types and values. What code outside of this package
decides (a host's function, a body that a user wrote) or what has no text of its own can't be named.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from fanal.graph.ir import Graph, SubGraph, Value, attribute_key

if TYPE_CHECKING:
    from fanal.ops.primitive import Primitive

_PACKAGE = __name__.split(".", 1)[0] + "."
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Unnamed(Exception):
    """A graph whose meaning does not stand in its text."""


def digest(graph: Graph) -> str:
    """The name of a graph, 32 characters; raises Unnamed. Computed once a graph."""
    if not graph.digest:
        text = "\n".join(_lines(graph))
        if _ADDRESS.search(text):
            raise Unnamed
        graph.digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return graph.digest


def is_nameable(graph: Graph) -> bool:
    """Whether no code outside of this package decides what it computes."""
    return all(
        _is_ours(node.primitive) and all(is_nameable(x) for x in node.attributes.values() if isinstance(x, SubGraph))
        for node in graph.nodes
    )


def _is_ours(p: Primitive) -> bool:
    return p.kind != "host" and (p.kind != "composed" or (p.body.__module__ or "").startswith(_PACKAGE))


def _lines(graph: Graph) -> list[str]:
    numbers: dict[Value, int] = {v: i for i, v in enumerate(graph.inputs)}
    lines = [f"{v.dtype.name}{v.shape}{v.weak}" for v in graph.inputs]
    for node in graph.nodes:
        p = node.primitive
        if not _is_ours(p):
            raise Unnamed
        if node.key is None:
            node.key = attribute_key(node.attributes)
        lines.append(f"{p.name} {p.native} {[numbers[v] for v in node.inputs]} {node.key}")
        for inner in node.attributes.values():
            if isinstance(inner, SubGraph):
                lines.append(digest(inner))
        for v in node.outputs:
            numbers[v] = len(numbers)
            lines.append(f"{v.dtype.name}{v.shape}")
    lines.append(f"{[numbers[v] for v in graph.outputs]}")
    return lines
