"""Numbers as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence


def seconds(value: float) -> str:
    """A time in the unit that suits it, with three digits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale or unit == "µs":
            return f"{_three(value / scale)} {unit}"
    raise AssertionError


def mib(value: float) -> str:
    """An amount of memory."""
    return f"{value / 1024:.2f} GiB" if value >= 1000 else f"{_three(value)} MiB"


def times(value: float) -> str:
    """A ratio."""
    return f"{_three(value)}×"


def amount(value: float) -> str:
    """A number of which the size matters."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.01 else "< 0.01"


def listed(parts: Sequence[str], most: int = 3) -> str:
    """Some of many."""
    more = len(parts) - most
    return ", ".join(parts[:most]) + (f" and {more} more" if more > 0 else "")


def of(count: int, all_: int, what: str) -> str:
    """'3 of 10 cases', 'all 10 cases', 'the one case'."""
    if count == all_:
        return f"all {all_} {what}" if all_ > 1 else f"the one {what.removesuffix('s')} measured"
    return f"{count} of {all_} {what}"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
