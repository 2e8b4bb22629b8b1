"""Small matrices transposed between registers.

Rows are read in pieces of 128 bits, one piece of several rows to a register, so that what remains
is the transposition inside 128-bit lanes: two shuffles a register for 32-bit elements, one for
64-bit ones. (On Zen 3: 16 shuffles for 8×8 floats, where the textbook form takes 24.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fanal.backends.native.emit import Builder, V


def transposed(b: Builder, lanes: int, bits: int, piece: Callable[[int, int], V]) -> list[V]:
    """Columns of a lanes×lanes matrix whose rows lie in memory.

    `piece(row, start)` loads 128 bits of a row from column `start` on (or the whole row, where
    that is shorter). The result is one vector a column, with the rows on its lanes.
    """
    width = min(lanes, 128 // bits)
    columns: list[V] = []
    for start in range(0, lanes, width):
        rows = [
            _joined(b, [piece(row, start) for row in range(first, lanes, width)])
            for first in range(width)
        ]
        columns += _within_pieces(b, rows, width)
    return columns


def transposed_rows(b: Builder, rows: Sequence[V], bits: int) -> list[V]:
    """The same from whole rows in registers: half the loads, half as many shuffles again.

    Better where the loads are what limits (columns that lie a power of two apart).
    """
    lanes = len(rows)
    width = min(lanes, 128 // bits)
    pieces = lanes // width
    groups = [_within_pieces(b, rows[i : i + width], width) for i in range(0, lanes, width)]
    # groups[g][j]: piece p holds column p·width + j of the rows of group g. Transpose g and p.
    vectors = [groups[g][j] for j in range(width) for g in range(pieces)]
    columns: list[V] = [vectors[0]] * lanes
    for j in range(width):
        turned = _turn_pieces(b, vectors[j * pieces : (j + 1) * pieces], width)
        for p, vector in enumerate(turned):
            columns[p * width + j] = vector
    return columns


def _turn_pieces(b: Builder, vectors: list[V], width: int) -> list[V]:
    """Transpose a square matrix of 128-bit pieces, by perfect shuffles of whole pieces."""
    count = len(vectors)
    half = count // 2
    step = count
    while step > 1:
        turned = []
        for i in range(count):
            first = half if i % 2 else 0
            picks: list[int] = []
            for piece in range(first, first + half):
                start = piece * width
                picks += range(start, start + width)
                picks += range(count * width + start, count * width + start + width)
            turned.append(b.shuffle(vectors[i // 2], vectors[i // 2 + half], picks))
        vectors = turned
        step //= 2
    return vectors


def _joined(b: Builder, parts: Sequence[V]) -> V:
    """One register of several equal parts."""
    while len(parts) > 1:
        lanes = parts[0].lanes
        if lanes == 1:
            return of_scalars(b, parts)
        parts = [
            b.shuffle(parts[i], parts[i + 1], range(2 * lanes)) for i in range(0, len(parts), 2)
        ]
    return parts[0]


def of_scalars(b: Builder, parts: Sequence[V]) -> V:
    """A vector of scalars, one a lane."""
    if len(parts) == 1:
        return parts[0]
    type_ = f"<{len(parts)} x {parts[0].type}>"
    result = b.op(type_, f"freeze {type_} poison")
    for lane, part in enumerate(parts):
        result = b.insert(result, part, lane)
    return result


def _within_pieces(b: Builder, rows: Sequence[V], width: int) -> list[V]:
    """Transpose the width×width matrix in every `width`-lane piece of the registers at once."""
    if width == 1:
        return list(rows)
    lanes = rows[0].lanes
    half = width // 2

    def interleave(x: V, y: V, high: bool) -> V:
        picks: list[int] = []
        for base in range(0, lanes, width):
            for j in range(half):
                at = base + j + (half if high else 0)
                picks += (at, at + lanes)
        return b.shuffle(x, y, picks)

    # A perfect shuffle of rows i and i + width/2, log2(width) times, is the transposition.
    vectors = list(rows)
    step = width
    while step > 1:
        vectors = [
            interleave(vectors[i // 2], vectors[i // 2 + half], bool(i % 2)) for i in range(width)
        ]
        step //= 2
    return vectors
