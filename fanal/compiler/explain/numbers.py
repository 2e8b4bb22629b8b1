"""Numbers as reports write them."""

from __future__ import annotations

_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def scaled(x: float, unit: str) -> str:
    """12.3 MB: three digits, with a prefix."""
    for size, prefix in _STEPS:
        if x >= size:
            return f"{x / size:.3g} {prefix}{unit}"
    return f"{x:.0f} {unit}"


def duration(seconds: float | None) -> str:
    """1.23 ms; a dash where it is not known."""
    if seconds is None:
        return "–"
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 100 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def count(n: int, what: str) -> str:
    """1 kernel, 2 kernels."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def shortened(items: list[str], most: int, width: int) -> str:
    """Items with commas, the last ones left out where there are many."""
    kept = items[:most]
    text = ", ".join(kept) + (f", +{len(items) - most}" if len(items) > most else "")
    return text if len(text) <= width else text[: width - 1] + "…"
