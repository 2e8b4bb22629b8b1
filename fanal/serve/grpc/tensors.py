"""Tensors on the wire as arrays. Nothing is trusted: sizes are compared before anything is made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fanal.core.errors import nearest
from fanal.serve.datatypes import BYTES, DATATYPES, Datatype
from fanal.serve.elements import from_bytes, shape_from
from fanal.serve.errors import invalid

# The field of InferTensorContents that a datatype's elements come in. FP16 and BF16 have none.
_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip
# What NumPy reads those fields as before it is known that the numbers fit.
_READ_AS = {"int_contents": np.int32, "uint_contents": np.uint32}


def from_raw(tensor: Any, data: bytes) -> np.ndarray:
    """An input whose elements are bytes: little-endian, row-major."""
    kind = _datatype(tensor)
    return from_bytes(data, kind, shape_from(tensor.shape, kind.size, f"inputs.{tensor.name}.shape"), f"raw_input_contents of {tensor.name!r}")


def from_contents(tensor: Any) -> np.ndarray:
    """An input whose elements are numbers of the message itself."""
    kind = _datatype(tensor)
    where = f"inputs.{tensor.name}.contents"
    field = _FIELDS.get(kind.name)
    if field is None:
        raise invalid(f"{where} cannot hold {kind.name}", None, "", "raw_input_contents")
    given = [f.name for f, _ in tensor.contents.ListFields()]
    if any(name != field for name in given):
        raise invalid(f"{where} are of another datatype", ", ".join(given), f"{field}, for {kind.name}")
    shape = shape_from(tensor.shape, kind.size, f"inputs.{tensor.name}.shape")
    wanted = math.prod(shape)
    numbers = getattr(tensor.contents, field)
    if len(numbers) != wanted:
        raise invalid(f"{where}.{field} has another length", len(numbers), f"{wanted}, for shape {list(shape)}")
    return _narrowed(f"{where}.{field}", np.array(numbers, _READ_AS.get(field, kind.numpy)), kind).reshape(shape)


def _narrowed(where: str, array: np.ndarray, kind: Datatype) -> np.ndarray:
    if array.dtype == kind.numpy:
        return array
    limits = np.iinfo(kind.numpy)
    if array.size:
        for number in (array.min(), array.max()):
            if not limits.min <= number <= limits.max:
                raise invalid(f"{where} does not fit", int(number), f"{kind.name}: {limits.min} to {limits.max}")
    return array.astype(kind.numpy)


def _datatype(tensor: Any) -> Datatype:
    found = DATATYPES.get(tensor.datatype)
    if found is not None:
        return found
    where = f"inputs.{tensor.name}.datatype"
    if tensor.datatype == BYTES:
        raise invalid(f"{where}: no model here takes BYTES", None, "", "numbers, as the model's metadata says")
    meant = nearest(tensor.datatype.upper(), DATATYPES) or list(DATATYPES)
    raise invalid(f"{where} is unknown", repr(tensor.datatype), "", ", ".join(meant))
