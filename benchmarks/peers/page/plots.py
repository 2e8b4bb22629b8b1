"""Plots as SVG text: dots in rows over a logarithmic axis, and bars. Nothing else is needed.

A peer keeps its colour and its shape on the whole page. Each mark says what it is when pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = {
    "fanal": "#c2410c", "fanal-eager": "#f59e0b", "fanal-winograd": "#be185d", "torch-eager": "#1d4ed8",
    "torch-compile": "#60a5fa", "jax": "#15803d", "tensorflow": "#7e22ce",
    "tensorflow-xla": "#c084fc", "onnxruntime": "#475569", "openvino": "#0891b2",
}  # fmt: skip
SHAPES = {
    "fanal": "diamond", "fanal-winograd": "square", "torch-compile": "square", "tensorflow-xla": "square", "jax": "triangle",
    "onnxruntime": "triangle", "openvino": "diamond",
}  # fmt: skip
WIDTH, LEFT, RIGHT, TOP = 1220, 130, 20, 24
INK, LINE = "#1b2430", "#dfe4ea"


@dataclass(frozen=True)
class Mark:
    """One result: where it is, whose it is."""

    peer: str
    value: float
    title: str
    low: float | None = None
    high: float | None = None
    hollow: bool = False


def mark(peer: str, x: float, y: float, title: str = "", hollow: bool = False, r: float = 5) -> str:
    """A peer's shape."""
    colour = COLOURS[peer]
    fill = "#fff" if hollow else colour
    look = f'fill="{fill}" stroke="{colour}" stroke-width="1.6"'
    inside = f"<title>{escape(title)}</title>" if title else ""
    shape = SHAPES.get(peer, "circle")
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" {look}>{inside}</circle>'
    if shape == "square":
        return (f'<rect x="{x - r + 0.5:.1f}" y="{y - r + 0.5:.1f}" width="{2 * r - 1}" '
                f'height="{2 * r - 1}" {look}>{inside}</rect>')  # fmt: skip
    corners = {"diamond": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
               "triangle": [(0, -1.2), (1.15, 0.95), (-1.15, 0.95)]}[shape]  # fmt: skip
    points = " ".join(f"{x + r * a:.1f},{y + r * b:.1f}" for a, b in corners)
    return f'<polygon points="{points}" {look}>{inside}</polygon>'


def legend(peers: Sequence[tuple[str, str]], extra: str = "") -> str:
    """Which shape is whose: pairs of name and label."""
    items = "".join(
        f'<span><svg width="16" height="16" viewBox="0 0 16 16">{mark(name, 8, 8)}</svg>'
        f"{escape(label)}</span>"
        for name, label in peers
    )
    return f'<div class="legend">{items}{extra}</div>'


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between the two: 1, 2, 5 of each power of ten, fewer over a wide range."""
    digits = (1, 2, 5) if high / low < 300 else (1,)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    found = [d * 10.0**p for p in powers for d in digits]
    return [t for t in found if low <= t * 1.0001 and t * 0.9999 <= high]


def dots(
    rows: Sequence[tuple[str, Sequence[Mark]]],
    axis: str,
    split: tuple[str, str] | None = None,
) -> str:
    """Rows of marks over a logarithmic axis; `split` names the two sides of 1."""
    values = [v for _, marks in rows for m in marks for v in (m.low, m.value, m.high) if v]
    if not values:
        return "<p>Nothing to show.</p>"
    values += [0.8, 1.25] if split else []
    low, high = min(values) / 1.08, max(values) * 1.08
    scale = (WIDTH - LEFT - RIGHT) / math.log(high / low)

    def at(value: float) -> float:
        return LEFT + scale * math.log(value / low)

    tall = [16 + 8 * max(1, len({m.peer for m in marks})) for _, marks in rows]
    bottom = TOP + sum(tall)
    out = [f'<svg viewBox="0 0 {WIDTH} {bottom + 42}" role="img" aria-label="{escape(axis)}">']
    out += _sides(at(1.0), bottom, split) if split else []
    for t in ticks(low, high):
        colour = INK if split and abs(t - 1) < 1e-9 else LINE
        out.append(_line(at(t), at(t), TOP, bottom, colour))
        out.append(_text(at(t), bottom + 16, f"{t:g}", "middle", soft=True))
    y = TOP
    for (name, marks), height in zip(rows, tall):
        out.append(_text(LEFT - 10, y + height / 2 + 4, name, "end"))
        out += _row(marks, at, y, height)
        y += height
        out.append(_line(LEFT, WIDTH - RIGHT, y, y, LINE))
    out.append(_text((LEFT + WIDTH) / 2, bottom + 36, axis, "middle", soft=True))
    return "\n".join([*out, "</svg>"])


def _sides(one: float, bottom: float, names: tuple[str, str]) -> list[str]:
    """The ground left and right of 1."""
    return [
        _box(LEFT, TOP, one - LEFT, bottom - TOP, "#fdf1ef"),
        _box(one, TOP, WIDTH - RIGHT - one, bottom - TOP, "#eef7f1"),
        _text(one - 8, 16, names[0], "end", soft=True),
        _text(one + 8, 16, names[1], "start", soft=True),
    ]


def _row(
    marks: Sequence[Mark], at: Callable[[float], float], y: float, height: float
) -> Iterator[str]:
    """Each peer on a line of its own inside the row, so that no mark hides another."""
    names = list(dict.fromkeys(m.peer for m in marks))
    for m in marks:
        middle = y + 12 + 8 * names.index(m.peer) + (height - 16 - 8 * len(names)) / 2
        if m.low and m.high:
            yield _line(at(m.low), at(m.high), middle, middle, COLOURS[m.peer], 2)
        yield mark(m.peer, at(m.value), middle, m.title, m.hollow)


def bars(rows: Sequence[tuple[str, str, float, str]], width: int = 590) -> str:
    """Rows of label, peer (for the colour), value and text, from zero."""
    most = max(value for _, _, value, _ in rows)
    room = width - LEFT - 90
    out = [f'<svg viewBox="0 0 {width} {26 * len(rows) + 4}" role="img">']
    for i, (label, peer, value, text) in enumerate(rows):
        y, long = 26 * i + 4, room * value / most
        out.append(_text(LEFT - 10, y + 14, label, "end"))
        out.append(_box(LEFT, y, long, 19, COLOURS[peer]))
        out.append(_text(LEFT + long + 6, y + 14, text, "start"))
    return "\n".join([*out, "</svg>"])


def _text(x: float, y: float, text: str, anchor: str, soft: bool = False) -> str:
    kind = ' class="soft"' if soft else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


def _line(x1: float, x2: float, y1: float, y2: float, colour: str, wide: int = 1) -> str:
    ends = f'x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{wide}"/>'


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    size = f'width="{max(width, 0):.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"/>'
