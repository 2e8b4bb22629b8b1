"""Boxes and lines as SVG, and what a click on a box tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from fanal.export.page.placing import placed

_LETTER, _SMALL = 7.4, 6.5  # the width of a letter of a title, and of small text
_LEAST, _MOST = 96.0, 300.0
_PADDING, _LINE = 12.0, 16.0


@dataclass
class Box:
    """What is drawn: `kind` gives its colour; `facts` what its click shows, (heading, lines); `opens` the
    number of the picture of what is inside."""

    title: str
    detail: str = ""
    result: str = ""
    kind: str = "other"
    dashed: bool = False
    facts: list[tuple[str, list[str]]] = field(default_factory=list)
    opens: list[tuple[str, int]] = field(default_factory=list)

    def size(self) -> tuple[float, float]:
        """Width and height."""
        letters = max(len(self.title) * _LETTER, len(self.detail) * _SMALL, len(self.result) * _SMALL)
        lines = 1 + bool(self.detail) + bool(self.result)
        room = 2 * _PADDING + (26 if self.opens or self.kind == "port" else 0)
        return min(max(letters + room, _LEAST), _MOST), 14 + lines * _LINE

    def data(self) -> dict[str, Any]:
        """For the page's script."""
        return {"title": self.title, "detail": self.detail, "facts": self.facts, "opens": self.opens}


def drawing(boxes: Sequence[Box], edges: Sequence[tuple[int, int]], number: int) -> str:
    """A picture of boxes and of lines between them."""
    sizes = [b.size() for b in boxes]
    layout = placed(sizes, edges)
    parts = [
        f'<svg class="picture" data-picture="{number}" data-width="{layout.width:.0f}" '
        f'data-height="{layout.height:.0f}" role="img" aria-label="graph"><g class="world">'
    ]
    for (a, b), points in zip(edges, layout.lines, strict=True):
        parts.append(f'<path class="edge" data-from="{a}" data-to="{b}" d="{_path(points)}"/>')
    for i, (box, (x, y), (w, h)) in enumerate(zip(boxes, layout.centres, sizes, strict=True)):
        parts.append(_box(box, i, x - w / 2, y - h / 2, w, h))
    parts.append("</g></svg>")
    return "".join(parts)


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Curves that leave and arrive upright."""
    (x, y), *rest = points
    found = [f"M{x:.1f} {y:.1f}"]
    for a, b in rest:
        if abs(a - x) < 0.5:
            if found[-1].startswith("V"):
                found.pop()
            found.append(f"V{b:.1f}")
        else:
            middle = (y + b) / 2
            found.append(f"C{x:.1f} {middle:.1f} {a:.1f} {middle:.1f} {a:.1f} {b:.1f}")
        x, y = a, b
    return "".join(found)


def _box(box: Box, number: int, x: float, y: float, w: float, h: float) -> str:
    room = w - 2 * _PADDING + 6
    texts = [("title", _cut(box.title, room / _LETTER))]
    texts += [("small", _cut(t, room / _SMALL)) for t in (box.detail,) if t]
    texts += [("small type", _cut(t, room / _SMALL)) for t in (box.result,) if t]
    rows = "".join(
        f'<text class="{kind}" x="{w / 2:.1f}" y="{20 + i * _LINE:.0f}">{escape(text)}</text>'
        for i, (kind, text) in enumerate(texts)
    )
    round_ = h / 2 if box.kind == "port" else 7
    dashed = " backward" if box.dashed else ""
    more = f'<path class="more" d="M{w - 15:.1f} 8h8m-4 -4v8"/>' if box.opens else ""
    return (
        f'<g class="box {box.kind}{dashed}" data-box="{number}" tabindex="0" transform="translate({x:.1f} {y:.1f})">'
        f'<rect width="{w:.1f}" height="{h:.1f}" rx="{round_:.0f}"/>{rows}{more}</g>'
    )


def _cut(text: str, most: float) -> str:
    n = max(int(most), 4)
    return text if len(text) <= n else text[: n - 1] + "…"
