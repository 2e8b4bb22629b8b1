"""A loop over a sequence on the native backend.

Steps of sequences are moving windows. The last step writes the carries where the results belong.
"""

from __future__ import annotations

from dataclasses import replace

from fanal.backends.native.flow import Flow, Mark, Operation, advance, count, point, repeat
from fanal.backends.native.loops.expression import Expression, Load
from fanal.backends.native.lower.control.bodies import (
    Around,
    BodyLowering,
    Carry,
    live_outputs,
    settled,
    with_leaves,
)
from fanal.backends.native.lower.groups import taken_strides
from fanal.backends.native.lower.lowering import Lowering, rule
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.graph.ir import Graph, Node, Value
from fanal.ops.control.scan import parts
from fanal.ops.primitive import contiguous_strides


@rule("scan")
def _scan(low: Lowering, node: Node) -> None:
    _Scan(low, node).schedule()


class _Scan:
    """One scan on its way to a program."""

    def __init__(self, low: Lowering, node: Node):
        self.low, self.node = low, node
        at = node.attributes
        self.length, self.reverse = at["length"], at["reverse"]
        body: Graph = at["body"]
        fixed, self.init, self.xs = parts(node.inputs, at["consts"], at["carries"])
        constants, self.carries, self.slices = parts(body.inputs, at["consts"], at["carries"])
        live = live_outputs(low, node)
        count = at["carries"]
        self.last, ys = node.outputs[:count], node.outputs[count:]
        self.ys = [y for y, used in zip(ys, live[count:], strict=True) if used]
        kept = [v for v, used in zip(body.outputs[count:], live[count:], strict=True) if used]
        outputs = [*body.outputs[:count], *kept]
        needed = Graph(body.inputs, body.nodes, outputs).pruned()
        self.body = settled(low, needed, dict(zip(constants, fixed, strict=True)), True)

    def schedule(self) -> None:
        """Say what the loop reads and writes; it is written when the schedule is."""
        low = self.low
        own = {*self.carries, *self.slices}
        self.around = Around(low)
        for v in self.body.inputs:
            if v not in own:
                self.around.add(v)
        self.steps = Around(low)
        for v in self.xs:
            self.steps.add(v, lazy=True)
        begin = [low.in_memory(low.values[v]).access for v in self.init]
        last = [_carry_place(low, v) for v in self.last]
        ys = [low.destination(v) for v in self.ys]
        reads = [*self.around.reads, *self.steps.reads, *begin]
        self.counts = [len(self.around.reads), len(self.steps.reads), len(begin), len(last), len(ys)]
        low.opaque(reads, [*last, *ys], self.emit)

    def emit(self, p: ProgramBuilder, *accesses: Access) -> None:
        """Append the loop."""
        flow = Flow.of(p)
        found = iter(accesses)
        consts, steps, begin, last, ys = ([next(found) for _ in range(n)] for n in self.counts)
        self.start: list[Operation] = []
        self.moves: list[Operation] = []
        expressions = self.steps.expressions(steps)
        slices = [self._slice(flow, e, v.shape[1:]) for e, v in zip(expressions, self.xs, strict=True)]
        targets = [self._window(flow, y) for y in ys]
        carries = [Carry(flow, v) for v in self.last]
        touched = list(accesses)
        for carry, init, end in zip(carries, begin, last, strict=True):
            other = end
            if self.length > 1:
                other = p.temp_like(end.dtype, end.shape)
                touched.append(other)
            # The last step writes to `end`.
            pair = (end, other) if self.length % 2 else (other, end)
            self.start += carry.begin(init, *pair)
            self.moves.append(carry.turn())
        counter = flow.slot()
        top = Mark()
        flow.begin({a.buffer for a in consts}, self.length)
        flow.control([*self.start, count(counter, self.length)], touched)
        flow.mark(top)
        inputs = dict(zip(self.carries, (c.source for c in carries), strict=True))
        inputs.update(zip(self.slices, slices, strict=True))
        outside = iter(self.around.expressions(consts))
        loads = [inputs[v] if v in inputs else next(outside) for v in self.body.inputs]
        outputs = [*(c.target for c in carries), *targets]
        BodyLowering(p, self.body, loads, outputs).run()
        again = [*self.moves, repeat(counter, top)] if self.length > 1 else []
        flow.control(again, touched)
        flow.end()

    def _slice(self, flow: Flow, e: Expression, shape: tuple[int, ...]) -> Expression:
        """One step of a sequence: of what lies in memory, and the operations on it."""

        def moved(leaf: Load) -> Expression:
            return replace(leaf, shape=shape, access=self._window(flow, leaf.access))

        return with_leaves(e, moved, shape)

    def _window(self, flow: Flow, access: Access) -> Access:
        """The moving window of one step."""
        by = access.strides[0] * access.dtype.itemsize
        if by == 0:
            return replace(access, shape=access.shape[1:], strides=access.strides[1:])
        slot = flow.slot()
        if self.reverse:
            self.start.append(point(slot, access, by * (self.length - 1)))
            self.moves.append(advance(slot, -by))
        else:
            self.start.append(point(slot, access))
            self.moves.append(advance(slot, by))
        return Access(slot, access.dtype, access.shape[1:], access.strides[1:])


def _carry_place(low: Lowering, v: Value) -> Access:
    """Where a last carry is written: contiguous memory."""
    to = low.destinations.get(v)
    plain = contiguous_strides(v.shape)
    if to is not None and taken_strides(to) != taken_strides(replace(to, strides=plain)):
        access = low.program.temp_like(v.dtype, v.shape)
        low.values[v] = Load(v.dtype, v.shape, access)
        return access
    return low.destination(v)
