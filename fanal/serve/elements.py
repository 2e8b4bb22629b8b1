"""What every protocol holds tensors to: shapes that arrays can have, elements as bytes, no shared memory. Nothing is
allocated before its size was compared with what has been sent."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence

import numpy as np

from fanal.serve.datatypes import Datatype
from fanal.serve.errors import invalid

MAX_DIMS = 32
_MAX_SIZE = 1 << 62  # bytes that an address can count, with room


def shape_from(dims: Sequence[int], size: int, field: str) -> tuple[int, ...]:
    """A shape of elements of `size` bytes, if it is one that an array can have."""
    if len(dims) > MAX_DIMS:
        raise invalid(f"{field} has too many dimensions", len(dims), f"at most {MAX_DIMS}")
    total = size
    for n in dims:
        if n < 0:
            raise invalid(f"{field} has a negative dimension", n)
        total *= n or 1
    if total > _MAX_SIZE:
        raise invalid(f"{field} is of more elements than can be", list(dims))
    return tuple(dims)


def from_bytes(data: bytes | memoryview, datatype: Datatype, shape: tuple[int, ...], field: str) -> np.ndarray:
    """Elements as they lie in memory, the low byte first, row after row."""
    expected, given = math.prod(shape) * datatype.size, len(data)
    if given != expected:
        raise invalid(f"{field} does not fit its shape", f"{given} bytes", f"{expected} for {list(shape)} of {datatype.name}")
    array = np.frombuffer(data, datatype.numpy) if expected else np.empty(0, datatype.numpy)
    if datatype.name == "BOOL" and expected and array.view(np.uint8).max() > 1:
        raise invalid(f"{field} has bytes that are no BOOL", None, "0 or 1")
    if not array.flags.aligned:
        array = array.copy()
    return array.reshape(shape)


def refuse_shared_memory(parameters: Container[str], field: str) -> None:
    """Regions of memory that a request names are never looked at."""
    if "shared_memory_region" in parameters:
        raise invalid(f"{field}.shared_memory_region: this server shares no memory with its clients", None, "", "the tensor's bytes in the request")
