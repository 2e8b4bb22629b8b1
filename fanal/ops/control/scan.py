"""The primitive that goes through a sequence: a carry from step to step, a slice in and out of each.

Inputs are constants, initial carries and sequences (along dimension 0); the body maps (constants,
carries, slices) to (carries, slices). Outputs are the last carries and the sequences of slices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Builder, Graph, SubGraph, Type, Value
from fanal.ops.control.bodies import (
    Outside,
    Values,
    filled,
    fixpoint,
    floating,
    placed,
    restated,
    traced,
    tried,
)
from fanal.ops.derive.batching import batched
from fanal.ops.derive.forward import jvp
from fanal.ops.evaluating import evaluated
from fanal.ops.layout import expand_to, in_front, move_axis, reshape_p
from fanal.ops.primitive import Primitive
from fanal.ops.promotion import constant

Step = Callable[[Values, Values], tuple[Sequence[Value], Sequence[Value]]]

def parts(items: Sequence[Any], consts: int, carries: int) -> tuple[list[Any], list[Any], list[Any]]:
    """What belongs to constants, carries and sequences."""
    split = consts + carries
    return list(items[:consts]), list(items[consts:split]), list(items[split:])


def slice_type(xs: Value) -> Type:
    """The type of one step's part of a sequence."""
    return Type(xs.dtype, xs.shape[1:])


def _infer(
    *values: Value, body: SubGraph, consts: int, carries: int, length: int, reverse: bool
) -> list[Type]:
    fixed, init, xs = parts(values, consts, carries)
    given = [v.type for v in (*fixed, *init)] + [slice_type(x) for x in xs]
    wanted = [v.type for v in body.inputs]
    state = [v.type for v in body.outputs[:carries]]
    lengths = {x.shape[0] for x in xs} - {length}
    if given != wanted or state != [v.type for v in init] or lengths or length < 1:
        raise ValueError(
            message("scan", "the body does not fit", f"{given}, carries {state}", f"{wanted}")
        )
    slices = [v.type for v in body.outputs[carries:]]
    return state + [Type(d, (length, *shape)) for d, shape in slices]


def _reference(
    *arrays: Any, body: SubGraph, consts: int, carries: int, length: int, reverse: bool
) -> Any:
    fixed, state, xs = parts(arrays, consts, carries)
    ys: list[list[Any]] = [[]] * length
    for t in reversed(range(length)) if reverse else range(length):
        out = evaluated(body, [*fixed, *state, *(x[t] for x in xs)])
        state, ys[t] = out[:carries], out[carries:]
    return (*state, *(np.stack(column) for column in zip(*ys, strict=True)))


# -- building ----------------------------------------------------------------------------------------


def loop(
    step: Step, init: Sequence[Value], xs: Sequence[Value], length: int, reverse: bool = False
) -> tuple[Values, Values]:
    """Go through a sequence: `step(carries, slices)` gives the next carries and the slices of the
    results, and may use any value around it. Returns the last carries and the results' sequences.
    """
    count = len(init)

    def function(*values: Value) -> list[Value]:
        carries, slices = step(list(values[:count]), list(values[count:]))
        return [*carries, *slices]

    graph, captured = traced(function, [v.type for v in init] + [slice_type(x) for x in xs])
    split = count + len(xs)
    body = Graph([*graph.inputs[split:], *graph.inputs[:split]], graph.nodes, graph.outputs)
    return bind_scan(body, captured, init, xs, length, reverse)


def bind_scan(
    body: Graph, consts: Sequence[Value], init: Sequence[Value], xs: Sequence[Value], length: int,
    reverse: bool,
) -> tuple[Values, Values]:  # fmt: skip
    """A scan in its simplest form: what does not change in the loop is computed outside of it."""
    count = len(init)
    fixed, carries, slices = parts(body.inputs, len(consts), count)
    state, ys = list(body.outputs[:count]), list(body.outputs[count:])
    if length == 0:
        return list(init), [constant(0, y.dtype, (0, *y.shape)) for y in ys]
    kept = [i for i in range(count) if state[i] is not carries[i]]
    known = dict(zip(fixed, consts, strict=True))
    known.update((carries[i], init[i]) for i in range(count) if i not in kept)
    outside = Outside(body, known, True)
    results: dict[Value, Value] = dict(zip(slices, xs, strict=True))
    for y in ys:
        if y in outside.fixed:
            one = bind(reshape_p, outside.value(y), shape=(1, *y.shape))
            results[y] = expand_to(one, (length, *y.shape))
    wanted = [y for y in dict.fromkeys(ys) if y not in results]
    last = list(init)
    if kept or wanted:
        inner, given, sequences = restated(
            body, [*(state[i] for i in kept), *wanted],
            known, [carries[i] for i in kept], dict(zip(slices, xs, strict=True)),
        )  # fmt: skip
        made = bind(
            scan_p, *given, *(init[i] for i in kept), *sequences,
            body=inner, consts=len(given), carries=len(kept), length=length, reverse=reverse,
        )  # fmt: skip
        for i, value in zip(kept, made, strict=False):
            last[i] = value
        results.update(zip(wanted, made[len(kept) :], strict=True))
    return last, [results[y] for y in ys]


# -- forward derivative and batches --------------------------------------------------------------------


def moving_carries(body: Graph, consts: int, moving: Sequence[bool], carries: int) -> list[bool]:
    """Which carries have a tangent, from which inputs have one."""
    fixed, init, xs = parts(moving, consts, carries)

    def step(state: list[bool]) -> list[bool]:
        def run(values: Values) -> list[Any]:
            flags = [*fixed, *state, *xs]
            return jvp(body, values, [v if f else None for v, f in zip(values, flags, strict=True)])[1]

        return [t is not None for t in floating(body, tried(body, run))[:carries]]

    return fixpoint(init, step)


def _push(
    inputs: Values, tangents: Sequence[Value | None], *, body: SubGraph, consts: int, carries: int,
    length: int, reverse: bool,
) -> tuple[Values, list[Value | None]]:  # fmt: skip
    fixed, init, xs = parts(inputs, consts, carries)
    tangents = [t if v.dtype.kind == "f" else None for v, t in zip(inputs, tangents, strict=True)]
    fixed_t, init_t, xs_t = parts(tangents, consts, carries)
    state = moving_carries(body, consts, [t is not None for t in tangents], carries)
    along = [t is not None for t in xs_t]
    emitted: list[bool] = []

    def step(carry: Values, x: Values) -> tuple[Values, Values]:
        moved = placed(carry[carries:], state)
        slices = placed(x[len(xs) :], along)
        values = [*fixed, *carry[:carries], *x[: len(xs)]]
        outputs, found = jvp(body, values, [*fixed_t, *moved, *slices])
        found = floating(body, found)
        emitted[:] = [t is not None for t in found[carries:]]
        new = filled(found[:carries], outputs[:carries], state)
        return [*outputs[:carries], *new], [
            *outputs[carries:], *(t for t in found[carries:] if t is not None)
        ]  # fmt: skip

    begin = [*init, *filled(init_t, init, state)]
    last, ys = loop(step, begin, [*xs, *(t for t in xs_t if t is not None)], length, reverse)
    count = len(body.outputs) - carries
    outputs = [*last[:carries], *ys[:count]]
    return outputs, [*placed(last[carries:], state), *placed(ys[count:], emitted or [False] * count)]


def batched_carries(
    body: Graph, consts: int, axes: Sequence[int | None], carries: int, size: int
) -> list[bool]:
    """Which carries have a batch axis (in front), from which inputs have one."""
    fixed, init, xs = parts([a is not None for a in axes], consts, carries)

    def step(state: list[bool]) -> list[bool]:
        flags = [*fixed, *state, *xs]
        builder = Builder()
        inputs = [
            builder.input(v.dtype, (size, *v.shape) if f else v.shape)
            for v, f in zip(body.inputs, flags, strict=True)
        ]
        where = [0 if f else None for f in flags]
        _, found = builder.trace(batched, body, inputs, where, size)
        return [a is not None for a in found[:carries]]

    return fixpoint(init, step)


def _batch(
    inputs: Values, axes: Sequence[int | None], size: int, *, body: SubGraph, consts: int,
    carries: int, length: int, reverse: bool,
) -> tuple[tuple[Value, ...], tuple[int | None, ...]]:  # fmt: skip
    state = batched_carries(body, consts, axes, carries, size)
    fixed, init, xs = parts(inputs, consts, carries)
    fixed_axes, init_axes, xs_axes = parts(axes, consts, carries)
    begin = [
        in_front(v, a, size) if flag else v
        for v, a, flag in zip(init, init_axes, state, strict=True)
    ]
    along = [x if a is None else move_axis(x, a, 1) for x, a in zip(xs, xs_axes, strict=True)]
    slice_axes = [None if a is None else 0 for a in xs_axes]
    carry_axes = [0 if flag else None for flag in state]
    found: list[int | None] = []

    def step(carry: Values, x: Values) -> tuple[Values, Values]:
        outputs, where = batched(
            body, [*fixed, *carry, *x], [*fixed_axes, *carry_axes, *slice_axes], size
        )
        new = [
            in_front(v, a, size) if flag else v
            for v, a, flag in zip(outputs, where, state, strict=False)
        ]
        ys = zip(outputs[carries:], where[carries:], strict=True)
        found[:] = [None if a is None else 1 for a in where[carries:]]
        return new, [y if a is None else move_axis(y, a, 0) for y, a in ys]

    last, ys = loop(step, begin, along, length, reverse)
    return (*last, *ys), (*carry_axes, *found)


scan_p: Primitive = Primitive(
    name="scan",
    kind="control",
    infer=_infer,
    reference=_reference,
    push=_push,
    batch=_batch,
    multiple=True,
    doc="A loop over a sequence: carries from step to step, slices in and out of each.",
)
