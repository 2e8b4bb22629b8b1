"""Walking a graph: each node becomes an expression, an entry of the schedule, or nothing at all.

Elementwise nodes and views stay expressions until something needs them in memory. Reductions write
*virtual* buffers (negative numbers): if only their own group reads them they never exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from fanal.backends.native.loops.expression import (
    CannotView,
    Const,
    Expression,
    Gather,
    Load,
    Op,
    Ramp,
    Random,
    buffers_of,
    leaves,
    viewed,
)
from fanal.backends.native.loops.rows import CannotMerge
from fanal.backends.native.loops.views import VIEWS, View, expand_view, reshape_view, slice_view
from fanal.backends.native.lower import repeats
from fanal.backends.native.lower.epilogues import ContractionEntry, take_epilogues
from fanal.backends.native.lower.groups import OpaqueEntry, check_merge, real_access
from fanal.backends.native.lower.orders import Order, strides_in
from fanal.backends.native.lower.schedule import Schedule
from fanal.backends.native.lower.sources import unit_of
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.backends.native.target import Target
from fanal.core import dtypes
from fanal.graph.ir import Graph, Node, Value, attribute_key
from fanal.ops.interleaving import offsets
from fanal.ops.primitive import contiguous_strides

Shape = tuple[int, ...]
Rule = Callable[["Lowering", Node], None]
RULES: dict[str, Rule] = {}  # structural primitives; filled by the files of this package


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the lowering of structural primitives."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


class Lowering:
    """One graph on its way to a program."""

    waits = False  # whether values may have to come after others

    def __init__(
        self, graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access], target: Target
    ):
        self.graph = graph
        self.target = target
        self.program = ProgramBuilder(target, len(inputs) + len(outputs))
        self.schedule = Schedule()
        self.values: dict[Value, Expression] = dict(zip(graph.inputs, inputs, strict=True))
        self.virtual: dict[int, Access] = {}
        self.names: dict[int, Access] = {}  # of memory that has another number, too (`barriers.py`)
        self.orders: dict[Value, Order] = {}  # of values that lie otherwise than in order
        self.destinations: dict[Value, Access] = {}
        for value, access in zip(graph.outputs, outputs, strict=True):
            if value.node is not None and access.buffer >= len(inputs):
                self.destinations.setdefault(value, access)
        self.outputs = list(zip(graph.outputs, outputs, strict=True))
        self.written: set[int] = set()
        # Whose values lie in buffers, and what is being lowered: kernels say which nodes are in them.
        self.owners = {access.buffer: value.node for value, access in self.outputs}
        self.current: Node | None = None

    def run(self) -> ProgramBuilder:
        for node in self.graph.nodes:
            self.node(node)
        for value, access in self.outputs:
            if access.buffer not in self.written:
                self.schedule.store(self._safe(self.values[value], access), access)
        real: dict[int, Access] = {}
        for number in sorted(self.schedule.needed(set(self.virtual)), reverse=True):
            virtual = self.virtual[number]
            dense = self.program.temp_like(virtual.dtype, virtual.shape)
            real[number] = replace(dense, strides=virtual.strides)
        real.update({number: real_access(a, real) for number, a in self.names.items()})
        around = self.program.unit
        for entry in take_epilogues(self.schedule.entries, self._is_temporary):
            form = repeats.Form(entry, real)
            unit = unit_of(entry, form.nodes, self.owners)
            self.program.unit = unit if unit.nodes or around is None else around
            self.program.commits = entry.commits
            repeats.emit(entry, form, self.program, real)
        self.program.unit, self.program.commits = around, False
        return self.program

    def _is_temporary(self, buffer: int) -> bool:
        """Whether memory is this program's own."""
        return buffer >= self.program.arguments

    def _safe(self, e: Expression, to: Access) -> Expression:
        """For a write in place: an expression that reads the same memory elsewhere than it writes
        is computed apart first."""
        if to.buffer >= len(self.graph.inputs) or to.buffer not in buffers_of(e):
            return e
        same = all(
            isinstance(leaf, Load) and leaf.access == to
            for leaf in leaves(e)
            if to.buffer in buffers_of(leaf)
        )
        return e if same else self.in_memory(replace(e))

    def node(self, node: Node) -> None:
        """Turn one node into expressions and entries of the schedule."""
        kind, name = node.primitive.kind, node.primitive.name
        self.current = node
        if kind == "elementwise":
            args = tuple(self.values[v] for v in node.inputs)
            out = node.outputs[0]
            operand = node.inputs[-1].dtype
            self.values[out] = Op(out.dtype, out.shape, node.primitive.native, args, operand, node)
        elif name in VIEWS:
            out = node.outputs[0]
            view = VIEWS[name](node)
            self.values[out] = self.view(self.values[node.inputs[0]], out.shape, view)
        elif kind in ("reduce", "arg_reduce"):
            self._reduce(node)
        else:
            RULES[kind if kind in ("host", "composed") else name](self, node)

    def view(self, e: Expression, shape: Shape, view: View) -> Expression:
        """A view of an expression, through memory where strides can't express it."""
        try:
            return viewed(e, shape, view, {})
        except CannotView:
            return viewed(self.in_memory(e), shape, view, {})

    def _reduce(self, node: Node) -> None:
        e = self.values[node.inputs[0]]
        dims = node.attributes.get("dims")
        dims = (node.attributes["dim"],) if dims is None else tuple(sorted(dims))
        out = node.outputs[0]
        op = node.primitive.name.removeprefix("reduce_")
        if not dims:
            self.values[out] = replace(e)
            return
        if math.prod(e.shape) == 0:  # what the reduction of nothing gives
            value = {"prod": 1, "all": True}.get(op, 0)
            self.values[out] = Const(out.dtype, out.shape, value)
            return
        try:
            check_merge(e.shape, dims, [e])
        except CannotMerge:
            e = self.in_memory(e)
        number = self._virtual_number()
        order = self.orders.get(out, tuple(range(out.ndim)))
        access = Access(number, out.dtype, out.shape, strides_in(out.shape, order))
        self.virtual[number] = access
        self.owners[number] = node
        self.schedule.reduce(op, e, dims, access)
        self.values[out] = Load(out.dtype, out.shape, access)

    def _virtual_number(self) -> int:
        return -1 - len(self.virtual) - len(self.names)

    def named(self, access: Access) -> int:
        """Another number for a buffer."""
        number = self._virtual_number()
        self.names[number] = real_access(access, self.names)
        return number

    # -- for rules ---------------------------------------------------------------------------------

    def in_memory(self, e: Expression, contiguous: bool = True) -> Load:
        """The expression as a load of memory (computed into a temporary if it is not one)."""
        if isinstance(e, Load) and not e.scalar and (
            not contiguous or e.access.strides == contiguous_strides(e.shape)
        ):
            return e
        access = self.program.temp_like(e.dtype, e.shape)
        self.owners[access.buffer] = self.current
        self.schedule.store(e, access)
        return Load(e.dtype, e.shape, access)

    def operand(self, value: Value) -> Access:
        """Where a structural primitive finds an operand (any strides)."""
        return self.in_memory(self.values[value], contiguous=False).access

    def destination(self, value: Value) -> Access:
        """Where a structural primitive writes a result: the output's memory, or a temporary."""
        access = self.destinations.get(value)
        if access is None or access.buffer in self.written:
            access = self.program.temp_like(value.dtype, value.shape)
        self.written.add(access.buffer)
        self.owners[access.buffer] = value.node
        self.values[value] = Load(value.dtype, value.shape, access)
        return access

    def opaque(
        self,
        reads: Sequence[Access],
        writes: Sequence[Access],
        emit: Callable[..., None],
        form: tuple[Any, ...] | None = None,
    ) -> None:
        """Schedule phases: `emit(program, *reads, *writes)` is called with real accesses.

        `form`: all that the phases depend on besides the accesses; None: who knows.
        """
        accesses = (*reads, *writes)

        def run(p: ProgramBuilder, real: dict[int, Access]) -> None:
            emit(p, *(real_access(a, real) for a in accesses))

        read, written = {a.buffer for a in reads}, {a.buffer for a in writes}
        self.schedule.append(OpaqueEntry(read, written, run, accesses, form, nodes=self._now()))

    def _now(self) -> tuple[Node, ...]:
        return () if self.current is None else (self.current,)

    def contraction(
        self, operands: Sequence[Access], out: Access, emit: Callable[..., None],
        form: tuple[Any, ...] | None = None,
    ) -> None:  # fmt: skip
        """Schedule `emit(program, *operands, out, epilogue)`. `form`: as of `opaque`."""
        reads = {a.buffer for a in operands}
        entry = ContractionEntry(
            reads, {out.buffer}, accesses=tuple(operands), form=form, out=out, lower=emit,
            nodes=self._now(),
        )  # fmt: skip
        self.schedule.append(entry)


def node_form(node: Node) -> tuple[Any, ...]:
    """What a rule's phases depend on besides their operands: the primitive, its attributes, the types."""
    types = [(v.dtype.name, v.shape) for v in (*node.inputs, *node.outputs)]
    return node.primitive.name, attribute_key(node.attributes), *types


def lower(
    graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access], target: Target
) -> ProgramBuilder:
    """The phases that compute a graph's outputs from its inputs."""
    return Lowering(graph, inputs, outputs, target).run()


@rule("full")
def _full(low: Lowering, node: Node) -> None:
    out = node.outputs[0]
    low.values[out] = Const(out.dtype, out.shape, node.attributes["value"])


@rule("iota")
def _iota(low: Lowering, node: Node) -> None:
    out = node.outputs[0]
    strides = tuple(int(d == node.attributes["dim"]) for d in range(out.ndim))
    low.values[out] = Ramp(out.dtype, out.shape, strides)


@rule("random_bits")
def _random(low: Lowering, node: Node) -> None:
    out = node.outputs[0]
    key = low.in_memory(low.values[node.inputs[0]]).access
    position = Ramp(dtypes.int64, out.shape, contiguous_strides(out.shape))
    low.values[out] = Random(out.dtype, out.shape, key, position, node)


def window(access: Access, low: Shape, shape: Shape, step: Shape) -> Access:
    """The part of an access that starts at `low` and takes every step-th element."""
    offset = sum(a * s for a, s in zip(low, access.strides, strict=True))
    strides = tuple(s * k for s, k in zip(access.strides, step, strict=True))
    return replace(
        access, shape=shape, strides=strides, offset=access.offset + offset * access.dtype.itemsize
    )


def lies_at(e: Expression, access: Access) -> bool:
    """Whether an expression is what lies at a place in memory."""
    if not isinstance(e, Load) or e.scalar:
        return False
    mine = e.access
    return (
        (mine.buffer, mine.offset, mine.dtype) == (access.buffer, access.offset, access.dtype)
        and mine.shape == access.shape
        and all(
            n == 1 or s == t
            for n, s, t in zip(mine.shape, mine.strides, access.strides, strict=True)
        )
    )


@rule("pad")
def _pad(low: Lowering, node: Node) -> None:
    attributes: dict[str, Any] = node.attributes
    x, out = low.values[node.inputs[0]], node.outputs[0]
    step = tuple(i + 1 for i in attributes["interior"])
    # Elements that negative padding cuts away are sliced off first.
    starts, stops = [], []
    for n, m, a, k in zip(x.shape, out.shape, attributes["low"], step, strict=True):
        start = -(a // k) if a < 0 else 0
        stop = min(n, max(start, -(-(m - a) // k))) if m - a > 0 else start
        starts.append(min(start, n))
        stops.append(max(min(start, n), stop))
    shape = tuple(b - a for a, b in zip(starts, stops, strict=True))
    if shape != x.shape:
        x = low.view(x, shape, slice_view(tuple(starts), (1,) * len(shape)))
    begin = tuple(
        a + s * k for a, s, k in zip(attributes["low"], starts, step, strict=True)
    )
    if shape == out.shape:
        low.values[out] = x
        return
    to = low.destination(out)
    low.schedule.store(Const(out.dtype, out.shape, attributes["value"]), to)
    low.schedule.store(x, window(to, begin, shape, step))


@rule("put_slice")
def _put_slice(low: Lowering, node: Node) -> None:
    x, part = (low.values[v] for v in node.inputs)
    to = low.destination(node.outputs[0])
    low.schedule.store(x, to)
    low.schedule.store(part, window(to, node.attributes["start"], part.shape, node.attributes["step"]))


def joined_parts(node: Node, to: Access) -> list[Access]:
    """Where in the memory of a join each of its operands lies."""
    ndim = node.outputs[0].ndim
    if node.primitive.name == "interleave":
        step = node.attributes["step"]
        return [window(to, at, node.inputs[0].shape, step) for at in offsets(step)]
    found, at, dim = [], 0, node.attributes["dim"]
    for value in node.inputs:
        begin = tuple(at if d == dim else 0 for d in range(ndim))
        found.append(window(to, begin, value.shape, (1,) * ndim))
        at += value.shape[dim]
    return found


@rule("concat", "interleave")
def _join(low: Lowering, node: Node) -> None:
    parts = joined_parts(node, low.destination(node.outputs[0]))
    for value, part in zip(node.inputs, parts, strict=True):
        if not lies_at(low.values[value], part):
            low.schedule.store(low.values[value], part)


@rule("gather")
def _gather(low: Lowering, node: Node) -> None:
    table_value, *index_values = node.inputs
    table = low.in_memory(low.values[table_value], contiguous=False).access
    dims, out = node.attributes["dims"], node.outputs[0]
    rest = [d for d in range(table_value.ndim) if d not in dims]
    index_rank = index_values[0].ndim
    strides = (0,) * index_rank + tuple(table.strides[d] for d in rest)
    indices = []
    for value in index_values:
        wide = value.shape + (1,) * len(rest)
        e = low.view(low.values[value], wide, reshape_view(wide))
        indices.append(low.view(e, out.shape, expand_view(out.shape)))
    low.values[out] = Gather(
        out.dtype, out.shape, table, strides, 0, tuple(indices),
        tuple(table_value.shape[d] for d in dims), tuple(table.strides[d] for d in dims), node,
    )  # fmt: skip
