"""Walking a graph and writing it anew: what all passes are made of. Nodes that stay are shared.

A rule looks at one node, whose inputs are rewritten already, and returns the value (or values) that
take its place, made of primitives that it binds, or None to leave the node as it is. Equal nodes are
merged and dead ones left out on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fanal.core.dispatch import tracing
from fanal.graph.ir import Builder, Graph, Node, Value

Rule = Callable[[Node, Sequence[Value]], Any]


def rewritten(
    graph: Graph, replaced: Callable[[Node, tuple[Value, ...], dict[Value, Value]], Any]
) -> Graph:
    """A graph written anew. `replaced(node, inputs, values)` gives what takes a node's place, or None;
    `values` are the new ones of all that came before. New nodes have the origin of what they replace."""
    builder = Builder()
    builder.inputs = list(graph.inputs)
    values: dict[Value, Value] = {v: v for v in graph.inputs}
    with tracing(builder):
        for node in graph.nodes:
            given = tuple([values[v] for v in node.inputs])
            builder.origin = node.origin
            made = replaced(node, given, values)
            if made is None:
                made = builder.copied(node, given)
            if isinstance(made, tuple):
                values.update(zip(node.outputs, made, strict=True))
            else:
                values[node.outputs[0]] = made
    return builder.graph([values[v] for v in graph.outputs])


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """A named set of rules. `grade`: "A" the same bits, "B" within a bound; see the design."""

    name: str
    grade: str
    rules: dict[str, tuple[Rule, ...]]  # by the primitive's name

    def __call__(self, graph: Graph, fired: Counter[Pass] | None = None) -> Graph:
        """The graph rewritten; `fired` counts the nodes that a rule took the place of."""

        def replaced(node: Node, given: tuple[Value, ...], values: dict[Value, Value]) -> Any:
            made = self._one(node, given)
            if made is not None and fired is not None:
                fired[self] += 1
            return made

        return rewritten(graph, replaced)

    def _one(self, node: Node, given: tuple[Value, ...]) -> Any:
        """What a rule puts in the place of a node; None where none does."""
        for rule in self.rules.get(node.primitive.name, ()):
            found = rule(node, given)
            if found is not None:
                old = node.outputs[0]
                new = found[0] if isinstance(found, tuple) else found
                assert new.dtype is old.dtype and new.shape == old.shape, self.name
                return found
        return None
