"""Whole programs: graphs with state, whose outputs may lie in their inputs' memory.

What differs from a single function's graph: an output may replace an input (a parameter's new value),
so everything that reads the old one comes first; and values that are used again far away are kept in
memory rather than computed anew at every use.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fanal.backends.native.emit.value import bits_of
from fanal.backends.native.loops.convert import compute_type
from fanal.backends.native.loops.elementwise import Store
from fanal.backends.native.loops.expression import (
    Expression,
    Gather,
    Load,
    Op,
    Random,
    buffers_of,
    children,
    leaves,
    may_fail,
)
from fanal.backends.native.lower.barriers import without_barriers
from fanal.backends.native.lower.groups import ElementEntry, resolved
from fanal.backends.native.lower.lowering import Lowering, joined_parts, lies_at
from fanal.backends.native.lower.orders import memory_orders, strides_in
from fanal.backends.native.lower.schedule import Schedule
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.backends.native.target import Target
from fanal.graph.ir import Graph, Node, Value
from fanal.ops.arithmetic import add_p
from fanal.ops.index import gather_p
from fanal.ops.layout import reshape_strides
from fanal.ops.stops import after_p, hold_p

# How often what is computed small is used large, from which on it is kept; the same where it is looked up
# in a table or drawn, element by element.
_USES, _USES_OF_LOOKED_UP = 8, 2
# Operations from which on an expression is kept rather than computed at each of several uses.
MANY_OPERATIONS = 24


class WholeLowering(Lowering):
    """Lowering of a graph whose outputs are new memory or replace inputs.

    Outputs that replace inputs are stored last, when all else has been read. Stores that read one
    another's targets are one pass, which reads each place before it writes it.
    """

    waits = True

    def __init__(
        self, graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access], target: Target,
        steady: Iterable[int] | None = None,
    ):  # fmt: skip
        super().__init__(graph, inputs, outputs, target)
        count = max([len(inputs) - 1, *(a.buffer for a in outputs)]) + 1
        # The last argument is what is kept between calls.
        self.kept = None if steady is None else count
        self.program = ProgramBuilder(target, count + (steady is not None), steady=set(steady or ()))
        self.schedule = Schedule(related=True)
        self.final: list[ElementEntry] = []
        self.users = _users(graph)
        self.orders = memory_orders(graph, lambda v: target.lanes(bits_of(compute_type(v.dtype))))
        # New values of state are computed by the pass that stores them, with all that they share.
        self.replacing = {v for v, access in self.outputs if access.buffer < len(inputs)}
        # What must lie in memory later does so from the start, and all that use it read it there: what is
        # computed from a second time, and what is read at computed places.
        self.awaited = {n.inputs[0] for n in graph.nodes if n.primitive in (after_p, gather_p)}
        self.consumers: dict[Value, list[Node]] = {}
        for node in graph.nodes:
            for v in set(node.inputs):
                self.consumers.setdefault(v, []).append(node)
        self._hand_on_destinations()

    def _hand_on_destinations(self) -> None:
        """What an output is a view of is computed right in the output's memory, if strides can
        express it there; so are the parts of a join."""
        for node in reversed(self.graph.nodes):
            name, out = node.primitive.name, node.outputs[0]
            if name in ("reshape", "permute") and out in self.destinations:
                moved = _seen_back(node, self.destinations[out])
                if moved is not None and node.inputs[0].node is not None:
                    self.destinations.setdefault(node.inputs[0], moved)
            elif name in ("concat", "interleave"):
                to = self.destinations.get(out) or self._temporary(out)
                self.destinations[out] = to
                for v, part in zip(node.inputs, joined_parts(node, to), strict=True):
                    if v.node is not None and self.users.get(v) == 1:
                        self.destinations.setdefault(v, part)
            else:
                self._hand_on_totals(node)

    def _hand_on_totals(self, node: Node) -> None:
        """A total that is kept while parts are added to it stays where the last one will be."""
        out = node.outputs[0]
        if node.primitive is hold_p:
            v = node.inputs[0]
            if out not in self.destinations and self._grown(v) is not None:
                self.destinations[out] = self._temporary(out)
            if out in self.destinations and v.node is not None:
                self.destinations.setdefault(v, self.destinations[out])
        elif out in self.destinations:
            total = self._grown(out)
            if total is not None and total not in self.destinations:
                self.destinations[total] = self.destinations[out]
                # The old total is gone when the new one is there.
                self.awaited.add(out)

    def _grown(self, v: Value) -> Value | None:
        """The kept total that something is added to in a value, if nothing else reads it."""
        if v.node is None or v.node.primitive is not add_p:
            return None
        kept = [x for x in v.node.inputs if x.node is not None and x.node.primitive is hold_p]
        if len(kept) != 1 or kept[0].node is None:
            return None
        alone = self.users.get(kept[0]) == self.users.get(kept[0].node.inputs[0]) == 1
        return kept[0] if alone else None

    def _temporary(self, value: Value) -> Access:
        """Memory for a value, in the order in which what reads it wants it."""
        wanted = self._seen_later(value)
        if wanted is not None:
            return wanted
        order = self.orders.get(value)
        dense = self.program.temp_like(value.dtype, value.shape)
        return dense if order is None else replace(dense, strides=strides_in(value.shape, order))

    def _seen_later(self, value: Value) -> Access | None:
        """The value in a memory of which a later reshape of it, turned round, is a view; None where no
        such thing is wanted. (Attention's output also serves its own backward pass, in any order.)"""
        chain: list[Node] = []
        at, turned, last = value, False, 0
        while True:
            found = self.consumers.get(at, [])
            views = [n for n in found if n.primitive.name in ("permute", "reshape")]
            own = value.node is not None and value.node.primitive.kind == "attention"
            alone = self.users.get(at) == 1 or (at is value and own)
            if len(views) != 1 or not alone:
                break
            chain += views
            turned |= views[0].primitive.name == "permute"
            at = views[0].outputs[0]
            if turned and views[0].primitive.name == "reshape":
                last = len(chain)
        if last == 0:
            return None
        end = chain[last - 1].outputs[0]
        access: Access | None = self.program.temp_like(end.dtype, end.shape)
        for node in reversed(chain[:last]):
            assert access is not None
            access = _seen_back(node, access)
            if access is None:
                return None
        return access

    def destination(self, value: Value) -> Access:
        access = self.destinations.get(value)
        if access is None:
            access = self._temporary(value)
        self.written.add(access.buffer)
        self.owners[access.buffer] = value.node
        self.values[value] = Load(value.dtype, value.shape, access)
        return access

    def node(self, node: Node) -> None:
        if node.primitive is hold_p:
            self.keep(node.inputs[0])
            self.values[node.outputs[0]] = self.values[node.inputs[0]]
            return
        # What is computed small and used large is computed once, not at each place of use.
        name, value = node.primitive.name, node.inputs[0] if node.inputs else None
        single = name == "reshape" and value is not None and math.prod(value.shape) == 1
        seen = single or name in ("expand", "slice")
        if value is not None and seen and isinstance(self.values[value], Op | Gather | Random):
            times = _USES_OF_LOOKED_UP if _is_looked_up(self.values[value]) else _USES
            small = math.prod(value.shape) * times <= math.prod(node.outputs[0].shape)
            if single or name == "slice" or small:
                self.keep(value)
        super().node(node)
        for out in node.outputs:
            if out in self.awaited:
                self.keep(out)
            again = self.users.get(out, 0) > 1 and out not in self.replacing
            if again and self._worth_keeping(self.values[out]):
                self.keep(out)

    def keep(self, value: Value) -> None:
        """Compute a value into memory now (its output's, if it is one); later uses read it."""
        e = self.values[value]
        if isinstance(e, Load):
            return
        to = self.destination(value)
        self.schedule.store(e, to)

    def operand(self, value: Value) -> Access:
        self.keep(value) if not isinstance(self.values[value], Load) else None
        return super().operand(value)

    def _worth_keeping(self, e: Expression) -> bool:
        """Whether an expression that is used several times costs more than what it reads back."""
        if not isinstance(e, Op):
            return False
        size = math.prod(e.shape)
        large = {
            (leaf.access.buffer, leaf.access.offset, leaf.access.strides)
            for leaf in leaves(e)
            if isinstance(leaf, Load) and 2 * _distinct(leaf.access) >= size
        }
        return len(large) >= 2 or _operations(e) >= MANY_OPERATIONS

    def run(self) -> ProgramBuilder:
        for node in self.graph.nodes:
            self.node(node)
        inputs = len(self.graph.inputs)
        stores, fresh = [], []
        for value, access in self.outputs:
            if access.buffer >= inputs:
                fresh.append((value, access))
            elif value is not self.graph.inputs[access.buffer]:
                e = resolved(self.values[value], self.names)
                stores.append(Store(self._sound(e), access))
        for value, access in fresh:
            if not lies_at(self.values[value], access):
                self.schedule.store(self.values[value], access)
        for family in families(stores):
            self._store_family(family)
        self.schedule.entries = [*without_barriers(self.schedule.entries, self.names), *self.final]
        arguments = {a.buffer for _, a in self.outputs} | set(range(inputs))
        self.schedule.drop_unread(arguments)
        self.outputs = []
        self.graph = Graph(self.graph.inputs, [], [])
        return super().run()

    def _sound(self, e: Expression) -> Expression:
        """A new value of state, computed apart where that can fail: nothing is written then."""
        return self.in_memory(replace(e)) if may_fail(e) else e

    def _store_family(self, stores: list[Store]) -> None:
        """Append the passes of stores that depend on one another's targets, readers first."""
        written = {s.to.buffer: s.to for s in stores}
        passes: dict[tuple[int, ...], list[Store]] = {}
        for s in stores:
            if not reads_in_place(s.expression, written):
                s = Store(self.in_memory(replace(s.expression)), s.to)
            passes.setdefault(s.to.shape, []).append(s)
        waiting = list(passes.values())
        while waiting:
            ready = [one for one in waiting if not _read_elsewhere(one, waiting)]
            if ready:
                chosen = ready[0]
            else:  # two passes want one another's old values: one of them is computed apart
                chosen = min(waiting, key=lambda one: math.prod(one[0].to.shape))
                number = waiting.index(chosen)
                chosen = [Store(self.in_memory(s.expression), s.to) for s in chosen]
                waiting[number] = chosen
                if _read_elsewhere(chosen, waiting):
                    rest = [one for one in waiting if one is not chosen]
                    for one in rest:
                        one[:] = [Store(self.in_memory(s.expression), s.to) for s in one]
            waiting = [one for one in waiting if one is not chosen]
            reads = {b for s in chosen for b in buffers_of(s.expression)}
            self.final.append(ElementEntry(reads, {s.to.buffer for s in chosen}, chosen, commits=True))


def _seen_back(node: Node, to: Access) -> Access | None:
    """Where the operand of a view lies if its result lies at `to`."""
    x = node.inputs[0]
    if node.primitive.name == "permute":
        strides = [0] * x.ndim
        for d, s in zip(node.attributes["dims"], to.strides, strict=True):
            strides[d] = s
        return replace(to, shape=x.shape, strides=tuple(strides))
    found = reshape_strides(to.shape, to.strides, x.shape)
    return None if found is None else replace(to, shape=x.shape, strides=found)


def _users(graph: Graph) -> dict[Value, int]:
    """How many nodes and outputs use each value."""
    found: dict[Value, int] = {}
    for node in graph.nodes:
        for v in set(node.inputs):
            found[v] = found.get(v, 0) + 1
    for v in graph.outputs:
        found[v] = found.get(v, 0) + 1
    return found


def _distinct(access: Access) -> int:
    """Elements that an access touches (repeated ones once)."""
    return math.prod(n for n, s in zip(access.shape, access.strides, strict=True) if s != 0)


def _is_looked_up(e: Expression) -> bool:
    """Whether an expression takes an element of a table, or a random number, each time."""
    return any(isinstance(leaf, Gather | Random) for leaf in leaves(e))


def _operations(e: Expression) -> int:
    """How many operations an expression takes."""
    seen: set[int] = set()
    stack: list[Expression] = [e]
    count = 0
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        count += isinstance(x, Op) + 12 * isinstance(x, Random)
        stack += children(x)
    return count


def families(stores: list[Store]) -> list[list[Store]]:
    """Stores in groups that are connected by reading one another's targets."""
    owner = {s.to.buffer: i for i, s in enumerate(stores)}
    parent = list(range(len(stores)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, s in enumerate(stores):
        for buffer in buffers_of(s.expression):
            if buffer in owner:
                parent[root(i)] = root(owner[buffer])
    groups: dict[int, list[Store]] = {}
    for i, s in enumerate(stores):
        groups.setdefault(root(i), []).append(s)
    return list(groups.values())


def reads_in_place(e: Expression, written: dict[int, Access]) -> bool:
    """Whether an expression reads the targets of one shape exactly at its own index, so that it
    can be computed in the pass that writes them (targets of other shapes it may read anyhow)."""
    for leaf in leaves(e):
        for buffer in buffers_of(leaf):
            to = written.get(buffer)
            if to is None or to.shape != e.shape:
                continue
            if not isinstance(leaf, Load) or leaf.access != to:
                return False
    return True


def _read_elsewhere(stores: list[Store], waiting: Iterable[list[Store]]) -> bool:
    """Whether another pass that is still to come reads what these stores write."""
    writes = {s.to.buffer for s in stores}
    return any(
        buffers_of(s.expression) & writes for one in waiting if one is not stores for s in one
    )
