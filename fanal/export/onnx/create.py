"""Constants, ranges and random bits."""

from __future__ import annotations

from typing import Any

from fanal.core import dtypes
from fanal.export.onnx.layout import ramp
from fanal.export.onnx.records import Ref
from fanal.export.onnx.registry import rule
from fanal.export.onnx.writer import Writer

_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10


@rule("full")
def _full(w: Writer, node: Any) -> Ref:
    at = node.attributes
    return w.number(at["value"], at["dtype"], at["shape"])


@rule("iota")
def _iota(w: Writer, node: Any) -> Ref:
    """One dimension; the others are left to broadcasting."""
    at = node.attributes
    shape, dim = at["shape"], at["dim"]
    line = ramp(w, shape[dim], at["dtype"])
    held = (shape[dim], *(1 for _ in shape[dim + 1 :]))
    y = w.reshape(line, held)
    return Ref(y.name, y.dtype, tuple(shape), held)


@rule("random_bits")
def _random_bits(w: Writer, node: Any, key: Ref) -> Ref:
    """Philox-4x32-10 in 64-bit integers, word by word: all operators here are exact, so the bits are.

    A tensor of n numbers takes ⌈n/4⌉ counters; its four words stand in four columns.
    """
    shape = node.attributes["shape"]
    total: Any = 1
    for n in shape:
        total = total * n
    count = (total + 3) // 4
    words = _Words(w, count)
    low, high = words.halves(words.part(key, 0))
    stream_low, stream_high = words.halves(words.part(key, 1))
    counter = ramp(w, count, dtypes.int64)
    c = [words.low(counter), words.high(counter), stream_low, stream_high]
    for n in range(_ROUNDS):
        keys = [words.add(k, n * step) for k, step in ((low, _W0), (high, _W1))]
        p0, p1 = words.product(c[0], _M0), words.product(c[2], _M1)
        c = [
            words.xor(words.high(p1), c[1], keys[0]), words.low(p1),
            words.xor(words.high(p0), c[3], keys[1]), words.low(p0),
        ]  # fmt: skip
    columns = [w.reshape(w.whole(x), (count, 1)) for x in c]
    table = w.op("Concat", columns, dtypes.int64, (count, 4), axis=1)
    flat = w.reshape(table, (count * 4,))
    first = w.op("Slice", [flat, w.ints([0]), w.sizes([total])], dtypes.int64, (total,))
    return w.cast(w.reshape(first, shape), dtypes.uint32)


class _Words:
    """Arithmetic of 32-bit words that lie in int64, all of one shape."""

    def __init__(self, w: Writer, count: Any):
        self._w, self._shape = w, (count,)

    def part(self, key: Ref, i: int) -> Ref:
        """One number of the key, for all counters."""
        w = self._w
        one = w.op("Slice", [w.whole(key), w.ints([i]), w.ints([i + 1])], dtypes.int64, (1,))
        return Ref(one.name, one.dtype, self._shape, (1,))

    def _number(self, value: int) -> Ref:
        return self._w.number(value, dtypes.int64, self._shape)

    def halves(self, x: Ref) -> tuple[Ref, Ref]:
        return self.low(x), self.high(x)

    def low(self, x: Ref) -> Ref:
        """The lower 32 bits."""
        return self._w.map("BitwiseAnd", x, self._number(0xFFFFFFFF))

    def high(self, x: Ref) -> Ref:
        """The upper 32 bits: shifted without a sign."""
        w = self._w
        bits = w.cast(x, dtypes.uint64)
        by = w.number(32, dtypes.uint64, self._shape)
        return w.cast(w.map("BitShift", bits, by, direction="RIGHT"), dtypes.int64)

    def add(self, x: Ref, number: int) -> Ref:
        return x if number == 0 else self.low(self._w.map("Add", x, self._number(number)))

    def product(self, x: Ref, factor: int) -> Ref:
        """All 64 bits: of two words they fit, whatever the sign that int64 gives them."""
        return self._w.map("Mul", x, self._number(factor))

    def xor(self, *xs: Ref) -> Ref:
        first, *rest = xs
        for x in rest:
            first = self._w.map("BitwiseXor", first, x)
        return first


