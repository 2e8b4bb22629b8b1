"""Branches and loops: If, Scan and Loop, whose graphs use what is around them by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.export.onnx.formulas import written
from fanal.export.onnx.layout import ramp
from fanal.export.onnx.records import Ref, full_ref
from fanal.export.onnx.registry import rule
from fanal.export.onnx.writer import Writer
from fanal.ops.control.scan import parts


def _own(w: Writer, xs: Sequence[Ref]) -> list[Ref]:
    """Outputs of a graph: computed by it, and each another one."""
    found: list[Ref] = []
    for x in xs:
        y = w.own(x)
        if any(y.name == z.name for z in found):
            y = w.op("Identity", [y], y.dtype, y.shape)
        found.append(y)
    return found


def _results(node: Any, names: Sequence[str]) -> tuple[Ref, ...]:
    pairs = zip(names, node.outputs, strict=True)
    return tuple(full_ref(name, v.dtype, v.shape) for name, v in pairs)


@rule("cond")
def _cond(w: Writer, node: Any, pred: Ref, *operands: Ref) -> tuple[Ref, ...]:
    graphs = {}
    for key, branch in (("then_branch", "true"), ("else_branch", "false")):
        with w.subgraph() as made:
            found = _own(w, written(w, node.attributes[branch], operands))
            graphs[key] = made(w.name(key), [], found)
    return _results(node, w.nodes("If", [w.whole(pred)], len(node.outputs), **graphs))


@rule("scan")
def _scan(w: Writer, node: Any, *values: Ref) -> tuple[Ref, ...]:
    at = node.attributes
    count, length = at["carries"], at["length"]
    consts, init, xs = parts(values, at["consts"], count)
    # Scan goes along at least one sequence.
    sequences = [w.whole(x) for x in xs] or [ramp(w, length, dtypes.int64)]
    with w.subgraph() as made:
        state = [w.input("state", x.dtype, x.shape) for x in init]
        slices = [w.input("slice", x.dtype, x.shape[1:]) for x in sequences]
        found = _own(w, written(w, at["body"], [*consts, *state, *slices[: len(xs)]]))
        body = made(w.name("body"), [*state, *slices], found)
    back = int(at["reverse"])
    names = w.nodes(
        "Scan", [*(w.whole(x) for x in init), *sequences], len(node.outputs), body=body,
        num_scan_inputs=len(sequences), scan_input_directions=(back,) * len(sequences),
        **({"scan_output_directions": (back,) * (len(found) - count)} if len(found) > count else {}),
    )  # fmt: skip
    return _results(node, names)


@rule("while")
def _while(w: Writer, node: Any, *values: Ref) -> tuple[Ref, ...]:
    at = node.attributes
    consts, init = values[: at["consts"]], values[at["consts"] :]
    flag = w.whole(written(w, at["cond"], values)[0])
    with w.subgraph() as made:
        given = [w.input("step", dtypes.int64, ()), w.input("flag", dtypes.bool_, ())]
        state = [w.input("state", x.dtype, x.shape) for x in init]
        new = written(w, at["body"], [*consts, *state])
        again = written(w, at["cond"], [*consts, *new])
        body = made(w.name("body"), [*given, *state], _own(w, [*again, *new]))
    limit = at["limit"]
    most = "" if limit is None else w.constant([limit], dtypes.int64, ()).name
    names = w.nodes("Loop", [most, flag, *(w.whole(x) for x in init)], len(init), body=body)
    return _results(node, names)
