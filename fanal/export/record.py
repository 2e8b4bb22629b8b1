"""What a file says of a program, as plain data for JSON, and back: all but its tensors' elements.

`described` and `from_record` are of the whole program. An `Outline` is what callers need to know of it, without
graphs and tensors: names, dtypes, dimensions, relations. It is small, and travels between processes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from fanal.core.dtypes import DType
from fanal.core.symbols import example_of
from fanal.export.checking import check_signature
from fanal.export.codec import Reader, Writer, listed, structure_from, structure_to
from fanal.export.dims import DimSymbols
from fanal.export.errors import damaged
from fanal.export.exporting import ExportedProgram
from fanal.export.program import Place, Program, Range, Relation, Signature, TensorSpec
from fanal.graph.digest import is_nameable
from fanal.graph.ir import SubGraph
from fanal.tensor.tensor import Tensor
from fanal.version import __version__


def described(program: Program, card: dict[str, Any]) -> dict[str, Any]:
    """All of a program but its tensors' elements, as plain data."""
    w = Writer(program.symbols)
    signatures = [
        {
            **_interface(s, w), "takes": [list(p) for p in s.takes], "gives": [list(p) for p in s.gives],
            "structure_in": structure_to(s.structure_in), "structure_out": structure_to(s.structure_out),
            "constants": [[i, w.value(x)] for i, x in s.constants.items()], "graph": w.graph(s.graph),
        }
        for s in program.signatures.values()
    ]  # fmt: skip
    return {**_common(program, card, w), "origins": w.origins, "signatures": signatures}


def _common(program: Program, card: dict[str, Any], w: Writer) -> dict[str, Any]:
    examples = program.symbols.by_name
    return {
        "producer": f"fanal {__version__}", "name": program.name, "card": card,
        "dims": [[*d, examples[d.name].example] for d in program.dims], "atoms": w.atoms,
    }  # fmt: skip


def _interface(s: Signature, w: Writer) -> dict[str, Any]:
    def spec(t: TensorSpec) -> dict[str, Any]:
        dtype, shape = w.typed(t)
        found = {"name": t.name, "dtype": dtype, "shape": shape}
        return {**found, "labels": list(t.labels)} if t.labels else found

    return {
        "name": s.name, "inputs": [spec(t) for t in s.inputs], "outputs": [spec(t) for t in s.outputs],
        "relations": [[w.value(r.zero), r.place] for r in s.relations],
    }  # fmt: skip


_FIELDS = {"producer", "name", "card", "dims", "atoms", "origins", "signatures"}
_SIGNATURE = {
    "name", "inputs", "outputs", "takes", "gives", "structure_in", "structure_out", "constants", "relations",
    "graph",
}  # fmt: skip


def from_record(record: Any, state: dict[str, Tensor]) -> ExportedProgram:
    """The program that a description and its tensors are; raises DataError for what can't be one."""
    if not isinstance(record, dict) or set(record) != _FIELDS:
        raise damaged("its description")
    if not isinstance(record["name"], str) or not isinstance(record["card"], dict):
        raise damaged("its name or card")
    symbols, dims, extents = _dims(record["dims"])
    reader = Reader(symbols, extents, record["atoms"], record["origins"])
    signatures = {}
    for r in listed(record["signatures"], "signatures"):
        if not isinstance(r, dict) or set(r) != _SIGNATURE or not isinstance(r["name"], str) or not r["name"].isidentifier():
            raise damaged("a signature")
        if r["name"] in signatures:
            raise damaged("a signature twice", r["name"])
        constants = {}
        for pair in listed(r["constants"], "constants"):
            if not isinstance(pair, list) or len(pair) != 2 or type(pair[0]) is not int or pair[0] < 0:
                raise damaged("a constant")
            constants[pair[0]] = reader.value(pair[1])
            if isinstance(constants[pair[0]], tuple | SubGraph | DType):
                raise damaged("a constant")
        graph = reader.graph(r["graph"])
        s = Signature(
            r["name"], graph, _places(r["takes"], ("input", "state")),
            _places(r["gives"], ("output", "state")), _specs(r["inputs"], reader), _specs(r["outputs"], reader),
            structure_from(r["structure_in"]), structure_from(r["structure_out"]), constants,
            tuple(_relation(x, reader) for x in listed(r["relations"], "relations")),
            _identity(r, record["dims"], record["atoms"]) if is_nameable(graph) else "",
        )  # fmt: skip
        check_signature(s, state)
        signatures[s.name] = s
    return ExportedProgram(record["name"], symbols, dims, state, signatures, record["card"])


def _identity(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _dims(x: Any) -> tuple[DimSymbols, tuple[Range, ...], list[Any]]:
    symbols = DimSymbols()
    dims = tuple(_range(d[:3], d[3]) for d in listed(x, "dims") if _is_dim(d))
    if len({d.name for d in dims}) != len(x):
        raise damaged("the dimensions")
    return symbols, dims, [symbols.dim(d.name, n[3], d.min, d.max) for d, n in zip(dims, x, strict=True)]


def _is_dim(d: Any) -> bool:
    return isinstance(d, list) and len(d) == 4 and isinstance(d[0], str)


def _range(d: list[Any], example: Any) -> Range:
    name, low, high = d
    numbers = [low, example] if high is None else [low, example, high]
    if not (name.isidentifier() and all(type(n) is int for n in numbers) and 0 <= low <= 2**48 and numbers == sorted(numbers)):
        raise damaged(f"the dimension {name!r}")
    return Range(name, low, high)


def _relation(x: Any, reader: Reader) -> Relation:
    if not isinstance(x, list) or len(x) != 2 or type(x[1]) is not str:
        raise damaged("a relation")
    zero = reader.size(x[0])
    if example_of(zero) != 0:
        raise damaged("a relation that does not hold in the example")
    return Relation(zero, x[1])


def _places(x: Any, kinds: tuple[str, ...]) -> tuple[Place, ...]:
    found = []
    for p in listed(x, "what a signature takes or gives"):
        if not isinstance(p, list) or len(p) != 2 or p[0] not in kinds or not isinstance(p[1], str):
            raise damaged("what a signature takes or gives")
        found.append(Place(*p))
    return tuple(found)


def _specs(x: Any, reader: Reader) -> tuple[TensorSpec, ...]:
    found = []
    for t in listed(x, "a signature's tensors"):
        if not isinstance(t, dict) or not {"name", "dtype", "shape"} <= set(t) <= {"name", "dtype", "shape", "labels"}:
            raise damaged("a signature's tensor")
        labels = t.get("labels", [])
        if not isinstance(t["name"], str) or not isinstance(labels, list) or not all(type(l) is str for l in labels):
            raise damaged("a signature's tensor")
        found.append(TensorSpec(t["name"], *reader.typed([t["dtype"], t["shape"]]), tuple(labels)))
    return tuple(found)


# -- the outline -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interface:
    """What a signature takes and gives; see `Signature`. `writes`: whether it changes the program's state."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    relations: tuple[Relation, ...]
    writes: bool


@dataclass(frozen=True, slots=True)
class Outline:
    """A program as its callers see it."""

    name: str
    card: dict[str, Any]
    symbols: DimSymbols
    dims: tuple[Range, ...]
    signatures: dict[str, Interface]


def outlined(program: Program) -> dict[str, Any]:
    """The outline of a program, as plain data."""
    w = Writer(program.symbols)
    signatures = [{**_interface(s, w), "writes": bool(s.writes)} for s in program.signatures.values()]
    return {**_common(program, program.card, w), "signatures": signatures}


def outline_from(record: Any) -> Outline:
    """The outline that plain data is; raises DataError where it is none."""
    try:
        symbols, dims, extents = _dims(record["dims"])
        reader = Reader(symbols, extents, record["atoms"], [])
        signatures = {
            r["name"]: Interface(
                r["name"], _specs(r["inputs"], reader), _specs(r["outputs"], reader),
                tuple(_relation(x, reader) for x in listed(r["relations"], "relations")), bool(r["writes"]),
            )
            for r in listed(record["signatures"], "signatures")
        }  # fmt: skip
        return Outline(record["name"], record["card"], symbols, dims, signatures)
    except (KeyError, TypeError) as why:
        raise damaged(f"an outline ({why})") from None
