"""Where the boxes of a layered drawing lie, and how its lines go.

K. Sugiyama's way: each box stands in the layer behind all that it follows from; lines over several layers
go through points of their own in each; layers are ordered by the means of their neighbours, so that few
lines cross; then boxes are moved above what they lead to, as far as their order lets them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

GAP, AISLE = 26.0, 40.0  # between boxes of a layer, and between layers
_BEND = 14.0  # the room of a line that passes a layer
_SWEEPS, _MOVES = 10, 8


@dataclass(frozen=True)
class Placement:
    """Centres of boxes, points of lines (from the lower edge of one box to the upper edge of another), and
    the drawing's size."""

    centres: list[tuple[float, float]]
    lines: list[list[tuple[float, float]]]
    width: float
    height: float


def placed(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Placement:
    """Place boxes of these sizes. Edges lead from boxes to others behind them (of higher numbers)."""
    layer = _layers(len(sizes), edges)
    grid = _Grid(sizes, layer)
    chains = [grid.chain(a, b) for a, b in edges]
    grid.order()
    xs = grid.positions()
    tops, height = _heights(grid)
    centres = [(xs[i], tops[layer[i]][0] + tops[layer[i]][1] / 2) for i in range(len(sizes))]
    lines = []
    for chain in chains:
        a, *between, b = chain
        points = [(xs[a], centres[a][1] + sizes[a][1] / 2)]
        for v in between:  # straight through the layer
            top, tall = tops[grid.layer[v]]
            points += [(xs[v], top), (xs[v], top + tall)]
        points.append((xs[b], centres[b][1] - sizes[b][1] / 2))
        lines.append(points)
    return Placement(centres, lines, grid.width(xs), height)


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """One behind the latest of what comes before; what comes from nothing, as late as it can."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        assert a < b
        above[b].append(a)
        below[a].append(b)
    layer = [0] * count
    for i in range(count):
        layer[i] = max((layer[a] + 1 for a in above[i]), default=0)
    for i in range(count):
        if not above[i] and below[i]:
            layer[i] = min(layer[b] for b in below[i]) - 1
    least = min(layer, default=0)
    return [n - least for n in layer]


class _Grid:
    """Boxes, and the points where lines pass layers, all in their layers."""

    def __init__(self, sizes: Sequence[tuple[float, float]], layer: Sequence[int]):
        self.wide = [w for w, _ in sizes]
        self.tall = [h for _, h in sizes]
        self.layer = list(layer)
        self.rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
        for i, n in enumerate(layer):
            self.rows[n].append(i)
        self.above: list[list[int]] = [[] for _ in sizes]
        self.below: list[list[int]] = [[] for _ in sizes]
        self._real = len(sizes)
        self._passes: dict[tuple[int, int], int] = {}  # lines from one box share their points

    def chain(self, a: int, b: int) -> list[int]:
        """Join two boxes, through a point in each layer between them."""
        found = [a]
        for n in range(self.layer[a] + 1, self.layer[b]):
            point = self._passes.get((a, n))
            if point is None:
                point = self._passes[a, n] = len(self.wide)
                self.wide.append(_BEND)
                self.tall.append(0.0)
                self.layer.append(n)
                self.above.append([])
                self.below.append([])
                self.rows[n].append(point)
                self._join(found[-1], point)
            found.append(point)
        self._join(found[-1], b)
        return [*found, b]

    def _join(self, a: int, b: int) -> None:
        if b not in self.below[a]:
            self.below[a].append(b)
            self.above[b].append(a)

    def order(self) -> None:
        """Order the layers, downwards and upwards in turn."""
        place = [0.0] * len(self.wide)

        def number() -> None:
            for row in self.rows:
                for i, v in enumerate(row):
                    place[v] = i / max(len(row) - 1, 1) if len(row) > 1 else 0.5

        number()
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            for row in self.rows if down else reversed(self.rows):
                near = self.above if down else self.below
                key = {v: sum(place[u] for u in near[v]) / len(near[v]) if near[v] else place[v] for v in row}
                row.sort(key=key.__getitem__)
                for i, v in enumerate(row):
                    place[v] = i / max(len(row) - 1, 1) if len(row) > 1 else key[v]

    def positions(self) -> list[float]:
        """Centres from left to right."""
        xs = [0.0] * len(self.wide)
        for row in self.rows:
            self._settle(row, [0.0] * len(row), xs)
        for move in range(_MOVES):
            down = move % 2 == 0
            near = self.above if down else self.below
            for row in self.rows if down else reversed(self.rows):
                wanted = [median(xs[u] for u in near[v]) if near[v] else xs[v] for v in row]
                self._settle(row, wanted, xs)
        least = min((xs[v] - self.wide[v] / 2 for v in range(len(xs))), default=0.0)
        return [x - least + GAP for x in xs]

    def _settle(self, row: Sequence[int], wanted: Sequence[float], xs: list[float]) -> None:
        """As near to where they want to be as order and widths allow: least squares, by merging those
        that would overlap into blocks."""
        shift, shifts = 0.0, []
        for i, v in enumerate(row):
            if i:
                before = row[i - 1]
                shift += (self.wide[before] + self.wide[v]) / 2 + (GAP if v < self._real or before < self._real else 4)
            shifts.append(shift)
        blocks: list[tuple[float, float, int]] = []  # mean, weight, members
        for v, x, s in zip(row, wanted, shifts, strict=True):
            block = (x - s, 1.0 if v < self._real else 2.0, 1)
            while blocks and blocks[-1][0] >= block[0]:
                mean, weight, members = blocks.pop()
                total = weight + block[1]
                block = ((mean * weight + block[0] * block[1]) / total, total, members + block[2])
            blocks.append(block)
        at = 0
        for mean, _, members in blocks:
            for v, s in zip(row[at : at + members], shifts[at : at + members], strict=True):
                xs[v] = mean + s
            at += members

    def width(self, xs: Sequence[float]) -> float:
        return max((x + self.wide[v] / 2 for v, x in enumerate(xs)), default=0.0) + GAP


def _heights(grid: _Grid) -> tuple[list[tuple[float, float]], float]:
    """Top and height of each layer, and of all."""
    found, at = [], GAP
    for row in grid.rows:
        tall = max((grid.tall[v] for v in row), default=0.0)
        found.append((at, tall))
        at += tall + AISLE
    return found, at - AISLE + GAP if grid.rows else 2 * GAP
