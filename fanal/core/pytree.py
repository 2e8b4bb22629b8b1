"""Nested containers as leaves and a structure: tuples, lists, dicts and named tuples.

The one idea: anything that is not one of these containers is a leaf. The structure is hashable, so
it can be part of a cache key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Structure:
    """A tree without its leaves; `unflatten` puts leaves back."""

    kind: type[Any] | None
    keys: tuple[Any, ...] = ()
    children: tuple[Structure, ...] = ()

    @property
    def leaf_count(self) -> int:
        return 1 if self.kind is None else sum(c.leaf_count for c in self.children)

    def unflatten(self, leaves: list[Any]) -> Any:
        """The tree with these leaves (consumed from the front, in order)."""
        if self.kind is None:
            return leaves.pop(0)
        items = [child.unflatten(leaves) for child in self.children]
        if issubclass(self.kind, dict):
            pairs = zip(self.keys, items, strict=True)
            return self.kind(pairs)
        if hasattr(self.kind, "_fields"):
            return self.kind(*items)
        return self.kind(items)


LEAF = Structure(None)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Leaves in order (dicts in insertion order) and the structure that holds them."""
    leaves: list[Any] = []

    def visit(node: Any) -> Structure:
        if isinstance(node, tuple | list):
            return Structure(type(node), (), tuple(visit(x) for x in node))
        if isinstance(node, dict):
            return Structure(type(node), tuple(node), tuple(visit(x) for x in node.values()))
        leaves.append(node)
        return LEAF

    structure = visit(tree)
    return leaves, structure


def tree_map(function: Callable[..., Any], tree: Any) -> Any:
    """The same tree with `function` applied to every leaf."""
    leaves, structure = flatten(tree)
    return structure.unflatten([function(x) for x in leaves])
