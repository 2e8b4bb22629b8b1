"""Pictures for the page, as SVG: temporary memory over a program's phases, and where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from fanal.compiler.explain.facts import KernelFacts, ProgramFacts
from fanal.compiler.explain.numbers import count, duration, percent, scaled

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 1060, 260, 70, 34
_STRIP = 26
_VISIBLE = 1.0  # height from which on a temporary is drawn


def memory_picture(p: ProgramFacts) -> str:
    """Each temporary as a rectangle: from its first phase to its last, at its place in the arena. The
    line is what is alive, the dashed one its most: the least that any arrangement needs."""
    phases, arena = len(p.description.phases), p.description.arena_bytes
    if not p.description.temps or not arena:
        return '<p class="note">No temporary memory.</p>'
    width, height = _WIDTH - _LEFT - 10, _HEIGHT - _BOTTOM - 10
    live = p.description.live_bytes()

    def x(phase: float) -> float:
        return _LEFT + width * phase / phases

    def y(nbytes: float) -> float:
        return 10 + height * (1 - nbytes / arena)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="memory" role="img" aria-label="memory">']
    for share in (0, 0.5, 1):
        at = y(arena * share)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>')
        label = scaled(arena * share, "B")
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    for i, t in enumerate(p.description.temps):
        left, right = x(t.first), x(t.last + 1)
        top, bottom = y(t.offset + t.nbytes), y(t.offset)
        if bottom - top < _VISIBLE:
            continue
        named = f"{scaled(t.nbytes, 'B')}, phases {t.first} to {t.last}"
        parts.append(
            f'<rect x="{left:.2f}" y="{top:.2f}" width="{max(right - left, 0.8):.2f}" '
            f'height="{bottom - top:.2f}" class="temp t{i % 4}"><title>{named}</title></rect>'
        )
    line = " ".join(
        f"{x(i):.1f},{y(b):.1f} {x(i + 1):.1f},{y(b):.1f}" for i, b in enumerate(live)
    )
    bound = y(p.lower_bound)
    parts.append(f'<polyline points="{line}" class="live"/>')
    parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{bound:.1f}" y2="{bound:.1f}" class="bound"/>')
    parts.append(
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">phase 0</text>'
        f'<text x="{_WIDTH - 10}" y="{_HEIGHT - 8}" text-anchor="end">phase {phases - 1}</text></svg>'
    )
    return "".join(parts)


def time_picture(kernels: Sequence[KernelFacts]) -> str:
    """One strip in the order of execution: each kernel as wide as its share of the time."""
    total = sum(k.seconds or 0.0 for k in kernels)
    if not total:
        return '<p class="note">Times are not known yet: the program was not launched.</p>'
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_STRIP}" class="strip" role="img" aria-label="time">']
    at = 0.0
    for i, k in enumerate(kernels):
        width = _WIDTH * (k.seconds or 0.0) / total
        title = f"#{k.number} {', '.join(k.called)}: {duration(k.seconds)}, {percent((k.seconds or 0) / total)}"
        parts.append(
            f'<rect x="{at:.2f}" y="0" width="{width:.2f}" height="{_STRIP}" class="slice t{i % 4}">'
            f"<title>{escape(title)}</title></rect>"
        )
        if width > 34:
            parts.append(f'<text x="{at + width / 2:.1f}" y="17" text-anchor="middle">#{k.number}</text>')
        at += width
    parts.append("</svg>")
    return "".join(parts) + f'<p class="note">{count(len(kernels), "kernel")} in the order of execution.</p>'
