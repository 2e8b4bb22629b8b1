"""The reverse derivative of a scan: a forward loop that keeps, and a loop backwards that uses it.

What the body's own backward graph needs of a step is a slice of a sequence, a constant, or kept by
the forward loop as one more sequence (`augment`). The backward loop carries the carries' cotangents.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanal.core.dispatch import bind
from fanal.core.errors import Limit, message
from fanal.graph.ir import Graph, Node, SubGraph, Value
from fanal.ops.arithmetic import add_p
from fanal.ops.control.bodies import Values, filled, fixpoint, placed
from fanal.ops.control.scan import loop, parts, scan_p
from fanal.ops.control.sums import Split, Sums
from fanal.ops.derive.reverse import Derivative, derivative
from fanal.ops.layout import zeros_like_type


@dataclass(frozen=True)
class Plan:
    """The derivative of a body, and which of its inputs and outputs take part in it."""

    derived: Derivative
    given: tuple[bool, ...]  # outputs that have a cotangent

    def gradient(self, i: int) -> Value | None:
        """The body's gradient for one of its inputs."""
        number = self.derived.gradients[i]
        return None if number is None else self.derived.backward.outputs[number]


def moved(body: Graph, wrt: Sequence[bool]) -> list[bool]:
    """Which outputs depend on the marked inputs, through floating values."""
    active = {v for v, w in zip(body.inputs, wrt, strict=True) if w and v.dtype.kind == "f"}
    for node in body.nodes:
        if any(v in active for v in node.inputs):
            active.update(v for v in node.outputs if v.dtype.kind == "f")
    return [v in active for v in body.outputs]


@functools.lru_cache(maxsize=1024)
def plan_of(
    body: SubGraph, consts: int, carries: int, wrt: tuple[bool, ...], given: tuple[bool, ...],
    again: bool,
) -> Plan:  # fmt: skip
    """Derive a body with respect to a scan's inputs, from the outputs that have a cotangent.

    `again`: it is what an earlier derivation made, and keeps all that is needed.
    """
    fixed, init, xs = parts(wrt, consts, carries)
    state = fixpoint(init, lambda flags: moved(body, [*fixed, *flags, *xs])[:carries])
    active = [*fixed, *state, *xs]
    reached = moved(body, active)

    def derive(flags: Sequence[bool]) -> Plan:
        marked = tuple(g and r for g, r in zip((*flags, *given[carries:]), reached, strict=True))
        return Plan(derivative(body, active, marked, again), marked)

    def step(flags: list[bool]) -> list[bool]:
        return [g is not None for g in derive(flags).derived.gradients[consts : consts + carries]]

    return derive(fixpoint(given[:carries], step))


def augment(
    inputs: Values, active: Sequence[bool], given: Sequence[bool], *, body: SubGraph, consts: int,
    carries: int, length: int, reverse: bool,
) -> Values:  # fmt: skip
    """The scan that also keeps what the backward loop needs, as further sequences."""
    d = plan_of(body, consts, carries, tuple(active), tuple(given), False).derived
    forward = d.forward
    visible = len(body.outputs)
    found = set(forward.outputs[carries:visible])
    kept: Values = []
    for kind, i in d.sources:
        if kind == "extra":
            value = forward.outputs[visible + i]
        elif kind == "output":
            value = forward.outputs[i]
        elif consts <= i < consts + carries:
            value = forward.inputs[i]
        else:
            continue
        if value not in found:
            found.add(value)
            kept.append(value)
    whole = Graph(forward.inputs, forward.nodes, [*forward.outputs[:visible], *kept])
    fixed, init, xs = parts(inputs, consts, carries)

    def step(carry: Values, x: Values) -> tuple[Values, Values]:
        out = whole.apply([*fixed, *carry, *x], bind)
        return out[:carries], out[carries:]

    last, ys = loop(step, init, xs, length, reverse)
    return [*last, *ys]


def pull(
    node: Node, cts: Sequence[Value | None], linear: Sequence[bool]
) -> Sequence[Value | None]:
    """The cotangents of a scan's inputs: a loop backwards."""
    made = _Backward(node, cts, linear)
    if not made.complete:
        # Somebody derives what was not made to be: the forward loop is done again, and keeps.
        given = [ct is not None for ct in cts]
        outputs = augment(list(node.inputs), linear, given, **node.attributes)
        again = next(v.node for v in outputs if v.node is not None and v.node.primitive is scan_p)
        made = _Backward(again, [*cts, *[None] * (len(again.outputs) - len(cts))], linear)
        if not made.complete or again.inputs != node.inputs:
            raise Limit(message("scan", "has no derivative here", hint="a loop in Python"))
    return made.run()


class _Backward:
    """One scan backwards. Values called inner are those of the body's backward graph."""

    def __init__(self, node: Node, cts: Sequence[Value | None], linear: Sequence[bool]):
        self.node, self.cts, self.linear = node, cts, linear
        at = node.attributes
        self.body: SubGraph = at["body"]
        self.consts, self.carries = at["consts"], at["carries"]
        given = tuple(ct is not None for ct in cts)
        self.plan = plan_of(self.body, self.consts, self.carries, tuple(linear), given, True)
        self.graph = self.plan.derived.backward
        sources = [self._source(*s) for s in self.plan.derived.sources]
        self.complete = all(s is not None for s in sources)
        saved = self.graph.inputs[: len(sources)]
        self.fixed: dict[Value, Value] = {}  # inner inputs that are constants
        self.sequences: dict[Value, Value] = {}  # inner inputs that are steps of sequences
        for inner, source in zip(saved, sources, strict=True):
            if source is not None:
                (self.sequences if source[1] else self.fixed)[inner] = source[0]
        outputs = [i for i, g in enumerate(self.plan.given) if g]
        arriving = dict(zip(outputs, self.graph.inputs[len(sources) :], strict=True))
        # A carry's cotangent goes from step to step; one that no step passes on ends at its own.
        self.state = [
            (i, arriving.get(i)) for i in range(self.carries)
            if i in arriving or self.plan.gradient(self.consts + i) is not None
        ]  # fmt: skip
        for i, inner in arriving.items():
            if i >= self.carries:
                ct = cts[i]
                self.sequences[inner] = zeros_like_type(node.outputs[i]) if ct is None else ct

    def _source(self, kind: str, i: int) -> tuple[Value, bool] | None:
        """A saved value as (value around, whether it is a sequence); None where it was not kept."""
        inputs, outputs = self.node.inputs, self.node.outputs
        if kind == "extra":
            return None
        if kind == "input" and i < self.consts:
            return inputs[i], False
        if kind == "input" and i >= self.consts + self.carries:
            return inputs[i], True
        value = (self.body.inputs if kind == "input" else self.body.outputs)[i]
        for place in range(self.carries, len(self.body.outputs)):
            if self.body.outputs[place] is value:
                return outputs[place], True
        return None

    def run(self) -> list[Value | None]:
        """Append the loop; the cotangents of the scan's inputs."""
        plan, split = self.plan, self.consts + self.carries
        count = len(self.node.inputs)
        along = [plan.gradient(i) if self.linear[i] else None for i in range(split, count)]
        kept = list(dict.fromkeys(g for g in along if g is not None))
        sums = Sums(self.graph, self.sequences, self.fixed, kept)
        constants = [plan.gradient(i) if self.linear[i] else None for i in range(self.consts)]
        splits = [None if g is None else sums.split(g) for g in constants]
        inside = [i for i, s in enumerate(splits) if s is not None and s.inside]
        totals = [zeros_like_type(self.node.inputs[i]) for i in inside]
        begin = filled(
            [self.cts[i] for i, _ in self.state], [self.node.outputs[i] for i, _ in self.state],
            [True] * len(self.state),
        )  # fmt: skip
        carried = [plan.gradient(self.consts + i) for i, _ in self.state]
        terms = [s.inside for s in splits if s is not None and s.inside]

        def step(carry: Values, x: Values) -> tuple[Values, Values]:
            env = self.fixed | dict(zip(self.sequences, x, strict=True))
            pairs = zip(self.state, carry, strict=False)
            env.update((inner, v) for (_, inner), v in pairs if inner is not None)
            wanted = [g for g in carried if g is not None] + [t for ts in terms for t in ts] + kept
            whole = Graph(self.graph.inputs, self.graph.nodes, wanted).pruned()
            found = iter(whole.apply([env[v] for v in self.graph.inputs], bind))
            new = [zeros_like_type(v) if g is None else next(found) for g, v in zip(carried, carry)]
            for total, ts in zip(carry[len(self.state) :], terms, strict=True):
                for _ in ts:
                    total = bind(add_p, total, next(found))
                new.append(total)
            return new, list(found)

        at = self.node.attributes
        last, ys = loop(
            step, [*begin, *totals], list(self.sequences.values()), at["length"], not at["reverse"]
        )
        found = self.sequences | dict(zip(kept, ys, strict=True))
        summed = dict(zip(inside, last[len(self.state) :], strict=True))
        results: list[Value | None] = [
            None if s is None else self._total(i, s, summed.get(i), sums, found)
            for i, s in enumerate(splits)
        ]
        back: dict[int, Any] = {i: v for (i, _), v in zip(self.state, last, strict=False)}
        results += [back.get(i) for i in range(self.carries)]
        results += placed([found[g] for g in along if g is not None], [g is not None for g in along])
        return results


    def _total(
        self, i: int, split: Split, total: Value | None, sums: Sums, found: dict[Value, Value]
    ) -> Value:
        """A constant's cotangent: `total` of the loop, and what is summed after it."""
        for term in split.after:
            part = term.summed([sums.sequence(v, found) for v in term.operands])
            total = part if total is None else bind(add_p, total, part)
        return zeros_like_type(self.node.inputs[i]) if total is None else total


scan_p.augment = augment
scan_p.pull = pull
