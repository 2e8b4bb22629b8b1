"""The primitive that runs one of two branches: a boolean chooses, both give the same types.

Inputs are the predicate and the operands, which are the inputs of both branches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.errors import message
from fanal.graph.ir import Graph, SubGraph, Type, Value
from fanal.ops.arithmetic import where_p
from fanal.ops.control.bodies import Values, floating, placed, restated, traced, tried, widened
from fanal.ops.derive.batching import batched
from fanal.ops.derive.forward import jvp
from fanal.ops.evaluating import evaluated
from fanal.ops.layout import expand_to, in_front, reshape_p, zeros_like_type
from fanal.ops.primitive import Primitive

Branch = Callable[[], Sequence[Value]]


def _infer(pred: Value, *operands: Value, true: SubGraph, false: SubGraph) -> list[Type]:
    given = [v.type for v in operands]
    for branch in (true, false):
        wanted = [v.type for v in branch.inputs]
        if given != wanted or pred.type != Type(dtypes.bool_, ()):
            raise ValueError(message("cond", "a branch does not fit", [pred.type, *given], f"{wanted}"))
    results = [[v.type for v in branch.outputs] for branch in (true, false)]
    if results[0] != results[1]:
        raise ValueError(message("cond", "the branches' results differ", f"{results}"))
    return results[0]


def _reference(pred: Any, *arrays: Any, true: SubGraph, false: SubGraph) -> Any:
    return tuple(evaluated(true if bool(pred) else false, arrays))


def choose(pred: Value, true: Branch, false: Branch) -> Values:
    """The results of one branch; both are functions that may use any value around them."""
    graphs = [traced(function, []) for function in (true, false)]
    return bind_cond(pred, *graphs[0], *graphs[1])


def bind_cond(
    pred: Value, true: Graph, true_operands: Sequence[Value], false: Graph,
    false_operands: Sequence[Value],
) -> Values:  # fmt: skip
    """A cond in its simplest form: a result that is one operand in both branches is that operand."""
    known = [
        dict(zip(graph.inputs, given, strict=True))
        for graph, given in ((true, true_operands), (false, false_operands))
    ]
    pairs = list(zip(true.outputs, false.outputs, strict=True))
    found: dict[tuple[Value, Value], Value] = {}
    for pair in pairs:
        around = known[0].get(pair[0])
        if around is not None and around is known[1].get(pair[1]):
            found[pair] = around
    wanted = [pair for pair in dict.fromkeys(pairs) if pair not in found]
    if wanted:
        branches = [
            restated(graph, [pair[n] for pair in wanted], known[n])
            for n, graph in enumerate((true, false))
        ]
        operands = list(dict.fromkeys(v for _, used, _ in branches for v in used))
        graphs = [widened(graph, used, operands) for graph, used, _ in branches]
        made = bind(cond_p, pred, *operands, true=graphs[0], false=graphs[1])
        found.update(zip(wanted, made, strict=True))
    return [found[pair] for pair in pairs]


# -- forward derivative and batches --------------------------------------------------------------------


def _push(
    inputs: Values, tangents: Sequence[Value | None], *, true: SubGraph, false: SubGraph
) -> tuple[Values, list[Value | None]]:
    pred, *operands = inputs
    moved = [
        t if v.dtype.kind == "f" else None for v, t in zip(operands, tangents[1:], strict=True)
    ]

    def run(branch: SubGraph, values: Values, given: Sequence[Value | None]) -> Any:
        outputs, found = jvp(branch, values, given)
        return outputs, floating(branch, found)

    def moves(branch: SubGraph) -> list[bool]:
        def function(values: Values) -> Any:
            given = [v if t is not None else None for v, t in zip(values, moved, strict=True)]
            return run(branch, values, given)[1]

        return [t is not None for t in tried(branch, function)]

    flags = [a or b for a, b in zip(moves(true), moves(false), strict=True)]

    def pushed(branch: SubGraph) -> Branch:
        def function() -> Values:
            outputs, found = run(branch, operands, moved)
            rows = zip(outputs, found, flags, strict=True)
            more = [zeros_like_type(v) if t is None else t for v, t, flag in rows if flag]
            return [*outputs, *more]

        return function

    found = choose(pred, pushed(true), pushed(false))
    count = len(true.outputs)
    return found[:count], placed(found[count:], flags)


def _batch(
    inputs: Values, axes: Sequence[int | None], size: int, *, true: SubGraph, false: SubGraph
) -> tuple[tuple[Value, ...], tuple[int | None, ...]]:
    pred, *operands = inputs
    given = list(axes[1:])

    def run(branch: SubGraph) -> tuple[Values, list[int | None]]:
        return batched(branch, operands, given, size)

    if axes[0] is not None:  # both, and a choice for each element of the batch
        (yes, yes_axes), (no, no_axes) = run(true), run(false)
        out = []
        for a, b, i, j in zip(yes, no, yes_axes, no_axes, strict=True):
            a, b = in_front(a, i, size), in_front(b, j, size)
            wide = bind(reshape_p, pred, shape=(size, *(1,) * (a.ndim - 1)))
            out.append(bind(where_p, expand_to(wide, a.shape), a, b))
        return tuple(out), (0,) * len(out)

    flags: list[bool] = [False] * len(true.outputs)

    def lifted(branch: SubGraph, front: bool) -> Branch:
        def function() -> Values:
            outputs, where = run(branch)
            if not front:
                flags[:] = [f or a is not None for f, a in zip(flags, where, strict=True)]
            rows = zip(outputs, where, flags, strict=True)
            return [in_front(v, a, size) if flag else v for v, a, flag in rows]

        return function

    for branch in (true, false):
        traced(lifted(branch, False), [])
    found = choose(pred, lifted(true, True), lifted(false, True))
    return tuple(found), tuple(0 if flag else None for flag in flags)


cond_p: Primitive = Primitive(
    name="cond",
    kind="control",
    infer=_infer,
    reference=_reference,
    push=_push,
    batch=_batch,
    multiple=True,
    doc="One of two branches, chosen by a boolean.",
)
