"""How near Fanal and the fastest peer are to what the machine can do at most."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.page import words
from benchmarks.peers.page.grid import frame, label, title
from benchmarks.peers.results import OURS, TIMED, rivals

Record = dict[str, Any]
WHICH = ("peak", "bandwidth")
ABOUT = """
<p>Measured on this machine with {threads} threads: {peak}, and {bandwidth:.1f} GB/s (a = b + c over
large arrays). Operations are those of the products (dense, convolutional, recurrent, attention)
alone; bytes are what these read and write if each array passes once, and AdamW's. What stays in a
cache does not pass, so a share of the bandwidth may exceed 100 %; so may a share of the peak where
an algorithm needs fewer multiplications.</p>"""
HEADS = (
    ("", "Case"), ("", "GFLOP"), ("", "MB"), ("ours", "Fanal, of FMA peak"),
    ("ours", "of bandwidth"), ("", "Fastest peer"), ("", "of FMA peak"), ("", "of bandwidth"),
)  # fmt: skip


def roofline(found: Record) -> str:
    """The section."""
    out = ""
    for measure, name in TIMED.items():
        rows = "".join(_row(case, r, measure) for case, r in found["cases"].items())
        if rows:
            heads = "".join(f'<th class="{kind}">{text}</th>' for kind, text in HEADS)
            out += f"<h3>{name}</h3>" + frame(f"<table><tr>{heads}</tr>{rows}</table>")
    if not out:
        return ""
    machine = found["machine"]
    rate = machine.get("peak")
    peak = f"{rate / 1e9:.0f} GFLOP/s of multiply-adds" if rate else "no peak was found"
    about = ABOUT.format(
        threads=found["threads"], peak=peak, bandwidth=machine["bandwidth"] / 1e9
    )  # fmt: skip
    return f'<h2 id="roofline">Share of what the machine can do</h2>{about}{out}'


def _row(case: str, results: Record, measure: str) -> str:
    work, part = (results.get("work") or {}).get(measure), results.get(measure) or {}
    ours, order = part.get(OURS, {}), rivals(part)
    if not work or "share" not in ours:
        return ""
    who, theirs = (label(order[0]), part[order[0]]) if order else ("–", {})
    cells = [
        ("", title(case)), ("", words.amount(work["flops"] / 1e9)), ("", words.amount(work["bytes"] / 1e6)),
        *(("ours", _share(ours, which)) for which in WHICH), ("", who),
        *(("", _share(theirs, which)) for which in WHICH),
    ]  # fmt: skip
    return "<tr>" + "".join(f'<td class="{kind}">{text}</td>' for kind, text in cells) + "</tr>"


def _share(r: Record, which: str) -> str:
    return f"{r['share'][which]:.0%}" if which in r.get("share", {}) else "–"
