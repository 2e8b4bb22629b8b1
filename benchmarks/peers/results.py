"""From seconds of rounds to numbers that are compared: medians, ratios with intervals, means.

A ratio is a peer's time over Fanal's in the same round, so above 1 Fanal is faster; its median
comes with the order statistics that hold the true median with 95 % confidence. The fastest peer of
a case is the one with the least median time among those that answered rightly; other forms of Fanal
do not count as peers.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Any

from benchmarks.pairs import interval
from benchmarks.peers import peers

OURS, WINOGRAD = "fanal", "fanal-winograd"
TIMED = {"train": "Training step", "infer1": "Inference, batch 1", "infer32": "Inference, batch 32"}
Record = dict[str, Any]


def complete(found: Record) -> Record:
    """Add to a study's raw results what follows from them (in place), and return it."""
    for case in found["cases"].values():
        for measure in TIMED:
            if measure in case:
                _summarise(case[measure])
                _share(case, measure, found.get("machine") or {})
    found["summary"] = {m: _summary(found, m) for m in TIMED}
    return found


def usable(record: Record | None) -> bool:
    """Whether a peer has a time that may be compared."""
    return bool(record) and "median" in record and "wrong" not in record


def reason(record: Record) -> str:
    """Why it has none, or an empty text."""
    return record.get("failed") or record.get("wrong") or ""


def rivals(results: Record) -> list[str]:
    """Peers of Fanal with usable times, fastest first."""
    names = [n for n, r in results.items() if usable(r) and not peers.named(n).ours]
    return sorted(names, key=lambda n: results[n]["median"])


def _summarise(results: Record) -> None:
    ours = results.get(OURS)
    for record in results.values():
        if record.get("seconds"):
            record["median"] = median(record["seconds"])
            record["interval"] = list(interval(record["seconds"]))
    if not usable(ours):
        return
    for name, record in results.items():
        if name != OURS and record.get("seconds"):
            record["ratio"] = _ratio(record, ours)


def _ratio(theirs: Record, ours: Record) -> Record:
    ratios = [b / a for a, b in zip(ours["seconds"], theirs["seconds"])]
    return {"median": median(ratios), "interval": list(interval(ratios))}


def _share(case: Record, measure: str, machine: Record) -> None:
    """Of the machine's peak and bandwidth, for everyone who has a time."""
    work = (case.get("work") or {}).get(measure)
    if not work:
        return
    for record in case[measure].values():
        if "median" in record:
            rates = {"peak": work["flops"], "bandwidth": work["bytes"]}
            record["share"] = {
                which: amount / record["median"] / machine[which]
                for which, amount in rates.items() if machine.get(which)
            }  # fmt: skip


def _summary(found: Record, measure: str) -> Record | None:
    """Fastest peer of each case, and the geometric mean of Fanal's ratios to them; apart from these, the
    ratios of Fanal with Winograd's algorithm, where it was measured."""
    fastest: Record = {}
    winograd: Record = {}
    for name, case in found["cases"].items():
        results = case.get(measure) or {}
        order = rivals(results)
        if order and usable(results.get(OURS)):
            fastest[name] = {"peer": order[0], **results[order[0]]["ratio"]}
        if order and usable(results.get(WINOGRAD)):
            winograd[name] = {"peer": order[0], **_ratio(results[order[0]], results[WINOGRAD])}
    if not fastest:
        return None
    return {
        "fastest": fastest,
        "mean": mean(r["median"] for r in fastest.values()),
        "winograd": winograd,
        "each": {p.name: _mean_to(found, measure, p.name) for p in peers.PEERS if p.name != OURS},
    }


def _mean_to(found: Record, measure: str, peer: str) -> Record | None:
    records = [case.get(measure, {}).get(peer) for case in found["cases"].values()]
    ratios = [r["ratio"]["median"] for r in records if usable(r) and "ratio" in r]
    return {"mean": mean(ratios), "cases": len(ratios)} if ratios else None


def mean(values: Any) -> float:
    """Geometric."""
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs))


def compile_times(record: Record, trains: bool) -> tuple[float | None, float | None]:
    """Seconds until the first result with empty and with filled caches, without the import.

    Who has a step of their own for building (a session of ONNX Runtime or OpenVINO) has it counted.
    """
    return _both(record, ("first_s",) if trains else ("build_s", "first_s"))


def start_times(record: Record) -> tuple[float | None, float | None]:
    """Seconds from the import to the first result, with empty and with filled caches."""
    return _both(record, ("import_s", "build_s", "first_s"))


def _both(record: Record, parts: tuple[str, ...]) -> tuple[float | None, float | None]:
    found = [record.get("cold", {}), record]
    cold, warm = (sum(r[p] for p in parts) if "first_s" in r else None for r in found)
    return cold, warm
