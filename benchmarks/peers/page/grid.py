"""Tables of cases by peers, and the frames that plots and tables stand in."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from benchmarks.peers import cases, peers
from benchmarks.peers.page import words
from benchmarks.peers.results import OURS, compile_times, reason, start_times

Record = dict[str, Any]
Cell = Callable[[Record], tuple[str, float]]  # what is shown, and what is compared
NONE = float("inf")


def label(name: str) -> str:
    """What a peer is called."""
    return peers.named(name).label


def title(case: str) -> str:
    """What a case is called."""
    return cases.load(case).title


def frame(inside: str) -> str:
    """A white box, which scrolls sideways if it must."""
    return f'<div class="frame">{inside}</div>'


def shown(found: Record, measure: str, without: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Names and labels of the peers that have anything in a measure."""
    names = {n for case in found["cases"].values() for n in case.get(measure, {})}
    return [(p.name, p.label) for p in peers.PEERS if p.name in names and p.name not in without]


def table(found: Record, measure: str, cell: Cell, fastest: bool = False) -> str:
    """Cases down, peers across; the least of a row is bold."""
    columns = shown(found, measure)
    heads = [("", "Case"), *(("ours" if n == OURS else "", text) for n, text in columns)]
    heads += [("", "Fastest peer / Fanal")] if fastest else []
    out = "".join(f'<th class="{kind}">{escape(text)}</th>' for kind, text in heads)
    rows = [f"<tr>{out}</tr>"]
    for name, case in found["cases"].items():
        results = case.get(measure, {})
        cells = {n: cell(results.get(n, {})) for n, _ in columns}
        least = min((value for _, value in cells.values()), default=NONE)
        row = f"<td>{title(name)}</td>"
        for peer, (text, value) in cells.items():
            why = escape(reason(results.get(peer, {})))
            row += f'<td class="{_classes(peer, value, least)}" title="{why}">{text}</td>'
        if fastest:
            row += _fastest(((found["summary"].get(measure) or {}).get("fastest") or {}).get(name))
        rows.append(f"<tr>{row}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _classes(peer: str, value: float, least: float) -> str:
    states = {"ours": peer == OURS, "best": value == least < NONE, "none": value == NONE}
    return " ".join(name for name, holds in states.items() if holds)


def _fastest(row: Record | None) -> str:
    if not row:
        return "<td>–</td>"
    low, high = row["interval"]
    return f"<td><b>{row['median']:.2f}</b> ({low:.2f}–{high:.2f})</td>"


def time(r: Record) -> tuple[str, float]:
    """A cell: the median time."""
    if "wrong" in r:
        return "wrong *", NONE
    if "median" not in r:
        return ("failed *" if "failed" in r else "–"), NONE
    return words.seconds(r["median"]), r["median"]


def cold_warm(r: Record) -> tuple[str, float]:
    """A cell: the first step, with empty and with filled caches."""
    cold, warm = compile_times(r, True)
    if cold is None or warm is None:
        return "–", NONE
    return f"{words.seconds(cold)} / {words.seconds(warm)}", cold


def started(r: Record) -> tuple[str, float]:
    """A cell: from the import to the first answer, with empty and with filled caches."""
    cold, warm = start_times(r)
    if cold is None or warm is None:
        return "–", NONE
    return f"{words.seconds(cold)} / {words.seconds(warm)}", warm


def grown(r: Record) -> tuple[str, float]:
    """A cell: growth of the process."""
    if "memory" not in r:
        return "–", NONE
    return words.mib(r["memory"]["grown"]), r["memory"]["grown"]
