"""Events as a table, in the look that PyTorch's users know."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fanal.core.errors import message, nearest

if TYPE_CHECKING:
    from fanal.profiler.events import EventList

SORTS = (
    "cpu_time", "cpu_time_total", "self_cpu_time_total", "cpu_memory_usage", "self_cpu_memory_usage",
    "count", "flops", "key",
)  # fmt: skip


def time_text(us: float) -> str:
    """A time as PyTorch writes it: 12.345us, 1.234ms, 1.234s."""
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


def memory_text(nbytes: float) -> str:
    """A size as PyTorch writes it: 512 b, 1.50 Kb, 2.00 Mb."""
    for size, unit in ((1 << 30, "Gb"), (1 << 20, "Mb"), (1 << 10, "Kb")):
        if abs(nbytes) >= size:
            return f"{nbytes / size:.2f} {unit}"
    return f"{nbytes:.0f} b"


def build_table(
    events: EventList, sort_by: str | None, row_limit: int, source_width: int, name_width: int,
    shapes_width: int, header: str | None, top_level: bool,
) -> str:  # fmt: skip
    """The text of `EventList.table`."""
    rows = [e for e in events if not top_level or getattr(e, "cpu_parent", None) is None]
    if sort_by is not None:
        if sort_by not in SORTS:
            close = nearest(sort_by, SORTS)
            raise AttributeError(
                message("table", "cannot sort by this", repr(sort_by), ", ".join(SORTS), " or ".join(close))
            )
        rows.sort(key=lambda e: getattr(e, sort_by), reverse=sort_by != "key")
    shown = rows if row_limit < 0 else rows[:row_limit]
    columns = events.columns
    total = events.self_cpu_time_total or 1.0
    names = ["Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg"]
    names += ["CPU Mem", "Self CPU Mem"] * columns["memory"]
    names += ["# of Calls"] + ["Total MFLOPs"] * columns["flops"]
    texts = ["Input Shapes"] * columns["shapes"] + ["Source Location"] * columns["stacks"]
    cells = [[*names, *texts]]
    for e in shown:
        cells.append([*_numbers(e, total, name_width, columns), *_texts(e, columns, source_width, shapes_width)])
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    rule = "  ".join("-" * w for w in widths)
    lines = ([header] if header else []) + [rule]
    for number, row in enumerate(cells):
        parts = []
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            left = i == 0 or i >= len(names)
            parts.append(cell.ljust(width) if left else cell.rjust(width))
        lines += ["  ".join(parts).rstrip()] + [rule] * (number == 0)
    lines.append(rule)
    if len(rows) > len(shown):
        lines.append(f"{len(rows) - len(shown)} more rows (row_limit={row_limit})")
    lines.append(f"Self CPU time total: {time_text(events.self_cpu_time_total)}")
    if events.total:
        lines.append(f"Elapsed: {time_text(events.total)}")
    return "\n".join(lines) + "\n"


def _numbers(e: Any, total: float, width: int, columns: dict[str, bool]) -> list[str]:
    name = e.key if len(e.key) <= width else e.key[: width - 3] + "..."
    own, whole = e.self_cpu_time_total, e.cpu_time_total
    found = [
        name, f"{100 * own / total:.2f}%", time_text(own), f"{100 * whole / total:.2f}%", time_text(whole),
        time_text(e.cpu_time),
    ]  # fmt: skip
    if columns["memory"]:
        found += [memory_text(e.cpu_memory_usage), memory_text(e.self_cpu_memory_usage)]
    found.append(str(e.count))
    if columns["flops"]:
        found.append(f"{e.flops / 1e6:.3f}" if e.flops else "--")
    return found


def _texts(e: Any, columns: dict[str, bool], source_width: int, shapes_width: int) -> list[str]:
    found = []
    if columns["shapes"]:
        text = str([list(s) for s in e.input_shapes])
        found.append(text if len(text) <= shapes_width else text[: shapes_width - 3] + "...")
    if columns["stacks"]:
        place = e.stack[0] if e.stack else ""
        short = os.path.join(*place.split(os.sep)[-2:]) if os.sep in place else place
        found.append(short if len(short) <= source_width else "..." + short[3 - source_width :])
    return found
