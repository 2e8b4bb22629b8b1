"""Sums over the steps of a loop, as one contraction after it.

In the backward loop of a scan every constant's gradient is a sum over all steps. Where its terms are
products of what is kept of each step anyway (or is small beside the gradient), Σ_t aₜ·bₜ is one product
of the sequences a and b, over time as well: a weight's gradient is written once, not at every step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fanal.core.dispatch import bind
from fanal.graph.ir import Graph, Node, Value
from fanal.ops.arithmetic import add_p
from fanal.ops.create import full_p
from fanal.ops.dot import dot_p
from fanal.ops.layout import move_axis
from fanal.ops.reduce import reduce_sum_p

# How many times the bytes of a gradient may be kept of every step, to have one product of it.
KEPT = 4


@dataclass(frozen=True)
class Term:
    """Part of a gradient: a product or a sum of values, or a value, then layout operations."""

    node: Node | None  # the product or sum
    operands: tuple[Value, ...]
    moves: tuple[Node, ...]

    def summed(self, sequences: Sequence[Value]) -> Value:
        """The sum over all steps, from its operands' sequences (time in front)."""
        if self.node is not None and self.node.primitive is dot_p:
            pairs = [self.node.attributes[k] for k in ("contract", "batch")]
            contract, batch = (tuple(tuple(d + 1 for d in dims) for dims in p) for p in pairs)
            over = tuple((0, *dims) for dims in contract)
            total = bind(dot_p, *sequences, contract=over, batch=batch)
        else:
            dims = () if self.node is None else self.node.attributes["dims"]
            total = bind(reduce_sum_p, sequences[0], dims=(0, *(d + 1 for d in dims)))
        for move in self.moves:
            total = bind(move.primitive, total, **move.attributes)
        return total


@dataclass(frozen=True)
class Split:
    """A gradient: terms that are summed after the loop, and values that are summed in it."""

    after: tuple[Term, ...]
    inside: tuple[Value, ...]


class Sums:
    """Decides where the gradients of a backward body are summed.

    `sequences` are the inputs of which every step's value lies in memory, `constants` those that are
    the same at every step, `kept` the values whose sequences the loop writes (what sums after the
    loop need is added to it).
    """

    def __init__(
        self, graph: Graph, sequences: Iterable[Value], constants: Iterable[Value],
        kept: list[Value],
    ):  # fmt: skip
        self.sequences, self.kept = set(sequences), kept
        self.moving = set(graph.inputs) - set(constants)
        for node in graph.nodes:
            if any(v in self.moving for v in node.inputs):
                self.moving.update(node.outputs)

    def split(self, gradient: Value) -> Split:
        """How a gradient is summed."""
        after, inside = [], []
        for value in _terms(gradient):
            term = _term(value)
            if self._worth(term, value):
                after.append(term)
                self.kept += [v for v in term.operands if not self._is_at_hand(v)]
            else:
                inside.append(value)
        return Split(tuple(after), tuple(inside))

    def _worth(self, term: Term, value: Value) -> bool:
        if not all(v in self.moving for v in term.operands):
            return False
        new = sum(_bytes(v) for v in dict.fromkeys(term.operands) if not self._is_at_hand(v))
        product = term.node is not None and term.node.primitive is dot_p
        return new <= (KEPT * _bytes(value) if product else 0)

    def _is_at_hand(self, v: Value) -> bool:
        while v not in self.sequences and v not in self.kept:
            if not _is_move(v):
                return False
            v = _producer(v).inputs[0]
        return True

    def sequence(self, v: Value, found: dict[Value, Value]) -> Value:
        """A value's sequence, where `found` gives those of inputs and kept values."""
        if v in found:
            return found[v]
        node = _producer(v)
        inner = self.sequence(node.inputs[0], found)
        result, axis = node.primitive.batch([inner], [0], inner.shape[0], **node.attributes)
        return move_axis(result, axis, 0)


def _terms(gradient: Value) -> list[Value]:
    """The terms of a sum, in order; zeros are left out."""
    node = gradient.node
    if node is not None and node.primitive is add_p:
        return [t for v in node.inputs for t in _terms(v)]
    zero = node is not None and node.primitive is full_p and node.attributes["value"] == 0
    return [] if zero else [gradient]


def _term(value: Value) -> Term:
    moves: list[Node] = []
    inner = value
    while _is_move(inner):
        moves.insert(0, _producer(inner))
        inner = moves[0].inputs[0]
    node = inner.node
    if node is not None and node.primitive in (dot_p, reduce_sum_p):
        return Term(node, node.inputs, tuple(moves))
    return Term(None, (inner,), tuple(moves))


def _is_move(v: Value) -> bool:
    """Whether a value is a linear rearrangement of one other."""
    node = v.node
    if node is None or node.primitive.kind != "layout" or len(node.inputs) != 1:
        return False
    return node.attributes.get("value", 0) == 0


def _producer(v: Value) -> Node:
    assert v.node is not None
    return v.node


def _bytes(v: Value) -> int:
    return math.prod(v.shape) * v.dtype.itemsize
