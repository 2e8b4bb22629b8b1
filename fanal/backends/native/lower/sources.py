"""Which nodes of the graph are computed in an entry of the schedule: what reports and messages name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fanal.backends.native.program import Unit
from fanal.graph.ir import Node


def unit_of(entry: Any, nodes: Iterable[Node], owners: Mapping[int, Node | None]) -> Unit:
    """What an entry of the schedule computes: `nodes`, those of its expressions. `owners` are the nodes
    whose values lie in buffers: they stand for reductions, and for entries that only move elements."""
    found = dict.fromkeys(nodes)
    reductions = getattr(entry, "reductions", ())
    found.update((n, None) for r in reductions if (n := owners.get(r.result)) is not None)
    if not found:
        found.update((n, None) for b in sorted(entry.writes) if (n := owners.get(b)) is not None)
    return Unit(tuple(found))
