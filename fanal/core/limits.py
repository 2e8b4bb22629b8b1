"""What a dtype can hold: `finfo` for floating dtypes, `iinfo` for integers, as in PyTorch."""

from __future__ import annotations

import ml_dtypes

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.core.errors import message


def _checked(name: str, type: DType | None, kinds: str, hint: str) -> DType:
    dtype = dtypes.get_default_dtype() if type is None and name == "finfo" else type
    if not isinstance(dtype, DType) or dtype.kind not in kinds:
        wanted = "a floating dtype" if kinds == "f" else "an integer dtype"
        raise TypeError(message(name, "not a dtype of this kind", repr(dtype), wanted, hint))
    return dtype


class finfo:
    """Limits of a floating dtype (the default one if left out).

    bits, eps (the step above 1), max, min (the lowest), tiny = smallest_normal, resolution.
    """

    __slots__ = ("bits", "dtype", "eps", "max", "min", "resolution", "smallest_normal", "tiny")

    def __init__(self, type: DType | None = None):
        dtype = _checked("finfo", type, "f", "iinfo() for integers")
        found = ml_dtypes.finfo(dtype.numpy)  # type: ignore[no-untyped-call]
        self.dtype, self.bits = dtype.name, dtype.bits
        self.eps, self.max, self.min = float(found.eps), float(found.max), float(found.min)
        self.tiny = self.smallest_normal = float(found.smallest_normal)
        self.resolution = 10.0 ** -int(found.precision)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, "
            f"dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype: bits, min, max."""

    __slots__ = ("bits", "dtype", "max", "min")

    def __init__(self, type: DType):
        dtype = _checked("iinfo", type, "iu", "finfo() for floating dtypes")
        self.dtype, self.bits = dtype.name, dtype.bits
        self.max = 2 ** (dtype.bits - (dtype.kind == "i")) - 1
        self.min = -(2 ** (dtype.bits - 1)) if dtype.kind == "i" else 0

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def lowest(dtype: DType) -> bool | int | float:
    """The number below all others of a dtype: -inf, the least integer, False."""
    if dtype.kind == "f":
        return float("-inf")
    return False if dtype.kind == "b" else iinfo(dtype).min


def highest(dtype: DType) -> bool | int | float:
    """The number above all others of a dtype: inf, the greatest integer, True."""
    if dtype.kind == "f":
        return float("inf")
    return True if dtype.kind == "b" else iinfo(dtype).max
