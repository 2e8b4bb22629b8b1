"""Puts the page together: one HTML file that needs nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from benchmarks.peers.page import limits, method, sections, verdict
from benchmarks.peers.results import TIMED


def render(found: dict[str, Any]) -> str:
    """The page of a study."""
    style = (Path(__file__).parent / "style.css").read_text()
    machine = found.get("machine") or {}
    where = (
        f"{machine.get('processor', 'unknown processor')}, {found['threads']} threads, float32, "
        f"{machine.get('system', '')}, Python {machine.get('python', '')}; {found['date']}; "
        f"{found['rounds']} interleaved rounds"
    )
    body = [
        "<h1>Fanal beside its peers</h1>",
        f'<p class="where">{escape(where)}</p>',
        verdict.lead(found),
        verdict.screen(found),
        *(sections.timed(found, measure) for measure in TIMED),
        sections.compiling(found),
        sections.memory(found),
        sections.starting(found),
        sections.footprint(found),
        limits.roofline(found),
        method.cases_table(found),
        method.method(found),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Fanal beside its peers</title>\n<style>\n{style}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )
