"""Graphs inside of a program: bodies and branches lowered into the program around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fanal.backends.native.flow import Flow, Operation, point, turn
from fanal.backends.native.loops.expression import Const, Expression, Load, Op, leaves
from fanal.backends.native.lower.lowering import Lowering
from fanal.backends.native.lower.schedule import Schedule
from fanal.backends.native.lower.whole import WholeLowering
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.graph.ir import Graph, Node, Value
from fanal.ops.primitive import contiguous_strides


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

        self.results = {access.buffer for _, access in self.outputs}
        self.parts = _parted(graph)
        self.users.update(dict.fromkeys(self.parts, 1))

    def _is_temporary(self, buffer: int) -> bool:
        """Results lie in memory of the program around, which reads them: a carry is needed at the next
        step, whatever else of this one is made of it."""
        return super()._is_temporary(buffer) and buffer not in self.results

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
        self.schedule.drop_unread({a.buffer for _, a in outputs})
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


def settled(low: Lowering, graph: Graph, constants: dict[Value, Value], all_: bool) -> Graph:
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


def live_outputs(low: Lowering, node: Node) -> list[bool]:
    """Which outputs of a node somebody uses."""
    if node not in low.graph.nodes:  # of a graph inside
        return [True] * len(node.outputs)
    used = {v for n in low.graph.nodes for v in n.inputs} | {v for v, _ in low.outputs}
    return [v in used for v in node.outputs]


class Carry:
    """A carry: the slots that a step reads and writes, and one for the memory to write next."""

    def __init__(self, flow: Flow, v: Value):
        self.read, self.write, self.spare = flow.slot(), flow.slot(), flow.slot()
        strides = contiguous_strides(v.shape)
        self.source = Load(v.dtype, v.shape, Access(self.read, v.dtype, v.shape, strides))
        self.target = replace(self.source.access, buffer=self.write)

    def begin(self, init: Access, first: Access, second: Access) -> list[Operation]:
        """Read the initial value; write the two places in turn."""
        return [point(self.read, init), point(self.write, first), point(self.spare, second)]

    def turn(self) -> Operation:
        return turn(self.read, self.write, self.spare)
