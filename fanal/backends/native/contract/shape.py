"""The fixed numbers of the contraction engine: block of k, register tile, buffer sizes.

`KC` is part of what results *mean* (block sums are added in order), so it is one constant for all
dtypes and targets: every target with fused multiply-add gives the same bits. 256 rows of a panel
are 16 KiB on AVX2, half of the first cache.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fanal.backends.native.contract.element import compute_bits
from fanal.backends.native.emit import vector
from fanal.backends.native.target import Target

KC = 256
_LINE = 64  # bytes of a cache line
# Rows of one block at most: its totals for one panel lie on the stack, its A in the second cache.
_ROWS_MAX = 192


@dataclass(frozen=True, slots=True)
class Shape:
    """Register shape of a contraction on a target: tile rows, lanes of a vector, vectors. `line`: bytes of a
    row of panels that are packed ahead; 0 if these are as wide as the tile."""

    scalar: str
    rows: int
    few_rows: int
    lanes: int
    vectors: int
    line: int = 0

    @property
    def width(self) -> int:
        """Columns of a panel."""
        return self.lanes * self.vectors

    @property
    def itemsize(self) -> int:
        return compute_bits(self.scalar) // 8

    @property
    def piece(self) -> int:
        """Elements of one 128-bit piece of a vector."""
        return min(self.lanes, 16 // self.itemsize)

    @property
    def key(self) -> str:
        return f"{self.scalar}{self.rows}x{self.vectors}" + (f"l{self.line}" if self.line else "")

    @property
    def vector(self) -> str:
        return vector(self.scalar, self.lanes)

    @property
    def row_bytes(self) -> int:
        """Bytes of one k of a panel."""
        return self.width * self.itemsize

    @property
    def ahead(self) -> Shape:
        """The shape with panels as they are packed ahead."""
        return replace(self, vectors=self.line // (self.lanes * self.itemsize)) if self.line else self


def shape_for(target: Target, scalar: str) -> Shape:
    """The register tile for a compute type.

    `few_rows` is the height of the tile for what is left over: enough accumulators that additions
    do not wait for one another (4 rows of 2 vectors: 8 chains, for latency 4 on two units).
    """
    bits = compute_bits(scalar)
    rows, vectors = target.matmul_tile(bits)
    line = _LINE if target.line_panels else 0
    return Shape(scalar, rows, 4 if rows == 6 else rows // 2 + 1, target.lanes(bits), vectors, line)


def thin_shape(s: Shape, rows: int, vectors: int) -> Shape:
    """The tile for a matrix-vector product and its like: as many chains from fewer rows."""
    return replace(s, rows=int(rows), few_rows=int(rows), vectors=int(vectors))


def thin_panel(s: Shape, columns: int) -> Shape:
    """The tile with panels no wider than the columns that there are."""
    return s if columns >= s.width else replace(s, vectors=max(1, int(columns) // s.lanes))


def rows_max(s: Shape) -> int:
    """The most rows of one block: whole tiles."""
    return s.rows if s.rows == s.few_rows and s.rows < 8 else _ROWS_MAX // s.rows * s.rows
