"""How a kernel finds elements: the byte offset of an operand along one axis, in four classes.

`0` the operand does not move, `1` its elements are neighbours, `s` a constant step (a run-time
number), `t` a table of offsets (several loops that do not join; made by `tables.py`). The class is
part of a kernel's key, the numbers are words of the descriptor or memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fanal.backends.native.contract.dims import Dim, extent_of, fixed, needs_table, walk_of
from fanal.backends.native.contract.tables import Tables
from fanal.backends.native.emit import Builder, V, vector
from fanal.backends.native.program import Access
from fanal.core.dtypes import DType


@dataclass(frozen=True, slots=True)
class Step:
    """One operand's walk along one axis, as the planner sees it."""

    mode: str
    bytes: int = 0
    table: Access | None = None


def step_of(
    dims: Sequence[Dim], operand: int, dtype: DType, tables: Tables, modes: str = "01st"
) -> Step:
    """Classify an operand's walk, among the classes that the kernel at hand tells apart."""
    walk = walk_of(dims, operand)
    step = walk[0][1] if walk else 0
    if not needs_table(dims, operand):
        if "0" in modes and step == 0:
            return Step("0")
        if "1" in modes and (step == 1 or not walk):
            return Step("1", dtype.itemsize)
        if "s" in modes:
            return Step("s", fixed(step) * dtype.itemsize)
    loops = tuple((d.extent, d.steps[operand]) for d in dims)
    return Step("t", 0, tables.offsets(loops, extent_of(dims), dtype.itemsize))


class Walk:
    """A `Step` inside a kernel: `at(i)` is the byte offset of index i."""

    def __init__(self, b: Builder, mode: str, itemsize: int, step: V, table: V | None):
        self.b, self.mode, self.table = b, mode, table
        self.step = {"0": b.i64(0), "1": b.i64(itemsize)}.get(mode, step)

    def at(self, index: V) -> V:
        if self.mode == "0":
            return self.step
        if self.mode == "t":
            assert self.table is not None
            return self.b.load("i64", self.b.at(self.table, index, "i64"))
        return index * self.step

    def offsets(self, index: V, lanes: int) -> V:
        """The offsets of `lanes` indices from `index` on, as a vector (tables only)."""
        assert self.table is not None
        return self.b.load(vector("i64", lanes), self.b.at(self.table, index, "i64"))
