"""A graph as text, one node a line: what one reads when something is wrong.

The graphs inside of a node (branches, bodies of loops) follow it, indented.
"""

from __future__ import annotations

from fanal.graph.ir import Graph, SubGraph, Type, Value


def graph_text(graph: Graph) -> str:
    """The printed form.

    >>> print(graph)
    graph(%0: float32[8,8], %1: float32[8,8])
      %2: float32[8,8] = add(%0, %1)
      return %2
    """
    names: dict[Value, str] = {}

    def name(value: Value) -> str:
        return names.setdefault(value, f"%{len(names)}")

    def typed(value: Value) -> str:
        return f"{name(value)}: {Type(value.dtype, value.shape)!r}"

    lines = [f"graph({', '.join(typed(v) for v in graph.inputs)})"]
    for node in graph.nodes:
        arguments = [name(v) for v in node.inputs]
        arguments += [f"{k}={v!r}" for k, v in node.attributes.items()]
        left = ", ".join(typed(v) for v in node.outputs)
        lines.append(f"  {left} = {node.primitive.name}({', '.join(arguments)})")
        for key, value in node.attributes.items():
            if isinstance(value, SubGraph):
                inner = graph_text(value).replace("\n", "\n    ")
                lines.append(f"    {key} = {inner}")
    lines.append(f"  return {', '.join(name(v) for v in graph.outputs)}")
    return "\n".join(lines)
