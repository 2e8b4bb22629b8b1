"""Arrays from JSON's lists. Nothing is allocated before its size was checked against what has been sent, and a message
names the field that is wrong."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from fanal.serve.datatypes import Datatype
from fanal.serve.elements import MAX_DIMS, shape_from
from fanal.serve.errors import ServeError, invalid
from fanal.serve.http.text import kind


def checked_shape(value: Any, size: int, field: str) -> tuple[int, ...]:
    """A shape of elements of `size` bytes, if it is one that an array can have."""
    if type(value) is not list:
        raise invalid(f"{field} is no list", kind(value), "dimensions, as [1, 3]")
    # Of more dimensions than there can be it does not matter what the rest is.
    for n in value[: MAX_DIMS + 1]:
        if type(n) is not int:
            raise invalid(f"{field} has what is no dimension", kind(n), "integers from 0 on")
    return shape_from(value, size, field)


def from_json(data: Any, datatype: Datatype, shape: Sequence[int], field: str) -> np.ndarray:
    """Elements in row-major order, flat, or nested as the shape says."""
    if type(data) is not list:
        if shape or isinstance(data, dict | str) or data is None:
            raise invalid(f"{field} is no list", kind(data))
        data = [data]
    flat = data
    nested = bool(data) and type(data[0]) is list
    if nested:
        flat = _flattened(data, shape, field)
    count = math.prod(shape)
    if len(flat) != count:
        raise invalid(f"{field} does not fit its shape", f"{len(flat)} elements", f"{count} for {list(shape)}")
    return _array(flat, datatype, field, shape if nested else ()).reshape(shape)


def shape_of(data: Any) -> list[int]:
    """The shape of nested lists if they are regular, as their first elements show it."""
    shape: list[int] = []
    while type(data) is list:
        shape.append(len(data))
        if not data or len(shape) > MAX_DIMS:
            break
        data = data[0]
    return shape


def _flattened(data: list[Any], shape: Sequence[int], field: str) -> list[Any]:
    rows = data
    for level, n in enumerate(shape):
        if level == 0:
            rows = [data]
        for row in rows:
            if type(row) is not list:
                raise invalid(f"{field} is nested unevenly", f"{kind(row)} among lists", f"nested as {list(shape)}")
            if len(row) != n:
                raise invalid(
                    f"{field} is not nested as its shape", f"a list of {len(row)}",
                    f"{n} at level {level + 1} of {list(shape)}",
                )  # fmt: skip
        rows = list(chain.from_iterable(rows))
    return rows


_KINDS: dict[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float}),
    "V": frozenset({int, float}),
}


_CODES = {"FP32": "f", "FP16": "e"}  # of the module struct


def _array(flat: list[Any], datatype: Datatype, field: str, nested: Sequence[int]) -> np.ndarray:
    dtype = datatype.numpy
    allowed = _KINDS[dtype.kind]
    found = set(map(type, flat))
    if not found <= allowed:
        at = next(i for i, v in enumerate(flat) if type(v) not in allowed)
        raise _wrong(flat, at, datatype, field, nested)
    try:
        return _packed(flat, datatype)
    except OverflowError:
        at = next(i for i, v in enumerate(flat) if not _fits(v, datatype))
        raise _wrong(flat, at, datatype, field, nested) from None


def _packed(flat: list[Any], datatype: Datatype) -> np.ndarray:
    """Numbers as elements; OverflowError where one has none. NaN and infinities stay what they are."""
    code = _CODES.get(datatype.name)
    if code is not None and flat:
        # As fast as NumPy, which would only warn of numbers that are too large.
        try:
            return np.frombuffer(struct.pack(f"<{len(flat)}{code}", *flat), datatype.numpy)
        except struct.error as why:  # of integers that are too large for float16
            raise OverflowError from why
    if datatype.name == "BF16":
        with np.errstate(over="ignore"):
            array = np.array(flat, np.float64).astype(datatype.numpy)
        odd = np.flatnonzero(~np.isfinite(array)).tolist()
        if any(math.isfinite(flat[i]) for i in odd):
            raise OverflowError
        return array
    return np.array(flat, datatype.numpy)


def _fits(value: Any, datatype: Datatype) -> bool:
    try:
        _packed([value], datatype)
    except OverflowError:
        return False
    return True


def _wrong(flat: list[Any], at: int, datatype: Datatype, field: str, nested: Sequence[int]) -> ServeError:
    places = np.unravel_index(at, tuple(nested)) if nested else (at,)
    if "[…]" in field:  # of rows that were gathered from all objects
        field, places = field.replace("[…]", f"[{places[0]}]"), places[1:]
    where = "".join(f"[{i}]" for i in places)
    return invalid(f"{field}{where} is no {datatype.name}", kind(flat[at]))
