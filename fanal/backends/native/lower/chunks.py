"""A large matrix that only exists between contractions is computed a few rows at a time.

The logits of a language model are the case: a product of tokens and vocabulary, far larger than all that it
is made of, of which the loss wants a number a row and its gradient is multiplied away at once. Where all
that follows from such a matrix works row by row (elementwise operations, reductions of rows, softmax and
its gradient, products with other matrices) or sums over the rows (gradients of weights), the program
goes through it in chunks of rows, and only a chunk is ever in memory.

No bit changes: rows know nothing of one another, and sums over rows are taken up where the last chunk
left them, in the order that they have in one piece (`sums.py`). What decides is shapes alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fanal.backends.native.contract.shape import KC
from fanal.backends.native.lower.rowwise import Rows
from fanal.backends.native.lower.sums import RowSum, row_sum
from fanal.backends.native.target import Target
from fanal.core.dispatch import bind, tracing
from fanal.core.symbols import asked, is_settled
from fanal.graph.ir import Builder, Graph, Node, Value
from fanal.ops.layout import concat_p, reshape_p
from fanal.ops.stops import hold_p

# Bytes from which on a matrix is worth the smaller products; bytes of a chunk of it, and the fewest
# blocks of rows in one (of fewer, products run slower); how many chunks there are at the most.
LARGE = 48 << 20
CHUNK = 32 << 20
FEW_BLOCKS = 2
MANY = 64
# The part of the memory that must not be left for chunks to pay.
_SHARE = 0.5
# What is this many times smaller than the matrix may be kept whole.
_SMALLER = 2


def in_chunks(graph: Graph, target: Target) -> Graph:
    """The graph with the large matrices that need not exist in chunks."""
    for node in graph.nodes:
        size = _chunk_rows(node)
        region = None if size is None else _region(graph, node, size, target)
        if region is not None:
            return in_chunks(_rewritten(graph, region), target)
    return graph


def _chunk_rows(node: Node) -> int | None:
    """How many rows of a product are a chunk; None where it stays whole."""
    if node.primitive.name != "dot" or node.attributes["batch"] != ((), ()):
        return None
    out, a = node.outputs[0], node.inputs[0]
    free = a.ndim - len(node.attributes["contract"][0])
    row = math.prod(out.shape[free:]) * out.dtype.itemsize
    count = math.prod(a.shape[:free])
    if is_settled(count, row):  # chunks are of a given number of rows
        return None
    size: int | None = asked(_size, count, row)
    return size


def _size(count: int, row: int) -> int | None:
    """The rows of a chunk of `count` rows of so many bytes each."""
    if count * row < LARGE:
        return None
    rows = KC * max(FEW_BLOCKS, CHUNK // (row * KC), -(-count // (KC * MANY)))
    return rows if rows < count else None


def _pays(count: int, size: int, depth: int, backward: bool) -> bool:
    """Whether chunks take so much less memory (in columns of the matrix) that they pay."""
    if not backward:  # the other factor is packed either way
        return size + depth <= _SHARE * (count + depth)
    # The matrix, its gradient, the other factor packed for one product after the other; with chunks
    # both packings of it stay.
    return 2 * size + 2 * depth <= _SHARE * (2 * count + depth)


@dataclass(slots=True)
class _Region:
    """What is computed chunk by chunk: nodes whose results have the rows, in order, and sums over them.
    `exits` are results that others use."""

    rows: Rows
    size: int
    nodes: list[Node] = field(default_factory=list)
    sums: list[RowSum] = field(default_factory=list)
    exits: list[Value] = field(default_factory=list)
    after: set[Node] = field(default_factory=set)  # other nodes that depend on it


def _region(graph: Graph, first: Node, size: int, target: Target) -> _Region | None:
    """What can be computed in chunks with a product; None where it would have to be kept whole."""
    a, out = first.inputs[0], first.outputs[0]
    free = a.ndim - len(first.attributes["contract"][0])
    rows = Rows(math.prod(a.shape[:free]), math.prod(out.shape) // _SMALLER)
    region = _Region(rows, size)
    if not rows.follows(first):
        return None
    late: set[Value] = set()  # depends on the product, and is there only after all chunks
    reduced = False
    for node in graph.nodes[graph.nodes.index(first) :]:
        if node is not first and not any(v in rows.inside or v in late for v in node.inputs):
            continue
        inside = [v for v in node.inputs if v in rows.inside]
        here = not any(v in late for v in node.inputs)
        if here and all(rows.leads_on(v) for v in inside) and rows.follows(node):
            region.nodes.append(node)
            rows.inside.update(node.outputs)
            reduced |= node.primitive.kind == "reduce" and rows.is_large(node.inputs[0])
            continue
        late.update(node.outputs)
        found = row_sum(node, rows, target) if here else None
        if found is None:
            region.after.add(node)
        else:
            region.sums.append(found)
    own = {*region.nodes, *(s.node for s in region.sums)}
    wanted = set(graph.outputs).union(*(n.inputs for n in graph.nodes if n not in own))
    region.exits = [v for n in region.nodes for v in n.outputs if v in wanted]
    if not reduced or any(map(rows.is_large, region.exits)):
        return None
    depth = math.prod(a.shape[free:])
    return region if asked(_pays, rows.count, size, depth, bool(region.sums)) else None


def _rewritten(graph: Graph, region: _Region) -> Graph:
    own = {*region.nodes, *(s.node for s in region.sums)}
    last = max(i for i, n in enumerate(graph.nodes) if n in own)
    builder = Builder()
    builder.inputs = list(graph.inputs)
    values: dict[Value, Value] = {}

    def copy(nodes: Sequence[Node]) -> None:
        for node in nodes:
            given = tuple([values.get(v, v) for v in node.inputs])
            made = builder.copied(node, given)
            values.update(zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=True))

    before = [n for n in graph.nodes[: last + 1] if n not in own and n not in region.after]
    behind = [n for i, n in enumerate(graph.nodes) if i > last or n in region.after]
    with tracing(builder):
        copy(before)
        _emit_chunks(region, builder, values)
        copy(behind)
    return builder.graph([values.get(v, v) for v in graph.outputs])


def _emit_chunks(region: _Region, builder: Builder, values: dict[Value, Value]) -> None:
    """Append the nodes of all chunks, and put what they give into `values`."""
    rows = region.rows
    parts: dict[Value, list[Value]] = {v: [] for v in region.exits}
    for start, stop in _chunks(rows.count, region.size):
        chunk = rows.chunk(start, stop, values)
        for node in region.nodes:
            builder.origin = node.origin
            chunk.emit(node)
        for v, some in parts.items():
            some.append(bind(hold_p, chunk.of(v)))  # now, while the chunk is there
        for one in region.sums:
            builder.origin = one.node.origin
            one.add(chunk)
    for v, some in parts.items():
        builder.origin = None if v.node is None else v.node.origin
        values[v] = bind(reshape_p, bind(concat_p, *some, dim=0), shape=v.shape)
    for one in region.sums:
        builder.origin = one.node.origin
        values[one.node.outputs[0]] = one.result()
    builder.origin = None


def _chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, size):
        yield start, min(start + size, count)
