"""What passes between Python and a launched program besides pointers: numbers in, errors out."""

from __future__ import annotations

from typing import Any

from fanal.backends.native.host import taken_error
from fanal.backends.native.program import STATUS_DIVISION, STATUS_HOST
from fanal.core.errors import OutOfRangeError, message

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
# PyTorch's functions of one index an element raise RuntimeError, those of slices IndexError.
_EITHER = frozenset(["gather", "scatter", "scatter_add", "scatter_reduce", "take_along_dim"])


def number_bits(x: Any) -> Any:
    """A by-value number as the launcher takes it: int64 or float."""
    if type(x) is int and not _INT64_MIN <= x <= _INT64_MAX:
        if x > 2**64 - 1 or x < _INT64_MIN:
            raise OverflowError(message("fanal", "a number that no dtype holds", x))
        return x - 2**64
    return x


def raise_status(name: str, code: int) -> None:
    """The error that a kernel reported: a code, and 55 bits of what it saw."""
    kind, info = code & 0xFF, code >> 8
    name = name.lstrip("_")
    if kind == STATUS_HOST:
        raise taken_error()
    if kind == STATUS_DIVISION:
        raise RuntimeError(
            message(name, "integer division by zero", hint="checking the divisor, or floats")
        )
    # Negative indices were counted from the end already, so their own value is not known here.
    got = str(info) if info < 1 << 54 else "one before the first element"
    raise (OutOfRangeError if name in _EITHER else IndexError)(
        message(
            name, "index out of range", got, "an index within the dimension that it selects from",
            "checking indices, labels or the table's size",
        )
    )
