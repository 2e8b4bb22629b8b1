"""Saving and loading: nested containers of tensors, numbers and strings as one safetensors file.

The tensors are entries named by their path ("model.layer.weight"), so any tool that reads
safetensors sees them; the containers around them are JSON in the file's metadata. Loading never runs
code: there is no pickle in any file of ours, and none is read.
"""

from __future__ import annotations

import ctypes
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from fanal.core.atomic import write_atomically
from fanal.core.dtypes import BY_NAME, DType
from fanal.core.errors import DataError, message
from fanal.tensor.creation import empty, from_numpy
from fanal.tensor.interop import as_array
from fanal.tensor.layout import Size
from fanal.tensor.tensor import Tensor

FORMAT = "fanal"
VERSION = 1

CODES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "int32": "I32",
    "uint32": "U32", "int64": "I64", "uint64": "U64", "float16": "F16", "bfloat16": "BF16",
    "float32": "F32", "float64": "F64",
}  # fmt: skip
NAMES = {code: name for name, code in CODES.items()}
Path_ = "str | os.PathLike[str] | BinaryIO"


def save(obj: Any, f: Any, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors and nested containers of them to a safetensors file, atomically.

    `obj`: dicts (keys str, int, float, bool or None), lists, tuples, numbers, strings, None and
    tensors in any nesting. `f`: a path, or a binary file object. A crash while writing leaves an
    older file of that name as it was.
    Raises TypeError for anything else (a module: save its `state_dict()`).
    """
    tensors: dict[str, Tensor] = {}
    tree = _encode(obj, "", tensors)
    head = {"format": FORMAT, "version": str(VERSION), "tree": json.dumps(tree)}
    arrays = {k: np.array(as_array(t.detach()), order="C", copy=True) for k, t in tensors.items()}
    data = safetensors.numpy.save(arrays, {**(metadata or {}), **head})
    if hasattr(f, "write"):
        f.write(data)
    else:
        write_atomically(Path(f), data)


def load(
    f: Any, map_location: Any = None, *, weights_only: bool = True, mmap: bool | None = None
) -> Any:
    """What `save` wrote, or the tensors of any safetensors file as a dict.

    Never runs code from the file. Raises DataError for a damaged file, and for a PyTorch pickle
    (with the way to convert it).
    """
    name = getattr(f, "name", "the file") if hasattr(f, "read") else str(f)
    data = f.read() if hasattr(f, "read") else Path(f).read_bytes()
    _refuse_foreign(data, name)
    try:
        entries = dict(safetensors.deserialize(data))  # type: ignore[no-untyped-call]
        with io.BytesIO(data) as head:
            size = int.from_bytes(head.read(8), "little")
            metadata = json.loads(head.read(size)).get("__metadata__", {})
    except (safetensors.SafetensorError, ValueError) as error:
        raise DataError(
            message(
                "load", f"{name} is damaged or not a safetensors file", str(error),
                hint="a copy of the file that is whole",
            )
        ) from error
    tensors = {key: _tensor(entry) for key, entry in entries.items()}
    if metadata.get("format") != FORMAT:
        return tensors
    if int(metadata.get("version", "0")) > VERSION:
        raise DataError(
            message(
                "load", f"{name} was written by a newer version", metadata["version"],
                f"format version {VERSION} or older", "a newer Fanal",
            )
        )
    try:
        return _decode(json.loads(metadata["tree"]), tensors)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DataError(message("load", f"{name} has a damaged description", str(error))) from error


def _refuse_foreign(data: bytes, name: str) -> None:
    zipped, pickled = data[:4] == b"PK\x03\x04", data[:1] == b"\x80" and data[1:2] <= b"\x05"
    if zipped or (pickled and data[2:3] in b"}c.(]XK\x8a\x95"):
        raise DataError(
            message(
                "load", f"{name} is a PyTorch pickle, which could run code; it is not read",
                hint=(
                    "converting it where PyTorch is installed: "
                    "safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)"
                ),
            )
        )


def _encode(obj: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """JSON for a container: [kind, …]; plain values as they are."""
    if isinstance(obj, Tensor):
        name = path or "tensor"
        while name in tensors:
            name += "_"
        tensors[name] = obj
        return ["t", name, obj.requires_grad]
    if obj is None or isinstance(obj, bool | int | str):
        return obj
    if isinstance(obj, float):
        return ["f", obj.hex()]
    if isinstance(obj, Mapping):
        rows = [[_key(k), _encode(v, _join(path, k), tensors)] for k, v in obj.items()]
        return ["d", rows]
    if isinstance(obj, Size | tuple | list):
        kind = "l" if isinstance(obj, list) else "s" if isinstance(obj, Size) else "u"
        return [kind, [_encode(v, _join(path, i), tensors) for i, v in enumerate(obj)]]
    if isinstance(obj, DType):
        return ["y", obj.name]
    if isinstance(obj, np.generic):
        return _encode(obj.item(), path, tensors)
    if isinstance(obj, np.ndarray):
        return _encode(from_numpy(obj), path, tensors)
    raise TypeError(
        message(
            "save", f"can't be stored in a file (at {path or 'the top'!r})", type(obj).__name__,
            "tensors, numbers, strings, None, and dicts, lists, tuples of them",
            "its state_dict()" if hasattr(obj, "state_dict") else "",
        )
    )


def _key(key: Any) -> Any:
    if key is None or isinstance(key, bool | int | str):
        return key
    if isinstance(key, float):
        return ["f", key.hex()]
    raise TypeError(message("save", "a dict key that can't be stored", repr(key), "str or a number"))


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _decode(node: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(node, list):
        return node
    kind, *rest = node
    if kind == "t":
        return tensors[rest[0]].requires_grad_() if rest[1] else tensors[rest[0]]
    if kind == "f":
        return float.fromhex(rest[0])
    if kind == "y":
        return BY_NAME[rest[0]]
    if kind == "d":
        return {
            (float.fromhex(k[1]) if isinstance(k, list) else k): _decode(v, tensors)
            for k, v in rest[0]
        }
    items = [_decode(v, tensors) for v in rest[0]]
    made = {"l": list, "u": tuple, "s": Size}[kind](items)
    return made


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    code = str(entry["dtype"])
    if code not in NAMES:
        raise DataError(message("load", "a dtype that no tensor can hold", code))
    return tensor_of(entry["data"], BY_NAME[NAMES[code]], entry["shape"])


def tensor_of(data: bytes | bytearray | memoryview, dtype: DType, shape: Sequence[int]) -> Tensor:
    """A tensor with a copy of these elements, in memory of its own: aligned for kernels, and nobody else writes to it."""
    made = empty(tuple(shape), dtype=dtype)
    source = np.frombuffer(data, np.uint8)
    if dtype.name == "bool":
        source = source != 0  # whatever stands there for true
    assert source.nbytes == made._layout.nbytes
    ctypes.memmove(made._ptr, source.ctypes.data, source.nbytes)
    return made
