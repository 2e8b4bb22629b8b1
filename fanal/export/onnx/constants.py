"""Python's numbers as the bytes of a tensor."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.tensor.creation import tensor

_CODES = {"uint8": "B", "int8": "b", "int32": "i", "int64": "q", "float32": "f", "float64": "d", "bool": "?"}


def elements(values: Sequence[Any], dtype: DType) -> bytes:
    """The elements of a tensor, little-endian; rounded as the tensor's would be."""
    code = _CODES.get(dtype.name)
    if code is None or dtype.kind == "f":
        array: Any = tensor(list(values), dtype=dtype).numpy()
        return bytes(array.tobytes())
    if dtype is dtypes.bool_:
        values = [bool(v) for v in values]
    return struct.pack(f"<{len(values)}{code}", *values)
