"""One of two branches on the native backend: a jump over the other one."""

from __future__ import annotations

from fanal.backends.native.flow import Flow, Mark, jump, unless
from fanal.backends.native.lower.control.bodies import Around, BodyLowering, live_outputs
from fanal.backends.native.lower.lowering import Lowering, rule
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.graph.ir import Graph, Node


@rule("cond")
def _cond(low: Lowering, node: Node) -> None:
    live = live_outputs(low, node)
    outputs = [v for v, used in zip(node.outputs, live, strict=True) if used]
    pred = low.operand(node.inputs[0])
    sides: list[tuple[Graph, Around]] = []
    for name in ("true", "false"):
        graph: Graph = node.attributes[name]
        kept = [v for v, used in zip(graph.outputs, live, strict=True) if used]
        branch = Graph(graph.inputs, graph.nodes, kept).pruned()
        used = {v for n in branch.nodes for v in n.inputs} | set(kept)
        around = Around(low)
        for v, outer in zip(branch.inputs, node.inputs[1:], strict=True):
            if v in used:
                around.add(outer)
        inputs = [v for v in branch.inputs if v in used]
        sides.append((Graph(inputs, branch.nodes, kept), around))
    targets = [low.destination(v) for v in outputs]
    counts = [1, *(len(around.reads) for _, around in sides), len(targets)]

    def emit(p: ProgramBuilder, *accesses: Access) -> None:
        flow = Flow.of(p)
        found = iter(accesses)
        (flag,), true, false, to = ([next(found) for _ in range(n)] for n in counts)
        other, end = Mark(), Mark()
        flow.control([unless(flag, other)], accesses)
        for (graph, around), reads, leave in zip(sides, (true, false), (True, False), strict=True):
            BodyLowering(p, graph, around.expressions(reads), to).run()
            if leave:
                flow.control([jump(end)])
                flow.mark(other)
        flow.mark(end)
        flow.control((), accesses)

    low.opaque([pred, *(a for _, around in sides for a in around.reads)], targets, emit)
