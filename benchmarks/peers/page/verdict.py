"""The first screen: a sentence, a card for each area, and the way out again.

What stands on the cards comes from `areas.py`. In each card the order is: where Fanal loses, is
level, wins; then plain facts; then what was not measured.
"""

from __future__ import annotations

from html import escape
from typing import Any

from benchmarks.peers.page.areas import AREAS, Fact, leaving

Record = dict[str, Any]
ORDER = ("loses", "level", "wins", "fact", "unmeasured")
NAMES = {
    "train": "training", "infer1": "inference at batch 1", "infer32": "inference at batch 32",
}  # fmt: skip
KEY = """
<p class="key"><b>−</b> Fanal loses &nbsp; <b>=</b> level &nbsp; <b>+</b> Fanal wins &nbsp;
<b>·</b> a fact &nbsp; <b>?</b> not measured here. A loss or a win is against the best peer of each
case, unless one is named; the numbers behind it are below.</p>"""


def lead(found: Record) -> str:
    """The one sentence above all."""
    parts = []
    for measure, name in NAMES.items():
        part = (found.get("summary") or {}).get(measure)
        if part:
            rows = part["fastest"].values()
            lost = sum(r["interval"][1] < 1 for r in rows)
            won = sum(r["interval"][0] > 1 for r in rows)
            counts = f"slower in {lost}, faster in {won} of {len(rows)} cases"
            parts.append(f"<b>{part['mean']:.2f}</b> in {name} ({counts})")
    if not parts:
        return ""
    return (
        '<p class="lead">Fanal\'s speed against the <em>fastest</em> peer of each case (1 is as '
        f"fast, more is faster; geometric mean): {'; '.join(parts)}.</p>"
    )


def screen(found: Record) -> str:
    """The cards."""
    cards = "".join(_card(title, list(facts(found))) for title, facts in AREAS.items())
    out = _card("What it costs to leave Fanal again", list(leaving(found)), " leaving")
    return f'<div class="areas">{cards}</div>{out}{KEY}'


def _card(title: str, facts: list[Fact], kind: str = "") -> str:
    facts = facts or [("unmeasured", "Nothing of this was measured in this run.")]
    lines = "".join(
        f'<li class="{k}">{escape(text)}</li>'
        for k, text in sorted(facts, key=lambda f: ORDER.index(f[0]))
    )
    return f'<section class="card{kind}"><h3>{escape(title)}</h3><ul>{lines}</ul></section>'
