"""Calls that ask for values, done again without their Python: a tree of parts, by decisions.

A call walks from the root down. Where it comes to a way that no call before it has gone, or to one
where Python has to run, it *strays*: Python runs from the beginning, and is fed what the parts have
computed and found so far (`feeding.py`), so that nothing is done twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fanal.compiler.arguments import Arguments, Given
from fanal.compiler.feeding import Record
from fanal.compiler.inputs import Refused
from fanal.compiler.observer.guards import Guards
from fanal.compiler.parts import Leaf, Part
from fanal.compiler.path import Noted, Path
from fanal.compiler.planned import is_quick

# Ways through a function's Python that are kept, and ways at one decision: by a float, by other numbers.
PATHS, FLOATS, NUMBERS = 256, 8, 64
# Parts that differ in nothing but what they read, behind one way.
READINGS = 4
# Calls that went on in Python before it is asked whether parts are worth it.
LOST = 32


class Stray:
    """A call on a way that is not known. `record`: what it did so far; `parts` of the tree that it went
    through; `why`: the reason if Python is to run unwatched."""

    __slots__ = ("parts", "record", "tree", "why")

    def __init__(self, tree: Tree, record: Record, parts: list[Part], why: str | None):
        self.tree, self.record, self.parts, self.why = tree, record, parts, why


class Tree:
    """All known ways of one kind of calls that begin by reading the same."""

    family: Any = None  # its programs are of one size each

    def __init__(self, path: Path, state: Any) -> None:
        self.root = Part([*path.parts, path.now][0], path.given, state)
        self.root.tree = self
        self.plan = self.root.plan
        # Whether native code can begin such calls by itself, from their arguments on.
        self.quick = self.root.run is not None and is_quick(path.given, bool(self.root.generators))
        self.objects = path.given.objects  # named by identity in the key: kept alive
        self.runs = 0  # calls that needed no Python
        self.lost: Counter[str] = Counter()  # and that did, on ways where they always will: why
        self.paths = 0

    def why_not(self, given: Arguments) -> str | None:
        """What has changed since; None if a call can begin."""
        return self.root.why_not(given)

    @property
    def begun(self) -> bool:
        """Whether the first launches of the first program are over, which are timed."""
        run = self.root.run
        return run is not None and not run.segment.samples.open

    def run(self, given: Given, made: Any = None) -> Any:
        """Make a call, whatever `why_not` says: its result, or a Stray. `made`: what the first program
        made, if it has run."""
        tensors: list[Any] = given.tensors.copy()
        values: list[Any] = []
        parts: list[Part] = []
        part = self.root
        while part.python is None:
            begun: Sequence[int] = ()
            if part.generators:
                begun = part.draw(tensors)
            if part.run is not None:
                if made is None:
                    made = self._performed(part, tensors, values, begun)
                if type(made) is not list:
                    return self._stray(parts, tensors, values, None)
                tensors += made
                made = None
            for value in part.values:
                values.append(value(tensors, values))
            for number in part.dead:
                tensors[number] = None
            if part.leaf is not None:
                self.runs += 1
                return part.leaf.reached(tensors, values, given.tensors)
            parts.append(part)
            way = None if part.decision is None else part.decision.of(values)
            for child in part.children.get(way, ()):
                if child.holds(given):
                    part = child
                    break
            else:
                return self._stray(parts, tensors, values, self._full(part, way))
        return self._stray(parts, tensors, values, part.python)

    def _performed(
        self, part: Part, tensors: list[Any], values: list[Any], begun: Sequence[int]
    ) -> list[Any] | None:
        """What a part's program makes; no list if it failed: then Python finds out why."""
        try:
            made = part.perform(tensors, values)
        except Exception:
            made = None
        if type(made) is list:
            return made
        part.give_back(begun)
        del tensors[part.first :]
        return None

    def _stray(
        self, parts: list[Part], tensors: list[Any], values: list[Any], why: str | None
    ) -> Stray:
        return Stray(self, Record(parts, tensors, values), parts, why)

    def _full(self, part: Part, way: Any) -> str | None:
        """Why a way that is not known is not to be kept, if it isn't."""
        if self.paths >= PATHS:
            return "its Python takes too many ways"
        if part.decision is None:
            return None
        limit = FLOATS if part.decision.any_float else NUMBERS
        if len(part.children) >= limit and way not in part.children:
            return "its way depends on a number that is always another one"
        if len(part.children.get(way, ())) >= READINGS:
            return "what it reads changes"
        return None

    @property
    def idle(self) -> bool:
        """Whether most calls need their Python after all."""
        lost = self.lost.total()
        return lost >= LOST and lost > self.runs

    def grow(self, known: Sequence[Part], path: Path, leaf: Leaf | None, why: str | None) -> None:
        """Append what a call did behind some known parts; `leaf` ends it, or Python does, for a reason."""
        if leaf is not None and not path.parts and known == [self.root]:
            self.root.leaf = leaf
            return
        if not known or len(path.parts) < len(known):
            raise Refused("its Python did something else when it ran again", False)
        for part, noted in zip(known, path.parts, strict=False):
            if part.first != noted.first or len(part.values) != len(noted.values):
                raise Refused("its Python did something else when it ran again", False)
        part, noted = known[-1], path.parts[len(known) - 1]
        way = noted.outcome
        for noted in path.parts[len(known) :]:
            part, way = self._appended(part, way, Part(noted, path.given, None)), noted.outcome
        end = Noted(path, Guards()) if leaf is None else path.now
        last = self._appended(part, way, Part(end, path.given, None))
        last.leaf, last.python = leaf, why
        self.paths += 1

    def _appended(self, part: Part, way: Any, child: Part) -> Part:
        part.children[way] = [child, *part.children.get(way, ())]
        return child
