"""Numbers of optimisers (rates, betas) among a replay's inputs: read anew when a group has changed.

A group is a dict of the user's. As long as the very same objects stand in it, and none of them can
change by itself (a rate in a tensor can), the numbers are those of the last call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.compiler.checks import Checks
from fanal.compiler.notes import LiveOptions
from fanal.compiler.observer.guards import PLAIN

_PACKAGE = __name__.split(".", 1)[0] + "."


class Options:
    """The groups of one replay. `inputs`: word, group and number of each number that it takes."""

    __slots__ = ("_entries", "_inputs", "_seen")

    def __init__(self, entries: Sequence[LiveOptions], inputs: Sequence[tuple[int, LiveOptions, int]]):
        self._entries, self._inputs = entries, inputs
        self._seen: list[list[Any]] = [[] for _ in entries]  # what stood in each group

    def refresh(self) -> list[tuple[int, float]]:
        """The numbers as they are now, with their words."""
        # First what stands there: if that changes meanwhile, the next call looks again.
        self._seen = [[x for pair in e.group.items() for x in pair] for e in self._entries]
        numbers = {id(e): e.numbers() for e in self._entries}
        return [(word, numbers[id(e)][i]) for word, e, i in self._inputs]

    def hold(self) -> bool:
        """Whether what is no number in the groups is as it was."""
        return all(e.holds() for e in self._entries)

    def changed(self) -> bool:
        """Whether a group is not what it was at the last `refresh`."""
        for e, seen in zip(self._entries, self._seen, strict=True):
            now = [x for pair in e.group.items() for x in pair]
            if len(now) != len(seen) or any(a is not b for a, b in zip(now, seen, strict=True)):
                return True
            if not _steady(e, seen):
                return True
        return False

    def write(self, checks: Checks) -> bool:
        """Checks that the groups are as at the last `refresh`; False if that can't be told natively."""
        for e, seen in zip(self._entries, self._seen, strict=True):
            if not _steady(e, seen):
                return False
            checks.content(e.group, seen)
        return True


def _steady(entry: LiveOptions, seen: Sequence[Any]) -> bool:
    """Whether the numbers of a group follow from which objects stand in it."""
    kind = type(entry.owner)
    methods = (kind._options, kind._flags)
    if type(entry.group) is not dict or any(not m.__module__.startswith(_PACKAGE) for m in methods):
        return False
    values = [v for k, v in zip(seen[::2], seen[1::2], strict=True) if k != "params"]
    return all(
        type(v) in PLAIN or (type(v) is tuple and all(type(x) in PLAIN for x in v)) for v in values
    )
