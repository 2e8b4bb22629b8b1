"""A loop while something holds, on the native backend."""

from __future__ import annotations

from fanal.backends.native.flow import Flow, Mark, Operation, count, jump, repeat, unless
from fanal.backends.native.loops.elementwise import Store, lower_elementwise
from fanal.backends.native.lower.control.bodies import Around, BodyLowering, Carry, settled
from fanal.backends.native.lower.lowering import Lowering, rule
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.core.dtypes import bool_
from fanal.core.errors import Limit
from fanal.graph.ir import Graph, Node
from fanal.ops.control.while_loop import WHY

# How many steps a loop without a limit is expected to take, where that matters.
STEPS = 16


@rule("while")
def _while(low: Lowering, node: Node) -> None:
    _While(low, node).schedule()


class _While:
    """One loop on its way to a program."""

    def __init__(self, low: Lowering, node: Node):
        self.low, self.node = low, node
        at = node.attributes
        split = at["consts"]
        self.limit, self.init = at["limit"], node.inputs[split:]
        self.around = Around(low)
        self.parts: list[tuple[Graph, int]] = []  # condition and body; how many constants they use
        for graph in (at["cond"], at["body"]):
            constants = dict(zip(graph.inputs[:split], node.inputs[:split], strict=True))
            part = settled(low, graph, constants, False)
            mine = [v for v in part.inputs if v not in graph.inputs[split:]]
            self.parts.append((part, len(mine)))
            for v in mine:
                self.around.add(v)

    def schedule(self) -> None:
        """Say what the loop reads and writes; it is written when the schedule is."""
        low = self.low
        begin = [low.in_memory(low.values[v]).access for v in self.init]
        last = [low.destination(v) for v in self.node.outputs]
        low.opaque([*self.around.reads, *begin], last, self.emit)

    def emit(self, p: ProgramBuilder, *accesses: Access) -> None:
        """Append the loop."""
        flow = Flow.of(p)
        found = iter(accesses)
        counts = (len(self.around.reads), len(self.init), len(self.init))
        consts, begin, last = ([next(found) for _ in range(n)] for n in counts)
        carries = [Carry(flow, v) for v in self.node.outputs]
        touched = list(accesses)
        start: list[Operation] = []
        for carry, init in zip(carries, begin, strict=True):
            places = [p.temp_like(init.dtype, init.shape) for _ in range(2)]
            touched += places
            start += carry.begin(init, places[0], places[1])
        counter, top, done = flow.slot(), Mark(), Mark()
        flow.begin({a.buffer for a in consts}, min(self.limit or STEPS, STEPS))
        flow.control([*start, count(counter, self.limit or 0)], touched)
        flow.mark(top)
        self._steps(p, consts, carries, done)
        back = jump(top) if self.limit is None else repeat(counter, top)
        flow.control([*(c.turn() for c in carries), back])
        flow.mark(done)
        for carry, end in zip(carries, last, strict=True):
            lower_elementwise(p, [Store(carry.source, end)])
        flow.control((), touched)
        flow.end()

    def _steps(
        self, p: ProgramBuilder, consts: list[Access], carries: list[Carry], done: Mark
    ) -> None:
        """Append the condition, and the body."""
        outside = self.around.expressions(consts)
        sources = [c.source for c in carries]
        (cond, uses), (body, _) = self.parts
        flag = p.temp_like(bool_, ())
        BodyLowering(p, cond, [*outside[:uses], *sources], [flag]).run()
        Flow.of(p).control([unless(flag, done)], [flag])
        BodyLowering(p, body, [*outside[uses:], *sources], [c.target for c in carries]).run()


@rule("missing")
def _missing(low: Lowering, node: Node) -> None:
    raise Limit(WHY)
