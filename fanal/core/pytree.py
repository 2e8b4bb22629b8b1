"""Nested containers as leaves and a structure: tuples, lists, dicts, deques and dataclasses.

The one idea: anything that is not one of these containers is a leaf. The structure is hashable, so
it can be part of a cache key.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Structure:
    """A tree without its leaves; `unflatten` puts leaves back.

    `keys` are a dict's keys or a dataclass's fields; `extra` is a defaultdict's factory or a deque's
    longest length.
    """

    kind: type[Any] | None
    keys: tuple[Any, ...] = ()
    children: tuple[Structure, ...] = ()
    extra: Any = None

    @property
    def leaf_count(self) -> int:
        return 1 if self.kind is None else sum(c.leaf_count for c in self.children)

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """The tree with these leaves, in order."""
        return self._filled(iter(leaves))

    def _filled(self, leaves: Iterator[Any]) -> Any:
        kind = self.kind
        if kind is None:
            return next(leaves)
        items = [child._filled(leaves) for child in self.children]
        if kind is tuple or kind is list:
            return kind(items)
        if issubclass(kind, dict):
            pairs = zip(self.keys, items, strict=True)
            return kind(self.extra, pairs) if issubclass(kind, defaultdict) else kind(pairs)
        if issubclass(kind, deque):
            return kind(items, self.extra)
        if dataclasses.is_dataclass(kind):
            made = object.__new__(kind)
            for name, item in zip(self.keys, items, strict=True):
                object.__setattr__(made, name, item)
            return made
        return kind(*items) if hasattr(kind, "_fields") else kind(items)

    def broadcast(self, prefix: Any) -> list[Any] | None:
        """The leaves of a tree that may end earlier than this one, repeated for what lies below
        them; None if the two don't fit."""
        children = children_of(prefix)
        if children is None:
            return [prefix] * self.leaf_count
        keys, items = children
        if type(prefix) is not self.kind or len(items) != len(self.children):
            return None
        found = dict(zip(keys, items, strict=True))
        if set(found) != set(self._keys()):
            return None
        out: list[Any] = []
        for key, child in zip(self._keys(), self.children, strict=True):
            part = child.broadcast(found[key])
            if part is None:
                return None
            out += part
        return out

    def _keys(self) -> Sequence[Any]:
        return self.keys or range(len(self.children))

    def __str__(self) -> str:
        """`(*, {x: *})`, a star for each leaf."""
        if self.kind is None:
            return "*"
        parts = [str(c) for c in self.children]
        if self.keys:
            parts = [f"{k}: {p}" for k, p in zip(self.keys, parts, strict=True)]
        if self.kind is tuple:
            return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
        inner = ", ".join(parts)
        if self.kind is list:
            return f"[{inner}]"
        return f"{{{inner}}}" if self.kind is dict else f"{self.kind.__name__}({inner})"


LEAF = Structure(None)


def children_of(node: Any) -> tuple[Sequence[Any], Sequence[Any]] | None:
    """The keys and items of a container; None for a leaf."""
    if isinstance(node, tuple | list | deque):
        return range(len(node)), list(node)
    if isinstance(node, dict):
        return tuple(node), list(node.values())
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        names = tuple(f.name for f in dataclasses.fields(node))
        return names, [getattr(node, n) for n in names]
    return None


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Leaves in order (dicts in insertion order) and the structure that holds them."""
    leaves: list[Any] = []
    return leaves, _visited(tree, leaves)


def _visited(node: Any, leaves: list[Any]) -> Structure:
    # Not a function inside of `flatten`: it would hold itself, and the leaves until the next collection.
    kind = type(node)
    if kind is tuple or kind is list:
        return Structure(kind, (), tuple([_visited(x, leaves) for x in node]))
    found = children_of(node)
    if found is None:
        leaves.append(node)
        return LEAF
    keys, items = found
    extra: Any = None
    if isinstance(node, defaultdict):
        extra = node.default_factory
    elif isinstance(node, deque):
        extra = node.maxlen
    names = () if isinstance(keys, range) else tuple(keys)
    return Structure(kind, names, tuple([_visited(x, leaves) for x in items]), extra)


def tree_map(function: Callable[..., Any], tree: Any) -> Any:
    """The same tree with `function` applied to every leaf."""
    leaves, structure = flatten(tree)
    return structure.unflatten([function(x) for x in leaves])
