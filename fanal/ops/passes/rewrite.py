"""Walking a graph and writing it anew: what all passes are made of. Nodes that stay are shared.

A rule looks at one node, whose inputs are rewritten already, and returns the value (or values) that
take its place, made of primitives that it binds, or None to leave the node as it is. Equal nodes are
merged and dead ones left out on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fanal.core.dispatch import tracing
from fanal.graph.ir import Builder, Graph, Node, Value

Rule = Callable[[Node, Sequence[Value]], Any]


@dataclass(frozen=True, slots=True)
class Pass:
    """A named set of rules. `grade`: "A" the same bits, "B" within a bound; see the design."""

    name: str
    grade: str
    rules: dict[str, tuple[Rule, ...]]  # by the primitive's name

    def __call__(self, graph: Graph, origin: dict[Node, Node] | None = None) -> Graph:
        """The graph rewritten; `origin` is told which old node each new one comes from."""
        builder = Builder()
        builder.inputs = list(graph.inputs)
        values: dict[Value, Value] = {v: v for v in graph.inputs}
        nodes = builder.nodes
        with tracing(builder):
            for node in graph.nodes:
                first = len(nodes)
                given = tuple([values[v] for v in node.inputs])
                made = self._one(builder, node, given)
                if isinstance(made, tuple):
                    values.update(zip(node.outputs, made, strict=True))
                else:
                    values[node.outputs[0]] = made
                if origin is not None:
                    for new in nodes[first:]:
                        origin[new] = node
        return builder.graph([values[v] for v in graph.outputs])

    def _one(self, builder: Builder, node: Node, given: tuple[Value, ...]) -> Any:
        for rule in self.rules.get(node.primitive.name, ()):
            found = rule(node, given)
            if found is not None:
                old = node.outputs[0]
                new = found[0] if isinstance(found, tuple) else found
                assert new.dtype is old.dtype and new.shape == old.shape, self.name
                return found
        return builder.copied(node, given)
