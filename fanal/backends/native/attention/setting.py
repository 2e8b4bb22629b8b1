"""What attention kernels depend on, how numbers reach them, and the fixed sizes.

A kernel depends on the dtype, on how each operand lies (which axis has neighbours), on the kind of
mask and on a class of head sizes (for its memory on the stack); all extents and strides are numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.emit import Builder, V
from fanal.backends.native.program import Access, Descriptor
from fanal.core.dtypes import DType

# Keys of one block. Part of what results mean: the running maximum moves, and the sums of a query's
# gradient are added, block by block.
KEYS = 128
# Head sizes up to which there are kernels, each with as much memory on the stack.
ROOMS = (64, 128, 256)
# Panels of queries that share a copy of a block of keys, and tasks to aim at where that leaves few.
GROUP, TASKS = 4, 8
# Multiply-adds of one task at least.
TASK_MIN = 1 << 17


def fits(*extents: int) -> bool:
    """Whether there are kernels for these extents of heads."""
    return 0 < min(extents) and max(extents) <= ROOMS[-1]


def room_for(*extents: int) -> int:
    """The class of head sizes."""
    return next(room for room in ROOMS if max(extents) <= room)


def way_of(access: Access, along: int, across: int) -> str:
    """How panels are filled (see `contract.pack`) whose lanes go along one axis, k along another."""
    if access.strides[across] == 1:
        return "inner"
    return "lanes" if access.strides[along] == 1 else "any"


@dataclass(frozen=True, slots=True)
class Masking:
    """The kind of mask: its dtype, and how panels of it are filled ("row": the same for all queries)."""

    dtype: DType
    way: str

    @staticmethod
    def of(mask: Access | None) -> Masking | None:
        if mask is None:
            return None
        mask = still(mask)
        return Masking(mask.dtype, "row" if mask.strides[2] == 0 else way_of(mask, 2, 3))

    @property
    def key(self) -> str:
        return f"{self.dtype.name}.{self.way}"


def still(access: Access) -> Access:
    """An operand that broadcasts: steps of 0 along extents of 1."""
    strides = tuple(0 if n == 1 else s for n, s in zip(access.shape, access.strides, strict=True))
    return Access(access.buffer, access.dtype, access.shape, strides, access.offset)


def bits_of_number(x: float) -> int:
    """A number as a word of a descriptor."""
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def number(b: Builder, word: V, scalar: str) -> V:
    """A number from a word of a descriptor, in the compute type."""
    wide = word.bitcast("double")
    return wide if scalar == "double" else wide.cast("fptrunc", scalar)


def step_words(access: Access) -> list[int]:
    """An operand's steps in bytes, axis by axis."""
    return [s * access.dtype.itemsize for s in access.strides]


class Operand:
    """An operand inside a kernel: (B, H, rows, columns), its steps in bytes."""

    def __init__(self, b: Builder, d: Descriptor, place: int, dtype: DType, axes: int = 4):
        self.b, self.dtype = b, dtype
        self.steps = [d.word() for _ in range(axes)]
        self.pointer = d.pointer(place)

    def head(self, batch: V, head: V) -> V:
        """The address of one head."""
        return self.b.at(self.pointer, batch * self.steps[0] + head * self.steps[1])

    def walk(self, axis: int, unit: bool = False) -> Walk:
        """The walk along an axis; `unit`: its elements are known to be neighbours."""
        return Walk(self.b, "1" if unit else "s", self.dtype.itemsize, self.steps[axis], None)


class Extents:
    """Words that name themselves: written by the planner, read by the kernel in the same order."""

    NAMES = (
        "units", "per_task", "panels", "together", "heads", "group", "rows", "keys", "width", "values",
        "scale",
    )  # fmt: skip

    def __init__(self, d: Descriptor):
        (
            self.units, self.per_task, self.panels, self.together, self.heads, self.group,
            self.rows, self.keys, self.width, self.values, self.scale,
        ) = (d.word() for _ in self.NAMES)  # fmt: skip


def extent_words(
    q: Access, k: Access, v: Access, scale: float, s: Shape, units: int, per_task: int, together: int
) -> list[int]:
    """The numbers that `Extents` reads."""
    panels = -(-q.shape[2] // s.width)
    group = q.shape[1] // k.shape[1]
    return [
        units, per_task, panels, together, q.shape[1], group,
        q.shape[2], k.shape[2], q.shape[3], v.shape[3], bits_of_number(scale),
    ]  # fmt: skip


def smaller(b: Builder, x: V, y: V | int) -> V:
    """The smaller of two numbers."""
    return b.select(x.lt(y), x, y)


def unit_last(accesses: Sequence[Access]) -> str:
    """Of each operand, whether elements are neighbours along its last axis: "1" or "s"."""
    return "".join("1" if a.strides[-1] == 1 or a.shape[-1] == 1 else "s" for a in accesses)
