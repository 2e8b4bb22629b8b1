"""From a program's graph to ONNX's: node by node, each by its rule, its group or its body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.export.onnx import (
    attention,
    casting,
    control,
    conv,
    create,
    dot,
    elementwise,
    indexing,
    integers,
    layout,
    loops,
    reduce,
    windows,
)
from fanal.export.onnx.formulas import uses
from fanal.export.onnx.patterns import Group, recognised
from fanal.export.onnx.records import Ref
from fanal.export.onnx.registry import RULES, Unsayable
from fanal.export.onnx.writer import Writer
from fanal.graph.ir import Graph, Node, Value
from fanal.ops.composed import body_of

_RULES_OF = (casting, control, conv, create, dot, elementwise, indexing, integers, layout, loops, reduce, windows)


def emit(w: Writer, graph: Graph, given: Sequence[Ref]) -> list[Ref]:
    """Write a graph for tensors that are there; its outputs."""
    found: dict[Value, Ref] = dict(zip(graph.inputs, given, strict=True))
    groups = recognised(graph)
    for node, needed in _needed(graph, groups):
        with w.at(node):
            group = groups.get(node)
            operands = node.inputs if group is None else group.operands
            results = _results(w, node, group, [found[v] for v in operands], needed)
        found.update(zip(node.outputs, results, strict=True))
    return [found[v] for v in graph.outputs]


uses(emit)


def _needed(graph: Graph, groups: dict[Node, Group]) -> list[tuple[Node, set[Value]]]:
    """The nodes that are written, in order, and which of their results are needed."""
    wanted = set(graph.outputs)
    found = []
    for node in reversed(graph.nodes):
        some = wanted.intersection(node.outputs)
        if some:
            found.append((node, some))
            wanted.update(groups[node].operands if node in groups else node.inputs)
    return found[::-1]


def _results(w: Writer, node: Node, group: Group | None, xs: Sequence[Ref], needed: set[Value]) -> Any:
    primitive = node.primitive
    if group is not None:
        made = group.write(w, node, *xs)
        return [made] if isinstance(made, Ref) else made
    if primitive.name == "attention" and attention.is_plain(node, node.outputs[1] in needed):
        return [attention.written_plainly(w, node, *xs), xs[0]]  # nobody asks for the second
    rule = RULES.get(primitive.name)
    if rule is not None:
        made = rule(w, node, *xs)
        return [made] if isinstance(made, Ref) else made
    if primitive.body is None:
        raise Unsayable(why_not(primitive))
    body = body_of(primitive, [v.type for v in node.inputs], node.attributes)
    return emit(w, body, xs)


def why_not(primitive: Any) -> str:
    """Why there is no rule for a primitive without a body."""
    if primitive.kind == "host":
        return "ONNX has no factorisations of matrices"
    if primitive.kind == "missing":
        return "it stands for a derivative that there is not"
    return "ONNX has no such function"


def sayable() -> dict[str, str]:
    """Every primitive of the table, and how it goes: "rule", "body", or why it can't."""
    from fanal.ops.primitive import TABLE

    return {
        name: "rule" if name in RULES else "body" if p.body is not None else why_not(p)
        for name, p in TABLE.items()
    }
