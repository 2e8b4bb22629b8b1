"""The results as text for a terminal and as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.serving.networks import NETWORKS
from benchmarks.serving.peers import SERVERS

STYLE = Path(__file__).parents[1] / "peers" / "page" / "style.css"
HEAD = (
    "server", "protocol", "requests/s", "p50 ms", "p99 ms", "processors", "p50 ms at 70 %", "p99 ms at 70 %",
    "p99 ms at one rate", "Fanal: throughput", "Fanal: p99", "start s", "MiB", "MiB after", "not answered",
)  # fmt: skip
WHAT = (
    "Load from another process, with connections that send their next request after an answer (first columns), and at a "
    "fixed rate with latencies from when each request was due: 70 % of a server's own throughput, and one rate for all, half "
    "the slowest's throughput. \"Fanal\" columns are ratios in the same round, above 1 where Fanal is better, compared within "
    "JSON and within binary. Processors: used by the server, of all of its processes. MiB: the proportional share of memory "
    "of all processes of a server, after the start and after all load. Start: from the command to the first answer."
)


def text(found: dict[str, Any], case: str) -> str:
    """A case's table."""
    rows = [HEAD, *_rows(found["cases"][case])]
    widths = [max(len(r[i]) for r in rows) for i in range(len(HEAD))]
    lines = [f"{case}: {NETWORKS[case].about}", ""]
    lines += ["  ".join(t.ljust(w) if i < 2 else t.rjust(w) for i, (t, w) in enumerate(zip(r, widths, strict=True))) for r in rows]
    lines += [f"{SERVERS[n].label}: absent: {r['failed']}" for n, r in found["cases"][case].items() if "failed" in r]
    return "\n".join([*lines, "", *_words(found["summary"][case]), ""])


def render(found: dict[str, Any]) -> str:
    """The page."""
    machine = found["machine"]
    where = (
        f"{machine['processor']}, {machine['processors']} processors for servers and load together, Python "
        f"{machine['python']}; {found['date']}; {found['rounds']} interleaved rounds of {found['seconds']:g} s, "
        f"{found['connections']} connections; {machine['busy before']:.1f} processors were busy before"
    )
    body = ["<h1>Fanal beside other servers</h1>", f'<p class="where">{escape(where)}</p>']
    for case, results in found["cases"].items():
        body += [f"<h2>{escape(case)}</h2>", f"<p>{escape(NETWORKS[case].about)}</p>", '<div class="frame">', _table(results)]
        body += ["</div>", "<ul>", *(f"<li>{escape(w)}</li>" for w in _words(found["summary"][case])), "</ul>"]
        absent = [f"{SERVERS[n].label} is absent: {r['failed']}" for n, r in results.items() if "failed" in r]
        body += [f'<p class="where">{escape(t)}</p>' for t in absent]
    body += ["<h2>How</h2>", f"<p>{escape(WHAT)}</p>", "<h3>Settings</h3>", "<ul>"]
    for server in found["servers"].values():
        packages = ", ".join(f"{n} {v}" for n, v in server["packages"].items())
        body.append(f"<li><b>{escape(server['label'])}</b>: {escape(server['settings'])} ({escape(packages)})</li>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Fanal beside other servers</title>\n<style>\n{STYLE.read_text()}th {{ white-space: normal; }}\n</style></head>\n<body><main>\n"
        + "\n".join([*body, "</ul>"]) + "\n</main></body></html>\n"
    )  # fmt: skip


def _table(results: dict[str, Any]) -> str:
    head = "".join(f"<th>{escape(t)}</th>" for t in HEAD)
    rows = ("<tr>" + "".join(f"<td>{escape(t)}</td>" for t in row) + "</tr>" for row in _rows(results))
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _rows(results: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, record in results.items():
        if "failed" in record:
            continue
        memory = record["memory"]
        for way, found in record["ways"].items():
            full, own, same = (found[f"{m} median"] for m in ("full", "own", "same"))
            ratio = found.get("ratio", {})
            yield (
                SERVERS[name].label, way, f"{full['throughput']:.0f}", f"{full['p50']:.2f}", f"{full['p99']:.2f}",
                f"{full['cpu']:.2f}", f"{own['p50']:.2f}", f"{own['p99']:.2f}", f"{same['p99']:.2f}",
                _spread(ratio.get("throughput")), _spread(ratio.get("p99")), f"{record['start']:.1f}",
                f"{memory['started']['proportional']:.0f}", f"{memory['loaded']['proportional']:.0f}",
                str(sum(m["not answered"] for m in (full, own, same))),
            )  # fmt: skip


def _spread(ratio: dict[str, Any] | None) -> str:
    if not ratio:
        return ""
    low, high = ratio["interval"]
    return f"{ratio['median']:.2f} ({low:.2f} to {high:.2f})"


def _words(summary: dict[str, Any]) -> list[str]:
    found = []
    for what, ratio in summary.items():
        low, high = ratio["interval"]
        times = f"{ratio['median']:.2f} times ({low:.2f} to {high:.2f})"
        if what.startswith("batching"):
            found.append(f"{what}: {times} the throughput without")
        elif what.startswith("p99"):
            found.append(f"{what}: the best peer's ({ratio['peer']}) is {times} Fanal's")
        else:
            found.append(f"{what}: {times} that of the best peer ({ratio['peer']})")
    return found
