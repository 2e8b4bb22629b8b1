"""The primitive that repeats while a predicate of its carries holds, for `limit` steps at most.

Inputs are constants and initial carries; `cond` and `body` take both. Without a limit the number of
steps is known only when it has run: there is a forward derivative and no reverse one. With one it is
derived as a scan over so many steps, each of which is done only while the predicate holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.errors import Limit, message
from fanal.graph.ir import Graph, Node, SubGraph, Type, Value
from fanal.ops.arithmetic import where_p
from fanal.ops.control.bodies import (
    Outside,
    Values,
    filled,
    floating,
    placed,
    restated,
    traced,
    widened,
)  # fmt: skip
from fanal.ops.control.cond import choose
from fanal.ops.control.scan import batched_carries, loop, moving_carries
from fanal.ops.derive.batching import batched
from fanal.ops.derive.forward import jvp
from fanal.ops.derive.reverse import applied, derivative
from fanal.ops.evaluating import evaluated
from fanal.ops.layout import expand_to, in_front, reshape_p
from fanal.ops.primitive import Primitive
from fanal.ops.reduce import reduce_any_p


def _infer(
    *values: Value, cond: SubGraph, body: SubGraph, consts: int, limit: int | None
) -> list[Type]:
    given = [v.type for v in values]
    state = given[consts:]
    fits = all(given == [v.type for v in g.inputs] for g in (cond, body))
    boolean = [v.type for v in cond.outputs] == [Type(dtypes.bool_, ())]
    if not fits or not boolean or [v.type for v in body.outputs] != state:
        raise ValueError(message("while_loop", "the functions do not fit", given))
    return state


def _reference(
    *arrays: Any, cond: SubGraph, body: SubGraph, consts: int, limit: int | None
) -> Any:
    fixed, state, steps = arrays[:consts], arrays[consts:], 0
    while steps != limit and bool(evaluated(cond, [*fixed, *state])[0]):
        state = tuple(evaluated(body, [*fixed, *state]))
        steps += 1
    return tuple(state)


def bind_while(
    cond: Graph, body: Graph, consts: Sequence[Value], init: Sequence[Value], limit: int | None
) -> Values:
    """A while loop in its simplest form: what does not change in it is computed before it."""
    count = len(consts)
    kept = [i for i, v in enumerate(body.outputs) if v is not body.inputs[count + i]]
    if limit == 0 or not kept:
        return list(init)
    parts = []
    for graph in (cond, body):
        known = dict(zip(graph.inputs[:count], consts, strict=True))
        state = graph.inputs[count:]
        known.update((state[i], init[i]) for i in range(len(init)) if i not in kept)
        Outside(graph, known, False)
        outputs = cond.outputs if graph is cond else [body.outputs[i] for i in kept]
        parts.append(restated(graph, outputs, known, [state[i] for i in kept]))
    given = list(dict.fromkeys(v for _, used, _ in parts for v in used))
    graphs = [widened(graph, used, given) for graph, used, _ in parts]
    made = bind(
        while_p, *given, *(init[i] for i in kept),
        cond=graphs[0], body=graphs[1], consts=len(given), limit=limit,
    )  # fmt: skip
    last = list(init)
    for i, value in zip(kept, made, strict=True):
        last[i] = value
    return last


def repeat(test: Any, step: Any, init: Sequence[Value], limit: int | None) -> Values:
    """Repeat `step(carries)` while `test(carries)`; both may use any value around them."""
    types = [v.type for v in init]
    pairs = [
        traced(lambda *values: [test(list(values))], types),
        traced(lambda *values: list(step(list(values))), types),
    ]
    given = list(dict.fromkeys(v for _, captured in pairs for v in captured))

    def stated(graph: Graph, captured: Sequence[Value]) -> SubGraph:
        state, rest = graph.inputs[: len(init)], graph.inputs[len(init) :]
        return widened(Graph([*rest, *state], graph.nodes, graph.outputs), captured, given)

    return bind_while(stated(*pairs[0]), stated(*pairs[1]), given, init, limit)


# -- derivatives and batches ---------------------------------------------------------------------------


def _push(
    inputs: Values, tangents: Sequence[Value | None], *, cond: SubGraph, body: SubGraph,
    consts: int, limit: int | None,
) -> tuple[Values, list[Value | None]]:  # fmt: skip
    tangents = [t if v.dtype.kind == "f" else None for v, t in zip(inputs, tangents, strict=True)]
    fixed, init = inputs[:consts], inputs[consts:]
    fixed_t, init_t = tangents[:consts], tangents[consts:]
    count = len(init)
    state = moving_carries(body, consts, [t is not None for t in tangents], count)

    def step(carry: Values) -> Values:
        moved = placed(carry[count:], state)
        outputs, found = jvp(body, [*fixed, *carry[:count]], [*fixed_t, *moved])
        return [*outputs, *filled(floating(body, found), outputs, state)]

    def test(carry: Values) -> Value:
        return cond.apply([*fixed, *carry[:count]], bind)[0]

    last = repeat(test, step, [*init, *filled(init_t, init, state)], limit)
    return last[:count], placed(last[count:], state)


def _as_scan(
    types: Sequence[Type], cond: SubGraph, body: SubGraph, consts: int, limit: int
) -> Graph:
    """The loop over all its possible steps, each done only while the predicate holds."""

    def function(*values: Value) -> Values:
        fixed, init = list(values[:consts]), list(values[consts:])

        def step(carry: Values, x: Values) -> tuple[Values, Values]:
            flag = cond.apply([*fixed, *carry], bind)[0]
            return choose(flag, lambda: body.apply([*fixed, *carry], bind), lambda: carry), []

        return loop(step, init, [], limit)[0]

    return traced(function, types)[0]


def _augment(
    inputs: Values, active: Sequence[bool], given: Sequence[bool], *, limit: int | None, **at: Any
) -> Values | None:
    if limit is None:
        return None
    return applied(_as_scan([v.type for v in inputs], limit=limit, **at), inputs, active, given)


def _pull(
    node: Node, cts: Sequence[Value | None], linear: Sequence[bool]
) -> Sequence[Value | None]:
    if node.attributes["limit"] is None:
        arriving = [ct for ct in cts if ct is not None]
        return [_missing(arriving, v.type) if w else None for v, w in zip(node.inputs, linear, strict=True)]
    # It was not made to be derived (`augment`): it is done again.
    graph = _as_scan([v.type for v in node.inputs], **node.attributes)
    d = derivative(graph, linear, [ct is not None for ct in cts])
    out = d.forward.apply(node.inputs, bind)
    tables = {"input": node.inputs, "output": out, "extra": out[len(node.outputs) :]}
    saved = [tables[kind][i] for kind, i in d.sources]
    found = d.backward.apply([*saved, *(ct for ct in cts if ct is not None)], bind)
    return [None if n is None else found[n] for n in d.gradients]


def _batch(
    inputs: Values, axes: Sequence[int | None], size: int, *, cond: SubGraph, body: SubGraph,
    consts: int, limit: int | None,
) -> tuple[tuple[Value, ...], tuple[int | None, ...]]:  # fmt: skip
    fixed, init = inputs[:consts], inputs[consts:]
    state = batched_carries(body, consts, axes, len(init), size)
    fixed_axes = list(axes[:consts])

    def test(carry: Values, where: list[int | None]) -> tuple[Value, int | None]:
        found, places = batched(cond, [*fixed, *carry], [*fixed_axes, *where], size)
        return found[0], places[0]

    def probe(*carry: Value) -> Values:
        return [test(list(carry), [0 if s else None for s in state])[0]]

    wide = [Type(v.dtype, v.shape) for v in init]
    begin = [
        in_front(v, a, size) if s else v
        for v, a, s in zip(init, axes[consts:], state, strict=True)
    ]
    wide = [v.type for v in begin]
    each = traced(probe, wide)[0].outputs[0].shape != ()
    if each:  # every element of the batch goes on as long as it wants to
        state = [True] * len(init)
        begin = [in_front(v, a, size) for v, a in zip(init, axes[consts:], strict=True)]
    where: list[int | None] = [0 if s else None for s in state]

    def step(carry: Values) -> Values:
        found, places = batched(body, [*fixed, *carry], [*fixed_axes, *where], size)
        return [in_front(v, a, size) if s else v for v, a, s in zip(found, places, state, strict=True)]

    if not each:
        last = repeat(lambda carry: test(carry, where)[0], step, begin, limit)
        return tuple(last), tuple(where)

    def flags(carry: Values) -> Value:
        return in_front(*test(carry, where), size)

    def masked(carry: Values) -> Values:
        mask, *old = carry
        new = []
        for a, b in zip(step(old), old, strict=True):
            wide = bind(reshape_p, mask, shape=(size, *(1,) * (a.ndim - 1)))
            new.append(bind(where_p, expand_to(wide, a.shape), a, b))
        return [flags(new), *new]

    def any_left(carry: Values) -> Value:
        return bind(reduce_any_p, carry[0], dims=(0,))

    last = repeat(any_left, masked, [flags(begin), *begin], limit)[1:]
    return tuple(last), tuple(where)


# -- the derivative that there is not ---------------------------------------------------------------------

WHY = message(
    "while_loop", "has no reverse derivative without a bound on its steps",
    hint="max_steps=…, fanal.scan, or forward derivatives",
)  # fmt: skip


def _missing(values: Sequence[Value], t: Type) -> Value:
    """A value that nobody may compute. Whether it is needed shows when a program is made of it: a loop
    may run, also where gradients are recorded, as long as none is asked of it."""
    found: Value = bind(missing_p, *values, dtype=t.dtype, shape=t.shape)
    return found


def _refused(*inputs: Any, **attributes: Any) -> Any:
    raise Limit(WHY)


def _missing_pull(
    node: Node, cts: Sequence[Value | None], linear: Sequence[bool]
) -> Sequence[Value | None]:
    given = [ct for ct in cts if ct is not None]
    return [_missing(given, v.type) if w else None for v, w in zip(node.inputs, linear, strict=True)]


missing_p: Primitive = Primitive(
    name="missing",
    kind="missing",
    infer=lambda *inputs, dtype, shape: [Type(dtype, shape)],
    reference=_refused,
    push=_refused,
    batch=lambda inputs, axes, size, *, dtype, shape: (
        bind(missing_p, *inputs, dtype=dtype, shape=(size, *shape)), 0,
    ),
    pull=_missing_pull,
    doc="What an operation without a derivative has for one: an error where it is computed.",
)  # fmt: skip


while_p: Primitive = Primitive(
    name="while",
    kind="control",
    infer=_infer,
    reference=_reference,
    push=_push,
    augment=_augment,
    pull=_pull,
    batch=_batch,
    multiple=True,
    doc="Carries repeated through a body while a predicate holds.",
)
