"""The primitive that goes through a sequence: a carry from step to step, a slice in and out of each.

Inputs are constants, initial carries and sequences (along dimension 0); the body maps (constants,
carries, slices) to (carries, slices). Outputs are the last carries and the sequences of slices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fanal.core.dispatch import bind, tracing
from fanal.core.errors import message
from fanal.graph.ir import Builder, Graph, SubGraph, Type, Value
from fanal.ops.control.bodies import Outside, traced, with_inputs
from fanal.ops.derive.batching import batched, in_front
from fanal.ops.derive.forward import jvp
from fanal.ops.evaluating import evaluated
from fanal.ops.layout import expand_to, move_axis, reshape_p, zeros_like_type
from fanal.ops.primitive import Primitive
from fanal.ops.promotion import constant

Step = Callable[[list[Value], list[Value]], tuple[Sequence[Value], Sequence[Value]]]
Values = list[Value]


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
    if given != wanted or state != [v.type for v in init] or lengths:
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
    known = dict(zip(fixed, consts, strict=True))
    kept = [i for i in range(count) if state[i] is not carries[i]]
    known.update((carries[i], init[i]) for i in range(count) if i not in kept)
    outside = Outside(body, known, True)
    results: dict[Value, Value] = dict(zip(slices, xs, strict=True))
    for y in ys:
        if y in outside.fixed:
            value = outside.value(y)
            one = bind(reshape_p, value, shape=(1, *value.shape))
            results[y] = expand_to(one, (length, *value.shape))
    wanted = [y for y in dict.fromkeys(ys) if y not in results]
    # What the rest of the body takes from outside, each value once.
    outputs = [*(state[i] for i in kept), *wanted]
    own = [*(carries[i] for i in kept), *slices]
    last = list(init)
    if outputs:
        inner = _inner(body, outputs, known)
        given = list(dict.fromkeys(known[v] for v in inner.inputs[len(body.inputs) :]))
        del given
        made = _bound(inner, known, own, kept, init, dict(zip(slices, xs, strict=True)), length, reverse)
        for i, value in zip(kept, made, strict=False):
            last[i] = value
        results.update(zip(wanted, made[len(kept) :], strict=True))
    return last, [results[y] for y in ys]
