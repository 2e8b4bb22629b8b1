"""Results as text: for each case a line a peer, times with their ratio to Fanal's."""

from __future__ import annotations

from typing import Any

from benchmarks.peers import cases, peers
from benchmarks.peers.results import OURS, TIMED, compile_times, reason, usable
from benchmarks.report import seconds

Record = dict[str, Any]


def case(name: str, found: Record) -> str:
    """Everything that was timed of one case."""
    about = cases.load(name)
    lines = ["", f"{about.title}: {about.about}"]
    if found.get("passive_waiting"):
        lines.append(f"  ({found['others_busy']:.1f} processors busy with other programs: "
                     "OpenMP waits passively)")  # fmt: skip
    for measure, title in TIMED.items():
        if measure in found:
            lines += _measure(title, measure, found[measure])
    return "\n".join(lines)


def _measure(title: str, measure: str, results: Record) -> list[str]:
    head = f"  {title:20} {'time':>11}  {'ratio':>6} {'95 %':>13}  {'FMA':>4} {'mem':>4}"
    lines = [f"{head}  {'cold':>8} {'warm':>8} {'MiB':>6}"]
    for name, record in results.items():
        peer = peers.named(name)
        why = reason(record)
        if "first_s" not in record:
            lines.append(f"    {peer.label:18} failed: {why}")
            continue
        time = seconds(record["median"]) if "median" in record else "-"
        text = f"    {peer.label:18} {time:>11}"
        text += f"  {_ratio(name, record)} {_shares(record)} {_memory(record, peer)}"
        notes = [*([f"WRONG: {why}"] if why else []), *record.get("notes", [])]
        lines.append((text + "  " + "; ".join(notes)).rstrip())
    return lines


def _ratio(name: str, record: Record) -> str:
    if name == OURS and usable(record):
        return f"{'1':>6} {'':>13}"
    if "ratio" not in record:
        return f"{'':>20}"
    low, high = record["ratio"]["interval"]
    return f"{record['ratio']['median']:6.2f} {f'{low:.2f}-{high:.2f}':>13}"


def _shares(record: Record) -> str:
    share = record.get("share", {})
    return " ".join(f"{share[k]:4.0%}" if k in share else f"{'':4}" for k in ("peak", "bandwidth"))


def _memory(record: Record, peer: peers.Peer) -> str:
    cold, warm = compile_times(record, peer.trains)
    cold_text = f"{cold:7.2f}s" if cold is not None else f"{'':8}"
    return f" {cold_text} {warm:7.2f}s {record['memory']['grown']:6.0f}"


def footprint(found: Record) -> str:
    """Import times and sizes."""
    lines = []
    imports, sizes = found.get("import"), found.get("size")
    for title, part in (("Import", imports), ("Installed", sizes)):
        for name, record in (part or {}).items():
            if "failed" in record:
                text = record["failed"]
            elif "median" in record:
                text = seconds(record["median"])
            else:
                text = f"{record['mib']:8.0f} MiB in {len(record['packages'])} packages"
            lines.append(f"{title:10} {name:12} {text}")
    return "\n".join(["", *lines]) if lines else ""


def summary(found: Record) -> str:
    """The fastest peer of each case, and means."""
    lines = [""]
    for measure, title in TIMED.items():
        part = (found.get("summary") or {}).get(measure)
        if not part:
            continue
        lines.append(f"{title}: fastest peer's time over Fanal's (above 1: Fanal is faster)")
        lines += [_fastest(name, record) for name, record in part["fastest"].items()]
        lines.append(f"  {'mean':10} {part['mean']:6.2f}")
        if part.get("winograd"):
            lines.append("  with Winograd's algorithm, on request:")
            lines += [_fastest(name, record) for name, record in part["winograd"].items()]
    return "\n".join(lines)


def _fastest(name: str, record: Record) -> str:
    low, high = record["interval"]
    return f"  {name:10} {record['median']:6.2f}  {low:.2f}-{high:.2f}  {record['peer']}"
