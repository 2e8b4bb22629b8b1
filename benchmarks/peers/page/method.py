"""What the cases are, how they were measured, and with which settings."""

from __future__ import annotations

from html import escape
from typing import Any

from benchmarks.peers import cases
from benchmarks.peers.page import words
from benchmarks.peers.page.grid import frame, title
from benchmarks.peers.results import TIMED

Record = dict[str, Any]
METHOD = """
<p>Each case on each peer is a process of its own with {threads} threads, bound to as many
processors. All are built and warmed up; then, in {rounds} rounds, each has a turn of a quarter of a
second (or one step, if that is longer) while all others are stopped. A ratio is taken within a
round; the median of the rounds is shown with the order statistics that hold the true median with at
least 95 % confidence. {priority} {busy}</p>
<p>All compute in float32, from the same weights, on the same inputs. A result counts only if the
first loss (or the output) is within 10⁻³ of PyTorch's, answers to one input agree, and the loss
falls as fast as PyTorch's over five steps, to 2 %. A training step is forward, loss, backward and
AdamW; training takes eight batches in turn; each answer is waited for.</p>"""
PRIORITY = {
    True: "The process whose turn it was had priority over other programs on the machine.",
    False: "No process had priority over other programs on the machine.",
}
BUSY = "Before the cases began, those used {least:.1f} to {most:.1f} processors."
WAITING = """
<p>Other programs kept the machine busy during {cases}: OpenMP threads were told to sleep while they
wait, which costs PyTorch time in small cases.</p>"""


def cases_table(found: Record) -> str:
    """What the cases are."""
    rows = "".join(
        f'<tr><td>{title(n)}</td><td class="text">{escape(cases.load(n).about)}</td>'
        f"<td>{(c.get('work') or {}).get('parameters', 0):,}</td></tr>"
        for n, c in found["cases"].items()
    )
    head = '<tr><th>Case</th><th class="text">Training step</th><th>Parameters</th></tr>'
    return f'<h2 id="cases">The cases</h2>{frame(f"<table>{head}{rows}</table>")}' if rows else ""


def method(found: Record) -> str:
    """How it was measured."""
    text = METHOD.format(
        threads=found["threads"], rounds=found["rounds"], priority=PRIORITY[found["priority"]],
        busy=_busy(found),
    )  # fmt: skip
    waits = [title(n) for n, c in found["cases"].items() if c.get("passive_waiting")]
    if waits:
        text += WAITING.format(cases=escape(words.listed(waits, 10)))
    versions = {
        name: r["version"]
        for case in found["cases"].values()
        for measure in TIMED
        for name, r in case.get(measure, {}).items()
        if "version" in r
    }
    rows = "".join(
        f'<tr><td>{escape(p["label"])}</td><td class="text">{escape(versions.get(name, "–"))}</td>'
        f'<td class="text">{escape(p["settings"])}</td></tr>'
        for name, p in found["peers"].items()
    )
    head = '<tr><th>Peer</th><th class="text">Version</th><th class="text">Settings</th></tr>'
    settings = frame(f"<table>{head}{rows}</table>")
    again = "<p>Again: <code>make bench-peers</code>.</p>"
    return f'<h2 id="method">How it was measured</h2>{text}{settings}{again}'


def _busy(found: Record) -> str:
    """How much others used the machine: wide intervals have a reason."""
    shares = [case["others_busy"] for case in found["cases"].values() if "others_busy" in case]
    return BUSY.format(least=min(shares), most=max(shares)) if shares else ""
