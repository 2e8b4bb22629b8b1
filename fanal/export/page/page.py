"""The page: what there is to say of a program, and its graph to look at.

Names in a file are whatever its writer liked: all text is escaped, the script sets it as text only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from fanal.compiler.explain.numbers import count, scaled
from fanal.export.facts import FunctionFacts, ProgramFacts, facts
from fanal.export.page.pictures import Pictures, Views, work_of
from fanal.export.page.style import SCRIPT, STYLE
from fanal.export.program import Program
from fanal.export.text import Dims
from fanal.graph.sizes import sized

_TENSORS = 200  # that are listed
_LEGEND = (
    ("product", "products"), ("sum", "sums, extremes"), ("element", "element by element"),
    ("move", "moves"), ("control", "loops, branches"),
)  # fmt: skip


def page(program: Program, known: ProgramFacts | None = None) -> str:
    """The whole page."""
    found = known or facts(program)
    dims = Dims(program)
    pictures = Pictures(dims)
    value = program.symbols.at([found.sizes[d.name] for d in program.dims])
    views, ends = [], []
    for s in program.signatures.values():
        views.append(pictures.function(s, work_of(s.graph, sized(s.graph, value))))
        ends.append(len(pictures.made))
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(found.name)}</title><style>{STYLE}</style></head><body><main>",
        _head(found),
    ]
    begin = 0
    for f, view, end in zip(found.functions, views, ends, strict=True):
        svgs = "".join(p.svg for p in pictures.made[begin:end])
        parts.append(_function(f, view, svgs, found))
        begin = end
    parts.append(_state(found))
    boxes = [{"title": p.title, "boxes": p.boxes} for p in pictures.made]
    parts.append(
        f'</main><script type="application/json" id="data">{_json(boxes)}</script>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )
    return "".join(parts)


def _json(x: Any) -> str:
    """JSON that no text in it can end the script with."""
    return json.dumps(x, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _head(found: ProgramFacts) -> str:
    cards = [
        (scaled(found.file_bytes, "B"), f"file, format {found.format}") if found.file_bytes else None,
        (f"{found.elements:,}", f"numbers in {count(len(found.state), 'tensor')}"),
        (scaled(found.state_bytes, "B"), "tensors"),
        *((_dim(d), d.name) for d in found.dims),
        *((_text(v), k) for k, v in found.card.items() if k != "description"),
    ]
    made = "".join(
        f'<div class="card"><b>{escape(c[0])}</b><span>{escape(c[1])}</span></div>' for c in cards if c
    )
    about = found.card.get("description", "")
    relations = "".join(f"<code>{escape(r)}</code> " for r in found.relations)
    return (
        f"<h1>{escape(found.name)}</h1>"
        + (f'<p class="lead">{escape(str(about))}</p>' if about else "")
        + f'<div class="cards">{made}</div>'
        + (f'<p class="note">Relations between sizes: {relations}</p>' if relations else "")
    )


def _dim(d: Any) -> str:
    return f"{d.min} to {d.max}" if d.max is not None else f"{d.min} and more"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _function(f: FunctionFacts, view: Views, svgs: str, found: ProgramFacts) -> str:
    sizes = ", ".join(f"{k}={n}" for k, n in found.sizes.items())
    where = f" at {sizes}" if sizes else ""
    buttons = "".join(f'<button data-show="{n}" aria-pressed="false">{name}</button>' for name, n in view.levels)
    legend = "".join(
        f'<span><i style="background:var(--{kind});border-color:var(--{kind}-line)"></i>{text}</span>'
        for kind, text in _LEGEND
    )
    lead = (
        f"{f.multiply_adds:,} multiply-adds{where}; {count(f.nodes, 'operation')}; reads {count(len(f.reads), 'tensor')}"
        + (f", writes {len(f.writes)}" if f.writes else "")
        + f"; temporaries up to {scaled(f.temporaries, 'B')} if nothing is fused."
    )
    return (
        f'<h2>{escape(f.name)}</h2><p class="note">{escape(lead)}</p>'
        f'<div class="viewer" data-first="{view.first}"><div class="bar">{buttons}<span class="path"></span>'
        '<span class="space"></span><input type="search" placeholder="find" aria-label="find in the graph">'
        '<button class="out" aria-label="smaller">−</button><button class="in" aria-label="larger">+</button>'
        f'<button class="fit">fit</button></div><div class="stage"><div class="canvas">{svgs}</div>'
        '<aside class="panel"></aside></div></div>'
        f'<p class="legend">{legend}<span>Click a box for what it is, twice for what is in it. Drag or scroll to move, '
        "Ctrl and scroll to zoom.</span></p>"
        f'{_ports(f)}<h3>Operations</h3><div class="tables">{_operations(f)}</div>'
    )


def _ports(f: FunctionFacts) -> str:
    rows = [("in", p) for p in f.inputs] + [("out", p) for p in f.outputs]
    cells = [(way, p.name, p.type, ", ".join(p.labels)) for way, p in rows]
    return f'<h3>Inputs and outputs</h3><div class="tables">{_table(("", "name", "type", "labels"), cells)}</div>'


def _operations(f: FunctionFacts) -> str:
    rows = [
        (o.name, o.kind, f"{o.count:,}", f"{o.multiply_adds:,}" if o.multiply_adds else "") for o in f.operations
    ]
    return _table(("operation", "kind", "count", "multiply-adds"), rows, (2, 3))


def _state(found: ProgramFacts) -> str:
    if not found.state:
        return ""
    largest = sorted(found.state, key=lambda s: -s.nbytes)
    rows = [
        (s.name, f"{s.dtype}[{', '.join(map(str, s.shape))}]", f"{s.elements:,}", f"{s.nbytes:,}", ", ".join(s.written))
        for s in largest[:_TENSORS]
    ]
    more = len(largest) - len(rows)
    note = f'<p class="note">and {more:,} smaller ones</p>' if more else ""
    heads = ("name", "type", "numbers", "bytes", "written by")
    return f'<h2>Tensors</h2><div class="tables">{_table(heads, rows, (2, 3))}{note}</div>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag}{" class=number" if i in numbers else ""}>{escape(c)}</{tag}>' for i, c in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', heads)}</tr></thead><tbody>{body}</tbody></table>"
