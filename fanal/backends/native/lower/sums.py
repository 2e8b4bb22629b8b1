"""Sums over rows that come in chunks, in the order that they have over all rows at once.

A contraction adds blocks of KC products; a chunk's blocks are added one by one. A reduction has lanes
(`loops.reductions`): the chunk's rows enter the lanes, which are folded where a block of rows ends.
"""

from __future__ import annotations

from fanal.backends.native.contract.shape import KC
from fanal.backends.native.loops.reductions import Order, order_of
from fanal.backends.native.lower.rowwise import Chunk, Rows, sliced
from fanal.backends.native.target import Target
from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.graph.ir import Node, Value
from fanal.ops.dot import dot_p
from fanal.ops.layout import concat_p, reshape_p
from fanal.ops.reduce import reduce_sum_p
from fanal.ops.stops import hold_p

# Sums of narrower numbers are rounded when they are kept.
_DTYPES = (dtypes.float32, dtypes.float64)


class RowSum:
    """A node that sums over the rows, and its total so far."""

    def __init__(self, node: Node):
        self.node = node

    def add(self, chunk: Chunk) -> None:
        """Add the next rows."""
        raise NotImplementedError

    def result(self) -> Value:
        raise NotImplementedError


def row_sum(node: Node, rows: Rows, target: Target) -> RowSum | None:
    """The sum that a node is; None where it is none, or one of values that may be kept whole."""
    if len(node.outputs) != 1 or node.outputs[0].dtype not in _DTYPES:
        return None
    if not any(map(rows.is_large, node.inputs)):
        return None
    if node.primitive is dot_p and node.attributes["batch"] == ((), ()):
        leads = [rows.lead(v) for v in node.inputs]
        all_rows = [
            lead is not None and dims == tuple(range(lead))
            for lead, dims in zip(leads, node.attributes["contract"], strict=True)
        ]
        return _ProductSum(node) if all(all_rows) else None
    if node.primitive is reduce_sum_p:
        x = node.inputs[0]
        lead = rows.lead(x)
        left = [n for d, n in enumerate(x.shape[:lead]) if d not in node.attributes["dims"]]
        if lead is not None and max(node.attributes["dims"]) < lead and set(left) <= {1}:
            return _LaneSum(node, order_of(target, node.outputs[0].dtype))
    return None


def _kept(total: Value | None, part: Value | None) -> Value:
    """The total with one more part, in the memory of the total."""
    assert part is not None
    found: Value = bind(hold_p, part if total is None else total + part)
    return found


class _ProductSum(RowSum):
    """aᵀ · b over the rows."""

    def __init__(self, node: Node):
        super().__init__(node)
        self.total: Value | None = None

    def add(self, chunk: Chunk) -> None:
        a, b = (chunk.of(v) for v in self.node.inputs)
        for start in range(0, chunk.size, KC):
            stop = min(start + KC, chunk.size)
            part = bind(
                dot_p, sliced(a, start, stop), sliced(b, start, stop), contract=((0,), (0,)),
                batch=((), ()),
            )  # fmt: skip
            self.total = _kept(self.total, part)

    def result(self) -> Value:
        assert self.total is not None
        return self.total


class _LaneSum(RowSum):
    """The sum of the rows themselves."""

    def __init__(self, node: Node, order: Order):
        super().__init__(node)
        self.order = order
        self.lanes: Value | None = None  # of the block of rows that is being added
        # Of the blocks before: sums of whole superblocks, and of the one that is being added.
        self.totals: list[Value | None] = [None, None]

    def add(self, chunk: Chunk) -> None:
        x, order = chunk.of(self.node.inputs[0]), self.order
        assert KC % order.width == 0 and order.block % KC == 0
        for start in range(0, chunk.size, KC):
            stop = min(start + KC, chunk.size)
            total = self.lanes
            for row in range(start, stop, order.width):
                part = sliced(x, row, min(row + order.width, stop))
                total = part if total is None else _onto(total, part)
            self.lanes = _kept(None, total)
            if (chunk.start + stop) % order.block == 0:
                self._fold()
            if (chunk.start + stop) % order.superblock == 0:
                self._join()

    def _fold(self) -> None:
        if self.lanes is not None:
            block = bind(reduce_sum_p, self.lanes, dims=(0,))
            self.lanes, self.totals[1] = None, _kept(self.totals[1], block)

    def _join(self) -> None:
        whole, last = self.totals
        if last is not None:
            self.totals = [_kept(whole, last), None]

    def result(self) -> Value:
        self._fold()
        self._join()
        assert self.totals[0] is not None
        found: Value = bind(reshape_p, self.totals[0], shape=self.node.outputs[0].shape)
        return found


def _onto(lanes: Value, part: Value) -> Value:
    """The lanes with one more row each; the last rows may be fewer than lanes."""
    count, width = part.shape[0], lanes.shape[0]
    if count == width:
        return lanes + part
    sums = sliced(lanes, 0, count) + part
    joined: Value = bind(concat_p, sums, sliced(lanes, count, width), dim=0)
    return joined
