"""Numbers of optimisers (rates, betas) among a replay's inputs: read anew when a group has changed.

A group is a dict of the user's. As long as the very same objects stand in it, and none of them can
change by itself (a rate in a tensor can), the numbers are those of the last call.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import is_
from typing import Any

from fanal.backends.native.runtime.layout import CHECK_DICT
from fanal.compiler.notes import LiveOptions
from fanal.compiler.observer.guards import PLAIN
from fanal.compiler.plan import Plan, bits

_PACKAGE = __name__.split(".", 1)[0] + "."


class _Group:
    """What stands in one group, for native code to compare: `words` are the addresses of its keys and
    values, in turn; nothing if that tells nothing."""

    __slots__ = ("_before", "_numbers", "_places", "_seen", "entry", "words")

    def __init__(self, entry: LiveOptions, places: list[tuple[int, int]]):
        self.entry = entry
        self._places = places  # words of the numbers that the program takes, and which they are
        self._seen: list[Any] = []
        self._numbers: list[float] = []
        self.words = self._before = array("q")

    def now(self) -> list[Any] | None:
        """Keys and values, if they may not be what was read."""
        seen = list(chain.from_iterable(self.entry.group.items()))
        same = self.words and len(seen) == len(self._seen) and all(map(is_, seen, self._seen))
        return None if same else seen

    def read(self, seen: list[Any]) -> bool:
        """Take down what stands there now; whether that is in other words than before."""
        words = array("q", map(id, seen)) if self._is_steady(seen) else array("q")
        moved = len(words) != len(self.words)
        if moved:
            self._before, self.words = self.words, words  # a plan may still name the words of before
        else:
            self.words[:] = words  # at once, and where they were
        self._seen = seen  # and only now the objects of before may go
        return moved

    def numbers(self) -> list[tuple[int, float]]:
        """The numbers that the program takes and that are not what they were, with their words."""
        found, before = self.entry.numbers(), self._numbers
        self._numbers = found
        return [(word, found[i]) for word, i in self._places if not before or found[i] is not before[i]]

    def _is_steady(self, seen: Sequence[Any]) -> bool:
        """Whether the numbers follow from which objects stand in the group."""
        kind = type(self.entry.owner)
        methods = (kind._options, kind._flags)
        if not all(m.__module__.startswith(_PACKAGE) for m in methods):
            return False
        if type(self.entry.group) is not dict:
            return False
        places: Iterable[int] = range(len(seen))
        if len(self.words) == len(seen):  # only what is new needs a look
            places = [i for i, x in enumerate(seen) if x is not self._seen[i]]
        return all(i % 2 == 0 or seen[i - 1] == "params" or _is_plain(seen[i]) for i in places)


def _is_plain(x: Any) -> bool:
    """Whether a value can't change by itself."""
    return type(x) in PLAIN or (type(x) is tuple and all(type(y) in PLAIN for y in x))


class Options:
    """The groups of one replay. `inputs`: word, group and number of each number that it takes."""

    __slots__ = ("_groups",)

    def __init__(self, entries: Sequence[LiveOptions], inputs: Sequence[tuple[int, LiveOptions, int]]):
        self._groups = [_Group(e, [(w, i) for w, of, i in inputs if of is e]) for e in entries]

    def follow(self, plan: Plan) -> bool:
        """Write a plan's numbers anew where a group has changed, unless what is no number has changed
        too. Whether `entries` are other ones since."""
        moved = False
        for g in self._groups:
            seen = g.now()
            if seen is None or not g.entry.holds():
                continue
            for word, number in g.numbers():
                plan.put("words", word, bits(number))
            moved = g.read(seen) or moved
        return moved

    def entries(self) -> list[int]:
        """Entries of a plan's checks: that the groups are what was read. (Where that tells nothing: that
        they are empty.)"""
        return [
            word
            for g in self._groups
            for word in (CHECK_DICT, id(g.entry.group), g.words.buffer_info()[0], len(g.words) // 2)
        ]
