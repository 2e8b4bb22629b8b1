"""A plot and a table for each measure."""

from __future__ import annotations

from html import escape
from typing import Any

from benchmarks.peers import peers
from benchmarks.peers.page import grid, plots, words
from benchmarks.peers.page.grid import frame, label, title
from benchmarks.peers.page.plots import Mark
from benchmarks.peers.results import OURS, TIMED, compile_times, reason, usable

Record = dict[str, Any]
SPLIT = ("← the peer is faster", "Fanal is faster →")
COMPILE = """
<p>Seconds from the call to the result of the first step in a fresh process, without the import and
without making the model. Filled marks: nothing was compiled before (cold; first number). Hollow
marks: a second process that finds the caches of the first (warm). One process each. TensorFlow
keeps no cache between processes here.</p>"""
MEMORY = """
<p>The largest resident size up to the fifth step (or the fifth answer), less the size right after
the import, in a process that finds its compile caches filled.</p>"""
START = """
<p>Seconds from the beginning of the import to the first answer at batch 1, cold / warm: importing,
making the model or session, compiling. Bold: the quickest warm start.</p>"""
SIZES = """
<p>Sizes count the files of the package and of everything that it requires, without bytecode and
without Python. torch.compile also needs a C++ compiler, which is not counted.</p>"""


def timed(found: Record, measure: str) -> str:
    """Ratios as a plot, times as a table."""
    if not any(measure in case for case in found["cases"].values()):
        return ""
    rows = [
        (title(name), [_ratio(name, p, r) for p, r in case.get(measure, {}).items() if _has(r)])
        for name, case in found["cases"].items()
    ]
    out = f'<h2 id="{measure}">{TIMED[measure]}</h2>'
    if any(marks for _, marks in rows):
        axis = "the peer's time over Fanal's: median and 95 % interval"
        others = grid.shown(found, measure, without=(OURS,))
        out += frame(plots.legend(others) + plots.dots(rows, axis, split=SPLIT))
    table = grid.table(found, measure, grid.time, fastest=True)
    return out + frame(table) + _failures(found, measure)


def _has(r: Record) -> bool:
    return usable(r) and "ratio" in r


def _ratio(case: str, peer: str, r: Record) -> Mark:
    middle, (low, high) = r["ratio"]["median"], r["ratio"]["interval"]
    said = f"{label(peer)}, {title(case)}: {middle:.2f} ({low:.2f} to {high:.2f}), "
    return Mark(peer, middle, said + words.seconds(r["median"]), low, high)


def compiling(found: Record) -> str:
    """Times of the first step."""
    rows = []
    for name, case in found["cases"].items():
        marks = []
        for peer, r in case.get("train", {}).items():
            cold, warm = compile_times(r, True)
            if cold is not None and warm is not None:
                times = f"{words.seconds(cold)} cold, {words.seconds(warm)} warm"
                said = f"{label(peer)}, {title(name)}: {times}"
                marks += [Mark(peer, warm, said, hollow=True), Mark(peer, cold, said)]
        rows.append((title(name), marks))
    if not any(marks for _, marks in rows):
        return ""
    plot = plots.dots(rows, "seconds, less is better")
    return (
        f'<h2 id="compile">First training step: compile time</h2>{COMPILE}'
        + frame(plots.legend(grid.shown(found, "train")) + plot)
        + frame(grid.table(found, "train", grid.cold_warm))
    )


def memory(found: Record) -> str:
    """Growth of the process."""
    out = ""
    for measure in ("train", "infer1"):
        rows = []
        for name, case in found["cases"].items():
            grown = {
                p: r["memory"]["grown"] for p, r in case.get(measure, {}).items() if "memory" in r
            }
            said = {p: f"{label(p)}, {title(name)}: {words.mib(v)}" for p, v in grown.items()}
            rows.append((title(name), [Mark(p, max(v, 0.5), said[p]) for p, v in grown.items()]))
        if any(marks for _, marks in rows):
            plot = plots.dots(rows, "MiB, less is better")
            legend = plots.legend(grid.shown(found, measure))
            out += f"<h3>{TIMED[measure]}</h3>" + frame(legend + plot)
            out += frame(grid.table(found, measure, grid.grown))
    return f'<h2 id="memory">Peak memory</h2>{MEMORY}{out}' if out else ""


def footprint(found: Record) -> str:
    """Import time and size, as bars."""
    columns = []
    for part, key, said, about in (
        ("import", "median", words.seconds, "Import, median of 7 fresh processes"),
        ("size", "mib", words.mib, "Installed, with all that is required"),
    ):
        rows = []
        for name, r in sorted((found.get(part) or {}).items(), key=lambda i: i[1].get(key, 9e9)):
            peer = next(p for p in peers.PEERS if p.framework == name)
            if key in r:
                rows.append((peer.label, peer.name, r[key], said(r[key])))
        if rows:
            columns.append(f"<div><h3>{about}</h3>{frame(plots.bars(rows))}</div>")
    if not columns:
        return ""
    pair = f'<div class="pair">{"".join(columns)}</div>'
    return f'<h2 id="footprint">Import time and installed size</h2>{pair}{SIZES}'


def starting(found: Record) -> str:
    """From nothing to the first answer."""
    if not any("cold" in r for c in found["cases"].values() for r in c.get("infer1", {}).values()):
        return ""
    table = frame(grid.table(found, "infer1", grid.started))
    return f'<h2 id="start">From the import to the first answer</h2>{START}{table}'


def _failures(found: Record, measure: str) -> str:
    """Why there is no time, and what Fanal has to say of its own."""
    lines = []
    for case, results in found["cases"].items():
        for peer, r in results.get(measure, {}).items():
            notes = "; ".join(r.get("notes", [])) if peers.named(peer).ours else ""
            if reason(r) or notes:
                why = escape(reason(r) or notes)
                lines.append(f"<li>* {title(case)}, {label(peer)}: {why}</li>")
    return f'<ul class="notes">{"".join(lines)}</ul>' if lines else ""
