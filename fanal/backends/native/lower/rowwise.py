"""What works row by row, and how it is computed for some of the rows.

A value *has the rows* if its leading dimensions together are as many; they count as one, row-major. So
(batch, time, …) and (batch · time, …) have the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from fanal.core.dispatch import bind
from fanal.graph.ir import Node, Value
from fanal.ops.create import full_p, iota_p
from fanal.ops.dot import dot_p
from fanal.ops.index import gather_p
from fanal.ops.layout import expand_p, reshape_p, slice_p
from fanal.ops.stops import hold_p

_FEW = 64  # elements of a row that are its statistics


class Rows:
    """The rows that a region goes through. `inside` are the values that are computed chunk by chunk;
    `large`: elements from which on a value must not be kept whole."""

    def __init__(self, count: int, large: int):
        self.count, self.large = count, large
        self.inside: set[Value] = set()
        self._wide: dict[Value, bool] = {}

    def lead(self, v: Value) -> int | None:
        """How many leading dimensions are the rows; None where a value does not have them."""
        total = 1
        for d, n in enumerate(v.shape):
            if total == self.count:
                return d
            total *= n
        return v.ndim if total == self.count else None

    def rest(self, v: Value) -> tuple[int, ...]:
        """The shape of one row."""
        lead = self.lead(v)
        assert lead is not None
        return v.shape[lead:]

    def is_large(self, v: Value) -> bool:
        return math.prod(v.shape) >= self.large

    def leads_on(self, v: Value) -> bool:
        """Whether what follows from a value inside may be inside as well: from the matrix, and from what
        is known of each row. (The rest of a network would follow from its product's gradient.)"""
        return self.is_large(v) or math.prod(self.rest(v)) <= _FEW

    def follows(self, node: Node) -> bool:
        """Whether the rows of a node's results follow from the same rows of its operands."""
        if len(node.outputs) != 1 or self.lead(node.outputs[0]) is None:
            return False
        rule = _RULES.get(node.primitive.name) or _KINDS.get(node.primitive.kind)
        return rule is not None and rule(self, node)

    def is_wide(self, v: Value) -> bool:
        """Whether a value from outside is computed chunk by chunk, too, since it is large or made of
        what is large."""
        found = self._wide.get(v)
        if found is None:
            node = v.node
            found = False
            if node is not None and node.primitive.name != "dot" and self.follows(node):
                found = self.is_large(v) or any(map(self.is_wide, node.inputs))
            self._wide[v] = found
        return found

    def chunk(self, start: int, stop: int, values: Mapping[Value, Value]) -> Chunk:
        return Chunk(self, start, stop, values)


class Chunk:
    """Some rows of everything. `values`: what has taken the place of values from outside."""

    def __init__(self, rows: Rows, start: int, stop: int, values: Mapping[Value, Value]):
        self.rows, self.start, self.stop = rows, start, stop
        self.values = values
        self._known: dict[Value, Value] = {}

    @property
    def size(self) -> int:
        return self.stop - self.start

    def whole(self, v: Value) -> Value:
        """A value from outside that has no rows."""
        return self.values.get(v, v)

    def shape(self, v: Value) -> tuple[int, ...]:
        return (self.size, *self.rows.rest(v))

    def of(self, v: Value) -> Value:
        """These rows of a value."""
        found = self._known.get(v)
        if found is None:
            if self.rows.is_wide(v):
                assert v.node is not None
                self.emit(v.node)
                return self._known[v]
            rest = self.rows.rest(v)
            flat = bind(reshape_p, self.whole(v), shape=(self.rows.count, *rest))
            found = sliced(flat, self.start, self.stop)
            self._known[v] = found
        return found

    def emit(self, node: Node) -> None:
        """These rows of a node's result."""
        name, out = node.primitive.name, node.outputs[0]
        emit = _EMITTED.get(name) or _EMITTED_KINDS[node.primitive.kind]
        self._known[out] = emit(self, node)


def sliced(x: Value, start: int, stop: int) -> Value:
    """x[start:stop]."""
    if (start, stop) == (0, x.shape[0]):
        return x
    first, last = (start, *(0,) * (x.ndim - 1)), (stop, *x.shape[1:])
    found: Value = bind(slice_p, x, start=first, stop=last, step=(1,) * x.ndim)
    return found


# -- which nodes work row by row, and what they are for some rows -----------------------------------------


def _always(rows: Rows, node: Node) -> bool:
    return True


def _elementwise(c: Chunk, node: Node) -> Value:
    found: Value = bind(node.primitive, *map(c.of, node.inputs), **node.attributes)
    return found


def _has_rows(rows: Rows, node: Node) -> bool:
    return rows.lead(node.inputs[0]) is not None


def _reshape(c: Chunk, node: Node) -> Value:
    found: Value = bind(reshape_p, c.of(node.inputs[0]), shape=c.shape(node.outputs[0]))
    return found


def _repeats(rows: Rows, node: Node) -> bool:
    """An expansion within rows, or of one row to all."""
    x, out = node.inputs[0], node.outputs[0]
    lead = rows.lead(out)
    return x.shape[:lead] in (out.shape[:lead], (1,) * (lead or 0))


def _expand(c: Chunk, node: Node) -> Value:
    x, out = node.inputs[0], node.outputs[0]
    lead = c.rows.lead(out)
    assert lead is not None
    if x.shape[:lead] == out.shape[:lead]:
        row = c.of(x)
    else:
        row = bind(reshape_p, c.whole(x), shape=(1, *x.shape[lead:]))
    found: Value = bind(expand_p, row, shape=c.shape(out))
    return found


def _full(c: Chunk, node: Node) -> Value:
    found: Value = bind(full_p, **{**node.attributes, "shape": c.shape(node.outputs[0])})
    return found


def _counts_within(rows: Rows, node: Node) -> bool:
    return node.attributes["dim"] >= (rows.lead(node.outputs[0]) or 0)


def _iota(c: Chunk, node: Node) -> Value:
    out = node.outputs[0]
    dim = node.attributes["dim"] - (c.rows.lead(out) or 0) + 1
    found: Value = bind(iota_p, **{**node.attributes, "shape": c.shape(out), "dim": dim})
    return found


def _reduced(node: Node) -> tuple[int, ...]:
    dims = node.attributes.get("dims")
    return (node.attributes["dim"],) if dims is None else tuple(dims)


def _reduces_within(rows: Rows, node: Node) -> bool:
    lead = rows.lead(node.inputs[0])
    return lead is not None and bool(_reduced(node)) and min(_reduced(node)) >= lead


def _reduce(c: Chunk, node: Node) -> Value:
    x = node.inputs[0]
    moved = tuple(d - (c.rows.lead(x) or 0) + 1 for d in _reduced(node))
    at = {"dims": moved} if "dims" in node.attributes else {"dim": moved[0]}
    found: Value = bind(node.primitive, c.of(x), **{**node.attributes, **at})
    return found


def _multiplies_rows(rows: Rows, node: Node) -> bool:
    """A product of rows with a matrix."""
    a, b = node.inputs
    lead = rows.lead(a)
    inner = node.attributes["contract"][0]
    return (
        lead is not None
        and node.attributes["batch"] == ((), ())
        and len(inner) > 0
        and min(inner) >= lead
        and b not in rows.inside
        and a.ndim - len(inner) == lead
    )


def _dot(c: Chunk, node: Node) -> Value:
    a, b = node.inputs
    lead = c.rows.lead(a)
    assert lead is not None
    mine, other = node.attributes["contract"]
    axes = (tuple(d - lead + 1 for d in mine), other)
    matrix = bind(hold_p, c.whole(b))  # the same for all chunks
    found: Value = bind(dot_p, c.of(a), matrix, contract=axes, batch=((), ()))
    return found


def _picks_within(rows: Rows, node: Node) -> bool:
    """table[n, index[n]] for every row n."""
    table, *indices = node.inputs
    lead = rows.lead(table)
    dims = node.attributes["dims"]
    if lead is None or dims[:lead] != tuple(range(lead)) or len(dims) == lead:
        return False
    at = table.shape[:lead]
    if any(v.shape[:lead] != at for v in indices):
        return False
    return all(
        v.node is not None and v.node.primitive is iota_p and v.node.attributes["dim"] == d
        for d, v in enumerate(indices[:lead])
    )


def _pick(c: Chunk, node: Node) -> Value:
    table, *indices = node.inputs
    lead = c.rows.lead(table)
    assert lead is not None
    own = indices[lead:]
    row = bind(iota_p, shape=c.shape(own[0]), dim=0, dtype=own[0].dtype)
    dims = (0, *(d - lead + 1 for d in node.attributes["dims"][lead:]))
    found: Value = bind(gather_p, c.of(table), row, *map(c.of, own), dims=dims)
    return found


_RULES: dict[str, Callable[[Rows, Node], bool]] = {
    "reshape": _has_rows, "expand": _repeats, "full": _always, "iota": _counts_within,
    "dot": _multiplies_rows, "gather": _picks_within,
}  # fmt: skip
_KINDS: dict[str, Callable[[Rows, Node], bool]] = {
    "elementwise": _always, "reduce": _reduces_within, "arg_reduce": _reduces_within,
}  # fmt: skip
_EMITTED: dict[str, Callable[[Chunk, Node], Value]] = {
    "reshape": _reshape, "expand": _expand, "full": _full, "iota": _iota, "dot": _dot, "gather": _pick,
}  # fmt: skip
_EMITTED_KINDS: dict[str, Callable[[Chunk, Node], Value]] = {
    "elementwise": _elementwise, "reduce": _reduce, "arg_reduce": _reduce,
}  # fmt: skip
