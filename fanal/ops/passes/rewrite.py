"""Walking a graph and writing it anew: what all passes are made of. Nodes that stay are shared.

A rule looks at one node, whose inputs are rewritten already, and returns the value (or values) that
take its place, made of primitives that it binds, or None to leave the node as it is. Equal nodes are
merged and dead ones left out on the way.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fanal.core.dispatch import tracing
from fanal.graph.ir import Builder, Graph, Node, Value, attribute_key
from fanal.graph.origin import Origin

Rule = Callable[[Node, Sequence[Value]], Any]


def rewritten(
    graph: Graph, replaced: Callable[[Node, tuple[Value, ...], dict[Value, Value]], Any]
) -> Graph:
    """A graph written anew. `replaced(node, inputs, values)` gives what takes a node's place, or None;
    `values` are the new ones of all that came before. New nodes have the origin of what they replace.
    Where nothing is replaced, that is the graph itself."""
    builder = _Writer()
    builder.inputs = list(graph.inputs)
    values = _Values()
    with tracing(builder):
        for node in graph.nodes:
            builder.origin = node.origin
            if builder.same:  # so far
                made = replaced(node, node.inputs, values)
                if made is None and builder.same:
                    builder.nodes.append(node)
                    continue
                builder.differ()
                given = node.inputs
            else:
                given = tuple([values[v] for v in node.inputs])
                made = replaced(node, given, values)
            if made is None:
                made = builder.copied(node, given)
            if isinstance(made, tuple):
                values.update(zip(node.outputs, made, strict=True))
            else:
                values[node.outputs[0]] = made
    return graph if builder.same else builder.graph([values[v] for v in graph.outputs])


class _Values(dict[Value, Value]):
    """What takes values' places; those that are not there stay."""

    def __missing__(self, v: Value) -> Value:
        return v


class _Writer(Builder):
    """A builder that knows nodes of the old graph only when the new one begins to differ: most walks
    change little, and late."""

    def __init__(self) -> None:
        super().__init__()
        self.same = True

    def differ(self) -> None:
        """From now on nodes are told apart from all that came before."""
        if self.same:
            self.same = False
            for node in self.nodes:
                node.key = attribute_key(node.attributes) if node.key is None else node.key
                self._seen.setdefault((node.primitive, node.inputs, node.key), node.outputs)

    def append(self, primitive: Any, inputs: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
        self.differ()
        return super().append(primitive, inputs, attributes)


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """A named set of rules. `grade`: "A" the same bits, "B" within a bound; see the design."""

    name: str
    grade: str
    rules: dict[str, tuple[Rule, ...]]  # by the primitive's name

    def __call__(self, graph: Graph, fired: Fired | None = None) -> Graph:
        """The graph rewritten; `fired` counts the nodes that a rule took the place of."""
        return at_once((self,), graph, Fired() if fired is None else fired)


class Fired(Counter[Pass]):
    """How often each pass changed a graph; of those that keep no bits, also what they touched."""

    def __init__(self) -> None:
        super().__init__()
        self.origins: dict[Pass, dict[Origin, None]] = {}

    def note(self, one: Pass, node: Node) -> None:
        """A pass took the place of a node."""
        self[one] += 1
        if one.grade != "A" and node.origin is not None:
            self.origins.setdefault(one, {})[node.origin] = None

    def places(self, one: Pass) -> tuple[str, ...]:
        """The user's lines that a pass touched, each once."""
        return tuple(dict.fromkeys(o.place for o in self.origins.get(one, ())))


def at_once(passes: tuple[Pass, ...], graph: Graph, fired: Fired) -> Graph:
    """The graph with several passes made in one walk: a node whose inputs went through all of them goes
    through one after the other, until a rule takes its place."""
    by_name = _by_name(passes)
    nothing: tuple[tuple[Pass, Rule], ...] = ()

    def replaced(node: Node, given: tuple[Value, ...], values: dict[Value, Value]) -> Any:
        for one, rule in by_name.get(node.primitive.name, nothing):
            found = rule(node, given)
            if found is not None:
                old = node.outputs[0]
                new = found[0] if isinstance(found, tuple) else found
                assert new.dtype is old.dtype and new.shape == old.shape, one.name
                fired.note(one, node)
                return found
        return None

    return rewritten(graph, replaced)


@functools.cache
def _by_name(passes: tuple[Pass, ...]) -> dict[str, tuple[tuple[Pass, Rule], ...]]:
    """The rules of some passes by the primitive that they look at."""
    names = dict.fromkeys(name for one in passes for name in one.rules)
    return {n: tuple((one, rule) for one in passes for rule in one.rules.get(n, ())) for n in names}
