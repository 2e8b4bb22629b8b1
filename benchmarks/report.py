"""Measured pairs as a table for people and as records for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.pairs import Pair

if TYPE_CHECKING:
    from benchmarks.groups import Group


def seconds(value: float) -> str:
    """A time in a unit that suits it."""
    for unit, scale in (("s ", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale:
            return f"{value / scale:8.2f} {unit}"
    return f"{value / 1e-9:8.0f} ns"


def table(group: Group, threads: int, rows: Sequence[Pair]) -> str:
    """Text: a line for each case, and the mean where the group has a target for it."""
    width = max(len(r.name) for r in rows)
    title = f"{group.name}, {threads} thread{'s' * (threads > 1)}"
    lines = [title, "-" * len(title)]
    lines.append(f"{'':{width}}  {'Fanal':>11}  {'PyTorch':>11}  {'ratio':>6}  {'95 %':>13}  target")
    for r in rows:
        low, high = r.interval
        target = group.target(r.name)
        mark = "" if target is None else f"{target:.2f} {'met' if high >= target else 'missed'}"
        rate = f"  {r.flops / r.ours / 1e9:.0f} GFLOP/s" if r.flops else ""
        lines.append(
            f"{r.name:{width}}  {seconds(r.ours):>11}  {seconds(r.theirs):>11}  {r.ratio:6.2f}  "
            f"{low:6.2f}-{high:6.2f}  {mark}{rate}"
        )
    if group.mean is not None and len(rows) > 1:
        got = mean(rows)
        verdict = "met" if got >= group.mean else "missed"
        lines.append(f"{'geometric mean':{width}}  {'':>11}  {'':>11}  {got:6.2f}  {'':>13}  "
                     f"{group.mean:.2f} {verdict}")  # fmt: skip
    return "\n".join(lines) + "\n"


def mean(rows: Sequence[Pair]) -> float:
    """Geometric mean of the ratios, the mean that does not depend on who is divided by whom."""
    return math.exp(sum(math.log(r.ratio) for r in rows) / len(rows))


def records(group: Group, threads: int, rows: Sequence[Pair]) -> list[dict[str, Any]]:
    """The same as plain data."""
    return [
        {
            "group": group.name, "case": r.name, "threads": threads, "fanal_s": r.ours,
            "torch_s": r.theirs, "ratio": r.ratio, "interval": list(r.interval),
            "ratios": list(r.ratios), "target": group.target(r.name),
        }
        for r in rows
    ]
