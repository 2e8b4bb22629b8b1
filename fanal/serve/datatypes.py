"""The Open Inference Protocol's datatypes, in our names and NumPy's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fanal.core.dtypes import BY_NAME


class Datatype(NamedTuple):
    """A datatype: its name in the protocol, ours, NumPy's (of little-endian elements), TensorFlow's."""

    name: str
    ours: str
    numpy: Any
    tensorflow: str
    size: int


def _datatype(name: str, ours: str, tensorflow: str) -> Datatype:
    kind = np.dtype(BY_NAME[ours].numpy)
    return Datatype(name, ours, kind, tensorflow, kind.itemsize)


_ALL = (
    _datatype("BOOL", "bool", "DT_BOOL"),
    _datatype("UINT8", "uint8", "DT_UINT8"),
    _datatype("UINT16", "uint16", "DT_UINT16"),
    _datatype("UINT32", "uint32", "DT_UINT32"),
    _datatype("UINT64", "uint64", "DT_UINT64"),
    _datatype("INT8", "int8", "DT_INT8"),
    _datatype("INT16", "int16", "DT_INT16"),
    _datatype("INT32", "int32", "DT_INT32"),
    _datatype("INT64", "int64", "DT_INT64"),
    _datatype("FP16", "float16", "DT_HALF"),
    _datatype("BF16", "bfloat16", "DT_BFLOAT16"),
    _datatype("FP32", "float32", "DT_FLOAT"),
    _datatype("FP64", "float64", "DT_DOUBLE"),
)
DATATYPES = {d.name: d for d in _ALL}
BY_DTYPE = {d.ours: d for d in _ALL}
# Text and bytes: the protocol has them, programs don't.
BYTES = "BYTES"
