"""Programs as files: `save` and `load`, as `torch.export.save` and `load`. No file is read as a pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from fanal.core.dtypes import BY_NAME
from fanal.core.errors import DataError, message
from fanal.export.codec import (
    Unwritable,
)
from fanal.export.container import File, strict_json, write
from fanal.export.errors import damaged
from fanal.export.exporting import ExportedProgram
from fanal.export.program import Program
from fanal.export.record import described, from_record
from fanal.export.taking import ExportError
from fanal.tensor.interop import as_array
from fanal.tensor.saving import CODES, NAMES, tensor_of

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
    state = {name: tensor_of(e.data, BY_NAME[NAMES[e.code]], e.shape) for name, e in file.entries.items()}
    return from_record(record, state)
