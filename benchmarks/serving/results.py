"""From rounds to numbers that are compared: medians, and ratios to Fanal in the same round.

A ratio is above 1 where Fanal is better: its throughput over the peer's, the peer's p99 over its. Ways of one kind
(JSON, binary) are compared with each other.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.pairs import interval
from benchmarks.serving.peers import SERVERS

OURS, ALONE = "fanal", "fanal-alone"
MEASURES = ("full", "own", "same")
Record = dict[str, Any]


def complete(found: Record) -> Record:
    """Add what follows from the rounds (in place), and return it."""
    for case in found["cases"].values():
        ours = _ways(case, OURS)
        for name, record in case.items():
            if "ways" not in record or "failed" in record:
                continue
            record["start"] = median(record["starts"])
            for way in record["ways"].values():
                for measure in MEASURES:
                    way[f"{measure} median"] = _median(way[measure])
                own = next((w for w in ours.values() if w["kind"] == way["kind"]), None)
                if name != OURS and own is not None:
                    way["ratio"] = {
                        "throughput": _ratio(own["full"], way["full"], "throughput"),
                        "p99": _ratio(way["full"], own["full"], "p99"),
                        "p99 at one rate": _ratio(way["same"], own["same"], "p99"),
                    }
    found["summary"] = {name: _best(case) for name, case in found["cases"].items()}
    return found


def _ways(case: Record, name: str) -> Record:
    record = case.get(name, {})
    return {} if "failed" in record else record.get("ways", {})


def _median(rounds: list[Record]) -> Record:
    keys = ("throughput", "p50", "p99", "cpu", "generator_cpu")
    lost = sum(sum(r["refused"].values()) + sum(r["errors"].values()) for r in rounds)
    return {**{k: median(r[k] for r in rounds) for k in keys}, "not answered": lost}


def _ratio(above: list[Record], below: list[Record], key: str) -> Record:
    ratios = [a[key] / b[key] for a, b in zip(above, below, strict=True) if b[key]]
    return {"median": median(ratios), "interval": list(interval(ratios))} if ratios else {}


def _best(case: Record) -> Record:
    """Of each kind: the best peer by throughput, and by p99; what batching brings."""
    found: Record = {}
    for kind in ("json", "binary"):
        rivals = [
            (SERVERS[name].label, way["ratio"]) for name, record in case.items() if not SERVERS[name].ours
            for way in record.get("ways", {}).values() if way["kind"] == kind and way.get("ratio")
        ]  # fmt: skip
        for measure in ("throughput", "p99", "p99 at one rate"):
            if rivals:
                label, ratio = min(rivals, key=lambda r: r[1][measure]["median"])
                found[f"{measure}, {kind}"] = {"peer": label, **ratio[measure]}
    for way in _ways(case, ALONE).values():
        if way.get("ratio"):
            found[f"batching, {way['kind']}"] = way["ratio"]["throughput"]
    return found
