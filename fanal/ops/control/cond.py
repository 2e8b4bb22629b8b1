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
from fanal.ops.control.bodies import restated, traced
from fanal.ops.derive.batching import batched, in_front
from fanal.ops.derive.forward import jvp
from fanal.ops.evaluating import evaluated
from fanal.ops.layout import expand_to, reshape_p, zeros_like_type
from fanal.ops.primitive import Primitive

Values = list[Value]


def _infer(pred: Value, *operands: Value, true: SubGraph, false: SubGraph) -> list[Type]:
    given = [v.type for v in operands]
    for branch in (true, false):
        if given != [v.type for v in branch.inputs] or pred.type != Type(dtypes.bool_, ()):
            raise ValueError(
                message("cond", "a branch does not fit", given, f"{[v.type for v in branch.inputs]}")
            )
    results = [[v.type for v in branch.outputs] for branch in (true, false)]
    if results[0] != results[1]:
        raise ValueError(message("cond", "the branches' results differ", f"{results}"))
    return results[0]


def _reference(pred: Any, *arrays: Any, true: SubGraph, false: SubGraph) -> Any:
    return tuple(evaluated(true if bool(pred) else false, arrays))


def choose(
    pred: Value, true: Callable[[], Sequence[Value]], false: Callable[[], Sequence[Value]]
) -> Values:
    """The results of one branch; both are functions that may use any value around them."""
    graphs = [traced(function, []) for function in (true, false)]
    return bind_cond(pred, *graphs[0], *graphs[1])


def bind_cond(
    pred: Value, true: Graph, true_operands: Sequence[Value], false: Graph,
    false_operands: Sequence[Value],
) -> Values:  # fmt: skip
    """A cond in its simplest form: results that are one operand in both branches are it."""
    known = [
        dict(zip(graph.inputs, given, strict=True))
        for graph, given in ((true, true_operands), (false, false_operands))
    ]
    pairs = list(zip(true.outputs, false.outputs, strict=True))
    same = {
        pair: known[0][pair[0]]
        for pair in pairs
        if pair[0] in known[0] and known[0][pair[0]] is known[1].get(pair[1])
    }
    wanted = [pair for pair in dict.fromkeys(pairs) if pair not in same]
    found = dict(same)
    if wanted:
        operands = list(dict.fromkeys((*true_operands, *false_operands)))
        branches = [
            restated(graph, [pair[n] for pair in wanted], known[n], operands)
            for n, graph in enumerate((true, false))
        ]
        operands = [v for i, v in enumerate(operands) if any(v in used for _, used in branches)]
        made = bind(
            cond_p, pred, *operands,
            **{name: _over(b, operands) for name, b in zip(("true", "false"), branches, strict=True)},
        )  # fmt: skip
        found.update(zip(wanted, made, strict=True))
    return [found[pair] for pair in pairs]
