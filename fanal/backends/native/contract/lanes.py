"""Vectors of lanes over memory that may be contiguous, contiguous in two pieces, or scattered.

A vector runs along one axis of a contraction. Where that axis is one unit-stride loop its lanes are
neighbours; where several loops meet (output pixels of an image that end a row within the vector)
they are two runs of neighbours, read by two masked loads; else they are moved one at a time.
"""

from __future__ import annotations

from fanal.backends.native.contract.steps import Walk
from fanal.backends.native.emit import Builder, V, vector


def has_masked_loads(b: Builder, bits: int) -> bool:
    """Whether the target loads under a mask in one instruction (else LLVM writes branches)."""
    return b.target.vector_bytes >= 32 and bits >= 32


def all_lanes(b: Builder, mask: V) -> V:
    """Whether every lane of an i1 vector is set."""
    if mask.lanes == 1:
        return mask
    return b.intrinsic("vector.reduce.and", mask, returns="i1")


class LaneRun:
    """The lanes `first .. first+lanes` of an axis with `extent` indices, for one operand.

    `start` is the byte offset of the first lane; `dense` (i1) says that all lanes exist and are
    `step` bytes from one another (the size of an element, unless `spread` elements apart).
    """

    def __init__(
        self,
        b: Builder,
        walk: Walk,
        first: V,
        extent: V,
        lanes: int,
        itemsize: int,
        spread: int = 1,
    ):
        self.b, self.walk, self.first, self.extent = b, walk, first, extent
        self.lanes, self.itemsize = lanes, itemsize
        left = extent - first
        self.count = b.select(left.lt(lanes), left, lanes)
        full = left.ge(lanes)
        self.start = walk.at(first)
        if walk.mode == "1" or (walk.mode == "s" and spread > 1):
            self.dense = full
        elif walk.mode == "t":
            self.offsets = walk.offsets(first, lanes)
            follow = b.splat(self.start, lanes) + b.iota("i64", lanes) * (itemsize * spread)
            self.dense = all_lanes(b, self.offsets.eq(follow)) & full
        else:
            self.dense = b.const("i1", 0)

    def pieces(self, bits: int) -> tuple[V, list[tuple[V, V]]]:
        """(whether one or two runs cover the lanes, [(byte offset, mask as integers), …])."""
        b, lanes = self.b, self.lanes
        index = b.iota("i64", lanes)
        alive = index.lt(b.splat(self.count, lanes))
        if self.walk.mode == "1":
            return b.const("i1", 1), [(self.start, _as_integers(alive, bits))]
        one = b.splat(self.start, lanes) + index * self.itemsize
        last = self.walk.at(self.first + self.count - 1)
        second = last - (self.count - 1) * self.itemsize
        two = b.splat(second, lanes) + index * self.itemsize
        in_one = self.offsets.eq(one) & alive
        in_two = self.offsets.eq(two) & alive & ~in_one
        covered = all_lanes(b, in_one | in_two | ~alive)
        masks = [(self.start, _as_integers(in_one, bits)), (second, _as_integers(in_two, bits))]
        return covered, masks


def _as_integers(mask: V, bits: int) -> V:
    """A mask as full-width integers, the form in which it stays in a register across a loop."""
    return mask.cast("sext", f"i{bits}")


def load_pieces(b: Builder, scalar: str, base: V, pieces: list[tuple[V, V]]) -> V:
    """The lanes that the masks name; the others are zero."""
    offset, mask = pieces[0]
    type_ = vector(scalar, mask.lanes)
    result = b.masked_load(type_, b.at(base, offset), mask.lt(0))
    for offset, mask in pieces[1:]:
        result = b.masked_load(type_, b.at(base, offset), mask.lt(0), result)
    return result
