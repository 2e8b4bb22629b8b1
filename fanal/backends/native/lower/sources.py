"""Which nodes of the graph are computed in an entry of the schedule: what reports and messages name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fanal.backends.native.loops.expression import Expression, Gather, Op, Random, children
from fanal.backends.native.program import DIVISIONS, Unit
from fanal.graph.ir import Node


def nodes_in(expressions: Iterable[Expression]) -> list[Node]:
    """The nodes that expressions are made of, each once, first ones first."""
    found: dict[Node, None] = {}
    seen: set[int] = set()

    def visit(e: Expression) -> None:
        if id(e) in seen:
            return
        seen.add(id(e))
        for child in children(e):
            visit(child)
        if isinstance(e, Op | Gather | Random) and e.source is not None:
            found[e.source] = None

    for e in expressions:
        visit(e)
    return list(found)


def unit_of(entry: Any, owners: Mapping[int, Node | None]) -> Unit:
    """What an entry of the schedule computes. `owners` are the nodes whose values lie in buffers: they
    stand for reductions, and for entries that only move elements."""
    reductions, stores = getattr(entry, "reductions", ()), getattr(entry, "stores", ())
    expressions = [x.expression for x in (*reductions, *stores)]
    epilogue = getattr(entry, "expression", None)
    if epilogue is not None:
        expressions.append(epilogue)
    found = dict.fromkeys((*entry.nodes, *nodes_in(expressions)))
    found.update((n, None) for r in reductions if (n := owners.get(r.result)) is not None)
    if not found:
        found.update((n, None) for b in sorted(entry.writes) if (n := owners.get(b)) is not None)
    return Unit(tuple(found))


def may_fail(e: Expression) -> bool:
    """Whether computing an expression can end with a status: a wrong index, a division by zero."""
    seen: set[int] = set()
    stack = [e]
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        divides = isinstance(x, Op) and x.name in DIVISIONS and x.dtype.kind != "f"
        if divides or isinstance(x, Gather):
            return True
        stack += children(x)
    return False
