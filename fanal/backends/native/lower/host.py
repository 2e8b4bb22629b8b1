"""Host primitives on the native backend: one phase that calls the record's own function."""

from __future__ import annotations

import functools

from fanal.backends.native.host import HostCall
from fanal.backends.native.lower.lowering import Lowering, rule
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.graph.ir import Node


@rule("host")
def _host(low: Lowering, node: Node) -> None:
    reads = [low.operand(v) for v in node.inputs]
    writes = [low.destination(v) for v in node.outputs]
    function = functools.partial(node.primitive.reference, **node.attributes)

    def emit(p: ProgramBuilder, *accesses: Access) -> None:
        call = HostCall(function, accesses[: len(reads)], accesses[len(reads) :])
        p.phase(call.kernel(node.primitive.name), accesses, ())

    low.opaque(reads, writes, emit)
