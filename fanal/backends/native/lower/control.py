"""Branches and loops on the native backend: bodies lowered as graphs of their own, into one program.

A body becomes phases over slots of the table of buffers (see `flow`). Steps of sequences are moving
windows. A carry has two places: a step reads one and writes the other, the last one writes where the
result belongs; the first one reads the initial value where it lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fanal.backends.native.flow import (
    Flow,
    Mark,
    Operation,
    advance,
    count,
    jump,
    point,
    repeat,
    turn,
    unless,
)
from fanal.backends.native.loops.elementwise import Store, lower_elementwise
from fanal.backends.native.loops.expression import Const, Expression, Load, Op, leaves
from fanal.backends.native.lower.groups import ElementEntry, Schedule, taken_strides
from fanal.backends.native.lower.lowering import Lowering, rule
from fanal.backends.native.lower.whole import WholeLowering
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.core.dtypes import bool_
from fanal.core.errors import Limit
from fanal.graph.ir import Graph, Node, Value
from fanal.ops.control.scan import parts
from fanal.ops.control.while_loop import WHY
from fanal.ops.primitive import contiguous_strides

# How many steps a loop without a limit is expected to take, where that matters.
STEPS = 16


class BodyLowering(WholeLowering):
    """Lowering of a graph into another program: its inputs and outputs lie in that one's buffers.

    A body is small and runs often, so as much as possible is computed together.
    """

    def __init__(
        self, p: ProgramBuilder, graph: Graph, inputs: Sequence[Expression], outputs: Sequence[Access]
    ):
        super().__init__(graph, list(inputs), outputs, p.target)  # type: ignore[arg-type]
        self.program = p
        self.schedule = Schedule()
        made = {v for node in graph.nodes for v in node.outputs}
        self.destinations = {}
        for value, access in self.outputs:
            if value in made:
                self.destinations.setdefault(value, access)

        self.parts = _parted(graph)
        self.users.update(dict.fromkeys(self.parts, 1))

    def node(self, node: Node) -> None:
        # Parts that don't overlap are computed each at its place of use.
        if node.primitive.name == "slice" and node.inputs[0] in self.parts:
            Lowering.node(self, node)
        else:
            super().node(node)

    def run(self) -> ProgramBuilder:
        for node in self.graph.nodes:
            self.node(node)
        for value, access in self.outputs:
            if access.buffer not in self.written:
                self.schedule.store(self.values[value], access)
        outputs, self.outputs = self.outputs, []
        self.graph = Graph(self.graph.inputs, [], [])
        drop_unread(self.schedule, {a.buffer for _, a in outputs})
        return Lowering.run(self)


def _parted(graph: Graph) -> set[Value]:
    """Values that are only seen in slices, which together are no larger than they are."""
    sizes: dict[Value, int] = {}
    others: set[Value] = set(graph.outputs)
    for node in graph.nodes:
        if node.primitive.name == "slice":
            (x,) = node.inputs
            sizes[x] = sizes.get(x, 0) + math.prod(node.outputs[0].shape)
        else:
            others.update(node.inputs)
    return {x for x, size in sizes.items() if size <= math.prod(x.shape)} - others


def drop_unread(schedule: Schedule, wanted: set[int]) -> None:
    """Leave out what is stored and never read (its readers compute it themselves)."""
    read = wanted.union(*(entry.reads for entry in schedule.entries))
    kept: list[Any] = []
    for entry in schedule.entries:
        if isinstance(entry, ElementEntry):
            entry.stores = [s for s in entry.stores if s.to.buffer in read]
            if not entry.stores:
                continue
        kept.append(entry)
    schedule.entries = kept


@dataclass(slots=True)
class Around:
    """Values of the graph around as a body finds them; memory that they lie in is in `reads`."""

    low: Lowering
    reads: list[Access] = field(default_factory=list)
    found: list[Expression] = field(default_factory=list)

    def add(self, v: Value, lazy: bool = False) -> None:
        """Have a value: a number as it is, all else in memory; with `lazy`, operations on what lies
        in memory may be left to be done."""
        e = self.low.values[v]
        if not (lazy and _is_plain(e)) and not isinstance(e, Load | Const):
            e = self.low.values[v] = Load(v.dtype, v.shape, self.low.operand(v))
        self.reads += [leaf.access for leaf in leaves(e) if isinstance(leaf, Load)]
        self.found.append(e)

    def expressions(self, accesses: Sequence[Access]) -> list[Expression]:
        """The values, where `accesses` are `reads` as they were in the end."""
        left = iter(accesses)
        return [
            with_leaves(e, lambda leaf: replace(leaf, access=next(left))) for e in self.found
        ]


def _is_plain(e: Expression) -> bool:
    """Whether an expression is operations on memory and numbers."""
    return isinstance(e, Op) and all(isinstance(leaf, Load | Const) for leaf in leaves(e))


def with_leaves(
    e: Expression, change: Callable[[Load], Expression], shape: tuple[int, ...] | None = None
) -> Expression:
    """An expression of loads, each changed, in the order of `leaves`; of another shape, if given."""
    memo: dict[int, Expression] = {}

    def visit(x: Expression) -> Expression:
        if id(x) not in memo:
            to = x.shape if shape is None else shape
            if isinstance(x, Load):
                memo[id(x)] = change(x)
            elif isinstance(x, Op):
                memo[id(x)] = replace(x, shape=to, args=tuple(map(visit, x.args)))
            else:
                memo[id(x)] = replace(x, shape=to)
        return memo[id(x)]

    return visit(e)


def _settled(low: Lowering, graph: Graph, constants: dict[Value, Value], all_: bool) -> Graph:
    """The graph without what depends on constants only, which is lowered here, outside of the loop
    (unless `all_`, views alone). What the rest uses of it are further inputs in front."""
    low.values.update((inner, low.values[outer]) for inner, outer in constants.items())
    fixed = dict.fromkeys(constants)
    rest = []
    for node in graph.nodes:
        free = node.primitive.kind == "layout"
        if node.inputs and all(v in fixed for v in node.inputs) and (all_ or free):
            low.node(node)
            fixed.update(dict.fromkeys(node.outputs))
        else:
            rest.append(node)
    used = {v for node in rest for v in node.inputs} | set(graph.outputs)
    own = [v for v in graph.inputs if v not in constants]
    return Graph([*(v for v in fixed if v in used), *own], rest, graph.outputs)


def _live(low: Lowering, node: Node) -> list[bool]:
    """Which outputs of a node somebody uses."""
    if node not in low.graph.nodes:  # of a graph inside
        return [True] * len(node.outputs)
    used = {v for n in low.graph.nodes for v in n.inputs} | {v for v, _ in low.outputs}
    return [v in used for v in node.outputs]


# -- scan ---------------------------------------------------------------------------------------------


@rule("scan")
def _scan(low: Lowering, node: Node) -> None:
    _Scan(low, node).schedule()


class _Carry:
    """A carry: the slots that a step reads and writes, and one for the memory to write next."""

    def __init__(self, flow: Flow, v: Value):
        self.read, self.write, self.spare = flow.slot(), flow.slot(), flow.slot()
        strides = contiguous_strides(v.shape)
        self.source = Load(v.dtype, v.shape, Access(self.read, v.dtype, v.shape, strides))
        self.target = replace(self.source.access, buffer=self.write)
        self.places: list[Access] = []

    def begin(self, init: Access, first: Access, second: Access) -> list[Operation]:
        """Read the initial value; write the two places in turn."""
        self.places = [init, first, second]
        return [point(self.read, init), point(self.write, first), point(self.spare, second)]

    def turn(self) -> Operation:
        return turn(self.read, self.write, self.spare)


class _Scan:
    def __init__(self, low: Lowering, node: Node):
        self.low, self.node = low, node
        at = node.attributes
        self.length, self.reverse = at["length"], at["reverse"]
        body: Graph = at["body"]
        fixed, self.init, self.xs = parts(node.inputs, at["consts"], at["carries"])
        constants, self.carries, self.slices = parts(body.inputs, at["consts"], at["carries"])
        live = _live(low, node)
        count = at["carries"]
        self.last, ys = node.outputs[:count], node.outputs[count:]
        self.ys = [y for y, used in zip(ys, live[count:], strict=True) if used]
        kept = [v for v, used in zip(body.outputs[count:], live[count:], strict=True) if used]
        outputs = [*body.outputs[:count], *kept]
        needed = Graph(body.inputs, body.nodes, outputs).pruned()
        self.body = _settled(low, needed, dict(zip(constants, fixed, strict=True)), True)

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
        carries = [_Carry(flow, v) for v in self.last]
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


# -- while --------------------------------------------------------------------------------------------


@rule("while")
def _while(low: Lowering, node: Node) -> None:
    at = node.attributes
    split = at["consts"]
    fixed, init = node.inputs[:split], node.inputs[split:]
    around, graphs, own = Around(low), [], []
    sizes = []
    for graph in (at["cond"], at["body"]):
        constants = dict(zip(graph.inputs[:split], fixed, strict=True))
        settled = _settled(low, graph, constants, False)
        graphs.append(settled)
        carries = graph.inputs[split:]
        own.append(carries)
        mine = [v for v in settled.inputs if v not in carries]
        sizes.append(len(mine))
        for v in mine:
            around.add(v)
    begin = [low.in_memory(low.values[v]).access for v in init]
    last = [low.destination(v) for v in node.outputs]
    limit = at["limit"]
    reads = len(around.reads)

    def emit(p: ProgramBuilder, *accesses: Access) -> None:
        flow = Flow.of(p)
        consts, starts, ends = (
            accesses[:reads], accesses[reads : reads + len(begin)], accesses[reads + len(begin) :],
        )  # fmt: skip
        outside = around.expressions(consts)
        carries = [_Carry(flow, v) for v in node.outputs]
        touched = list(accesses)
        operations: list[Operation] = []
        for carry, start in zip(carries, starts, strict=True):
            pair = [p.temp_like(start.dtype, start.shape) for _ in range(2)]
            touched += pair
            operations += carry.begin(start, *pair)
        counter, top, done = flow.slot(), Mark(), Mark()
        flow.begin({a.buffer for a in consts}, min(limit or STEPS, STEPS))
        flow.control([*operations, count(counter, limit or 0)], touched)
        flow.mark(top)
        sources = [c.source for c in carries]
        flag = p.temp_like(bool_, ())
        BodyLowering(p, graphs[0], [*outside[: sizes[0]], *sources], [flag]).run()
        flow.control([unless(flag, done)], [flag])
        targets = [c.target for c in carries]
        BodyLowering(p, graphs[1], [*outside[sizes[0] :], *sources], targets).run()
        back = jump(top) if limit is None else repeat(counter, top)
        flow.control([*(c.turn() for c in carries), back])
        flow.mark(done)
        for source, end in zip(sources, ends, strict=True):
            lower_elementwise(p, [Store(source, end)])
        flow.control((), touched)
        flow.end()

    low.opaque([*around.reads, *begin], last, emit)


@rule("missing")
def _missing(low: Lowering, node: Node) -> None:
    raise Limit(WHY)


# -- cond ---------------------------------------------------------------------------------------------


@rule("cond")
def _cond(low: Lowering, node: Node) -> None:
    live = _live(low, node)
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


__all__ = ["BodyLowering"]
