"""Tables of constants read lane by lane.

Used only where straight-line code would be far longer (the digits of 2/π, functions in dozens of
pieces). A vector index is taken apart once and each entry is a scalar load with a constant offset:
on most processors that is as fast as their gather instruction, and it exists everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from fanal.backends.native.emit import Builder, V, element, vector


def gather(
    b: Builder,
    name: str,
    values: Sequence[float],
    index: V,
    count: int,
    scalar: str = "double",
) -> list[V]:
    """`count` vectors: lane i of vector k is values[index[i] + k]. The index must be in range."""
    base = b.global_table(name, scalar, values)
    lanes = index.lanes
    rows = [b.at(base, _as_i64(b, index[lane]), scalar) for lane in range(lanes)]
    out = []
    for k in range(count):
        entries = [b.load(scalar, b.at(row, k, scalar) if k else row) for row in rows]
        if lanes == 1:
            out.append(entries[0])
            continue
        whole = V(b, vector(scalar, lanes), "poison")
        for lane, entry in enumerate(entries):
            whole = b.insert(whole, entry, lane)
        out.append(whole)
    return out


def _as_i64(b: Builder, index: V) -> V:
    return index if element(index.type) == "i64" else index.cast("sext", "i64")
