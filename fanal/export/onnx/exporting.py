"""`to_onnx`: one function of a program as an ONNX model."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fanal.core.errors import message, nearest
from fanal.export.onnx.conversion import emit
from fanal.export.onnx.records import Data, OnnxGraph, OnnxNode, Ref, full_ref
from fanal.export.onnx.writer import Writer
from fanal.export.program import Program, Signature
from fanal.export.text import Dims
from fanal.version import __version__

OPSET = 20


def to_onnx(
    program: Program, path: str | os.PathLike[str], signature: str | None = None, *,
    opset: int = OPSET, external_data: bool | None = None,
) -> None:  # fmt: skip
    """Write one function of a program as an ONNX model.

    Inputs and outputs have their names; symbolic dimensions are named dimensions. Tensors that the
    function only reads are constants of the model. One that it writes, a parameter of a training step, is
    an input of its name whose value may be left out (then it is the one in the program), and its new value
    is the output `NAME.next`. Names that would be two things: a tensor's gets `state.` in front, an
    output's `.out` behind.

    `signature`: which function, if the program has several. `opset`: the version of ONNX's operators, from
    18 on. `external_data`: whether large tensors go to a file beside the model (`PATH.data`); None: only
    if they don't fit, as protobuf's messages are limited to 2 GiB. The model is checked before its
    file is replaced. What ONNX can't say is an error (a Limit) that names the operation and the line.
    """
    from fanal.export.onnx import model

    if not model.OLDEST <= opset <= model.newest():
        wanted = f"{model.OLDEST} to {model.newest()}"
        raise ValueError(message("to_onnx", "no such version of the operators", opset, wanted))
    target = Path(path)
    graph = onnx_graph(program, _chosen(program, signature))
    card = {k: v for k, v in program.card.items() if v not in (None, "")}
    properties = {k: v if isinstance(v, str) else json.dumps(v, sort_keys=True) for k, v in card.items()}
    properties.update(_sizes(program))
    doc = str(card.get("description", ""))
    model.write(graph, target, opset, ("fanal", __version__), doc, properties, external_data)


def _chosen(program: Program, name: str | None) -> Signature:
    if name is None and len(program.signatures) == 1:
        return next(iter(program.signatures.values()))
    names = ", ".join(map(repr, program.signatures))
    if name is None:
        raise ValueError(message("to_onnx", "the program has several functions", names, "one of them", "signature=…"))
    if name not in program.signatures:
        close = nearest(name, program.signatures)
        hint = f"signature={close[0]!r}" if close else ""
        raise ValueError(message("to_onnx", "the program has no such function", repr(name), names, hint))
    return program.signatures[name]


def _sizes(program: Program) -> dict[str, str]:
    """What ONNX has no place for: ranges of dimensions and conditions, as texts."""
    found = {
        f"fanal.dim.{d.name}": f"{d.min}.." + ("" if d.max is None else str(d.max)) for d in program.dims
    }
    conditions = Dims(program).conditions()
    if conditions:
        found["fanal.conditions"] = "\n".join(conditions)
    return found


def onnx_graph(program: Program, signature: Signature) -> OnnxGraph:
    """The function as ONNX's graph. The program is left as it was, its conditions among it."""
    before = dict(program.symbols.conditions)
    try:
        return _Function(program, signature).graph()
    finally:
        program.symbols.conditions.clear()
        program.symbols.conditions.update(before)


class _Function:
    """One function while it is written."""

    def __init__(self, program: Program, signature: Signature):
        self._program, self._signature = program, signature
        self._inputs = {p.name for p in signature.takes if p.kind == "input"}
        self._given = [(self._name(p), v.shape) for p, v in zip(signature.takes, signature.graph.inputs, strict=True)]
        self._outputs = [self._output_name(p) for p in signature.gives]
        taken = [*(n for n, _ in self._given), *self._outputs]
        inputs = [g for g, p in zip(self._given, signature.takes, strict=True) if p.kind == "input"]
        self._writer = Writer(program, inputs, taken)

    def _name(self, place: Any) -> str:
        if place.kind == "input" or place.name not in self._inputs:
            return str(place.name)
        return f"state.{place.name}"

    def _output_name(self, place: Any) -> str:
        if place.kind == "state":
            return f"{self._name(place)}.next"
        states = {self._name(p) for p in self._signature.takes}
        return f"{place.name}.out" if place.name in states else str(place.name)

    def graph(self) -> OnnxGraph:
        w, signature = self._writer, self._signature
        graph = signature.graph
        given = [full_ref(n, v.dtype, v.shape) for (n, _), v in zip(self._given, graph.inputs, strict=True)]
        data = {}
        for place, x in zip(signature.takes, given, strict=True):
            if place.kind == "state":
                data[x.name] = self._data(place.name)
        found = [w.whole(y) for y in emit(w, graph, given)]
        nodes, outputs = _renamed(w, found, self._outputs, {x.name for x in given})
        writes = set(signature.writes)
        inputs = [
            w.named(x.name, x)
            for place, x in zip(signature.takes, given, strict=True)
            if place.kind == "input" or place.name in writes
        ]
        read = _read(nodes)
        data = {n: d for n, d in {**data, **w.data}.items() if n in read or n in {i.name for i in inputs}}
        return OnnxGraph(self._program.name or "program", inputs, outputs, nodes, data)

    def _data(self, name: str) -> Data:
        t = self._program.state[name].detach()
        array: Any = t.contiguous().numpy()
        return Data(t.dtype, tuple(t.shape), bytes(array.tobytes()))


def _read(nodes: Sequence[OnnxNode]) -> set[str]:
    """What nodes take, those of their graphs among them."""
    found: set[str] = set()
    for n in nodes:
        found.update(n.inputs)
        for value in n.attributes.values():
            if isinstance(value, OnnxGraph):
                found |= _read(value.nodes) | {y.name for y in value.outputs}
    return found


def _renamed(
    w: Writer, found: Sequence[Ref], names: Sequence[str], given: set[str]
) -> tuple[list[OnnxNode], list[Any]]:
    """Nodes whose results have the outputs' names. What is no node's result, or is given twice, is
    copied under its name."""
    nodes = w.written
    made = {name for n in nodes for name in n.outputs}
    new: dict[str, str] = {}
    copies = []
    for y, name in zip(found, names, strict=True):
        if y.name in made and y.name not in new:
            new[y.name] = name
        else:
            copies.append(OnnxNode("Identity", [y.name], [name], {}))
    nodes = [*nodes, *copies]
    for n in nodes:
        _rename(n, new)
    return nodes, [w.named(name, y) for y, name in zip(found, names, strict=True)]


def _rename(n: OnnxNode, new: dict[str, str]) -> None:
    n.inputs = [new.get(x, x) for x in n.inputs]
    n.outputs = [new.get(x, x) for x in n.outputs]
    for value in n.attributes.values():
        if isinstance(value, OnnxGraph):
            for inner in value.nodes:
                _rename(inner, new)
