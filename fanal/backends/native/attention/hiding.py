"""Masks inside kernels: what a score becomes by a causal limit and by the caller's mask."""

from __future__ import annotations

import math

from fanal.backends.native.attention.setting import KEYS, Masking, Operand
from fanal.backends.native.attention.tiles import slack
from fanal.backends.native.contract.element import load
from fanal.backends.native.contract.pack import Packer
from fanal.backends.native.contract.shape import Shape
from fanal.backends.native.emit import Builder, V, vector
from fanal.core.dtypes import bool_


class Hiding:
    """Changes vectors of scores; a block of the mask is turned into a panel first."""

    def __init__(
        self, b: Builder, s: Shape, causal: bool, masking: Masking | None, mask: Operand | None
    ):
        self.b, self.causal, self.masking, self.mask = b, causal, masking, mask
        self.panel = None
        if masking is not None and masking.way != "row":
            self.panel = b.alloca("i8", (KEYS + slack(s)) * s.row_bytes)

    @property
    def changes(self) -> bool:
        """Whether any score may change."""
        return self.causal or self.masking is not None

    def block(self, s: Shape, head: V | None, first: V, queries: V, start: V, count: V) -> None:
        """Turn to a block of keys `start .. start+count` of the panel of queries at `first`."""
        b, masking, mask = self.b, self.masking, self.mask
        self.s, self.first, self.start = s, first, start
        if masking is None:
            return
        assert mask is not None and head is not None
        self.keys = mask.walk(3, masking.way == "inner")
        self.base = b.at(head, self.keys.at(start))
        if self.panel is None:
            return
        across = mask.walk(2, masking.way == "lanes")
        packer = Packer(b, s, masking.way, mask.dtype, head, across, self.keys, queries)
        packer.panel(first, start, count, self.panel)

    def applied(self, x: V, row: V, v: int) -> V:
        """The scores of vector `v` of queries with the block's key number `row`."""
        b, s = self.b, self.s
        if self.causal:
            index = vector("i32", s.lanes)
            key = b.splat((self.start + row - self.first).cast("trunc", "i32"), s.lanes)
            numbers = b.iota("i32", s.lanes) + b.const(index, v * s.lanes)
            x = b.select(key.le(numbers), x, -math.inf)
        if self.masking is None:
            return x
        if self.panel is None:
            assert self.mask is not None
            one = load(b, self.mask.dtype, b.at(self.base, self.keys.at(row)), 1, s.scalar)
            value = b.splat(one, s.lanes)
        else:
            place = b.at(self.panel, row * s.row_bytes + v * s.lanes * s.itemsize)
            value = b.load(s.vector, place)
        return b.select(value.ne(0.0), x, -math.inf) if self.masking.dtype is bool_ else x + value
