"""Attributes as backends rely on them: what an operation's rule takes for granted is looked at here.

In a captured graph they come from public functions, which check what users give. In a file they come from
anybody.
"""

from __future__ import annotations

from fanal.graph.ir import Node


def check_attributes(node: Node) -> None:
    """DataError for attributes that no public function makes."""
