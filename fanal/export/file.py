"""Programs as files: `save` and `load`, as `torch.export.save` and `load`. No file is read as a pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from fanal.core.dtypes import BY_NAME, DType
from fanal.core.errors import DataError, message
from fanal.core.symbols import example_of
from fanal.export.checking import check_signature
from fanal.export.codec import (
    Reader,
    Unwritable,
    Writer,
    listed,
    structure_from,
    structure_to,
)
from fanal.export.container import File, strict_json, write
from fanal.export.dims import DimSymbols
from fanal.export.errors import damaged
from fanal.export.exporting import ExportedProgram
from fanal.export.program import Place, Program, Range, Relation, Signature, TensorSpec
from fanal.export.taking import ExportError
from fanal.graph.ir import SubGraph
from fanal.tensor.creation import from_numpy
from fanal.tensor.interop import as_array
from fanal.tensor.saving import CODES, NAMES
from fanal.tensor.tensor import Tensor, shared
from fanal.version import __version__

FORMAT, VERSION = "fanal-program", 1


def save(program: Program, f: str | os.PathLike[str], *, card: dict[str, Any] | None = None) -> None:
    """Write a program to a file, atomically: one safetensors file, weights as tensors, everything else JSON
    in its metadata (docs/format.md). `card`: entries for the program's card.

    Raises ExportError for what has no form in a file.
    """
    if not isinstance(program, Program):
        raise TypeError(message("save", "no exported program", type(program).__name__, hint="fanal.export.export(model, args) first"))
    try:
        text = json.dumps(described(program, {**program.card, **(card or {})}), separators=(",", ":"), allow_nan=False)
    except (Unwritable, ValueError, TypeError) as why:
        raise ExportError(message("save", f"the program can't be written: {why}")) from None
    entries = {}
    for name, t in program.state.items():
        array = np.ascontiguousarray(as_array(t.detach()))
        entries[name] = (CODES[t.dtype.name], tuple(array.shape) if t.ndim else (), array.tobytes())
    write(Path(f), entries, {"format": FORMAT, "version": str(VERSION), "program": text})


def load(f: str | os.PathLike[str], *, check: bool = True) -> ExportedProgram:
    """A program from a file; running it gives what it gave where it was exported.

    Nothing in the file is trusted: form, names, types, sizes and order are checked before anything is made
    of it, and nothing of it is ever run as Python. `check`: also that no bit of the tensors has changed.

    Raises DataError for a file that is damaged, of another kind, or of a newer format.
    """
    file = File(f, check)
    if file.metadata.get("format") != FORMAT:
        raise DataError(
            message("load", f"{file.path} holds no program", file.metadata.get("format", "tensors only"), FORMAT,
                    "fanal.load() for tensors")
        )  # fmt: skip
    version = file.metadata.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 6):
        raise damaged("its version", version)
    if not 1 <= int(version) <= VERSION:
        raise DataError(message("load", f"{file.path} was written by a newer version", f"format {version}", f"at most {VERSION}", "a newer Fanal"))
    try:
        record = strict_json(file.metadata["program"])
    except (KeyError, ValueError, RecursionError) as error:
        raise damaged(f"its description can't be read ({error})") from None
    state = {}
    for name, entry in file.entries.items():
        dtype = BY_NAME[NAMES[entry.code]]
        array = np.frombuffer(entry.data, np.uint8).view(dtype.numpy).reshape(entry.shape)
        made = from_numpy(array).clone()  # in memory of its own, so that nobody else writes to it
        state[name] = shared(made, made._layout)
    return from_record(record, state)


# -- the description ------------------------------------------------------------------------------------


def described(program: Program, card: dict[str, Any]) -> dict[str, Any]:
    """All of a program but its tensors' elements, as plain data."""
    w = Writer(program.symbols)
    symbols = program.symbols

    def spec(t: TensorSpec) -> dict[str, Any]:
        dtype, shape = w.typed(t)
        found = {"name": t.name, "dtype": dtype, "shape": shape}
        return {**found, "labels": list(t.labels)} if t.labels else found

    signatures = [
        {
            "name": s.name, "inputs": [spec(t) for t in s.inputs], "outputs": [spec(t) for t in s.outputs],
            "takes": [list(p) for p in s.takes], "gives": [list(p) for p in s.gives],
            "structure_in": structure_to(s.structure_in), "structure_out": structure_to(s.structure_out),
            "constants": [[i, w.value(x)] for i, x in s.constants.items()],
            "relations": [[w.value(r.zero), r.place] for r in s.relations],
            "graph": w.graph(s.graph),
        }
        for s in program.signatures.values()
    ]  # fmt: skip
    return {
        "producer": f"fanal {__version__}", "name": program.name, "card": card,
        "dims": [[*d, symbols.by_name[d.name].example] for d in program.dims], "atoms": w.atoms,
        "origins": w.origins, "signatures": signatures,
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
    symbols = DimSymbols()
    dims = tuple(_range(d[:3], d[3]) for d in listed(record["dims"], "dims") if _is_dim(d))
    if len({d.name for d in dims}) != len(record["dims"]):
        raise damaged("the dimensions")
    examples = [d[3] for d in record["dims"]]
    extents = [symbols.dim(d.name, n, d.min, d.max) for d, n in zip(dims, examples, strict=True)]
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
        s = Signature(
            r["name"], reader.graph(r["graph"]), _places(r["takes"], ("input", "state")),
            _places(r["gives"], ("output", "state")), _specs(r["inputs"], reader), _specs(r["outputs"], reader),
            structure_from(r["structure_in"]), structure_from(r["structure_out"]), constants,
            tuple(_relation(x, reader) for x in listed(r["relations"], "relations")),
        )  # fmt: skip
        check_signature(s, state)
        signatures[s.name] = s
    return ExportedProgram(record["name"], symbols, dims, state, signatures, record["card"])


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
