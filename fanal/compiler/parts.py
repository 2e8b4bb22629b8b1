"""A part of a call that asks for values, ready to be done again without its Python.

It checks what it read, runs its program on the call's tensors so far, asks for values, and tells by its
decision which part comes next. Gradients and results are only handed out by the last one (`Leaf`): until
then the call can still be given to Python, which finds everything as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import chain
from struct import pack_into
from typing import Any

from fanal.backends.native.executable import runtime
from fanal.compiler.arguments import Arguments, Given
from fanal.compiler.checked import Checked
from fanal.compiler.gradient import Released
from fanal.compiler.inputs import Refused, places
from fanal.compiler.observer.package import ModuleFacts
from fanal.compiler.observer.watch import Observer
from fanal.compiler.path import Noted, Path
from fanal.compiler.plan import Plan, bits
from fanal.compiler.planned import Watched
from fanal.compiler.results import Result
from fanal.core import dtypes
from fanal.tensor.launching import number_bits
from fanal.tensor.layout import Layout, layout
from fanal.tensor.tensor import Tensor, new_tensor

_KEY = layout(dtypes.int64, (2,))
_taking = threading.Lock()
_perform = runtime.perform


class Part(Checked):
    """One part. `children`: by the way that its decision goes, the parts that may follow, the newest
    first (they differ in what they read). `leaf`: what ends the call here. `python`: why Python has to
    run from here on. `tree`: that of a call's first part."""

    tree: Any = None

    def __init__(self, noted: Noted, given: Arguments, state: Any):
        self.state = state
        self.guards = noted.guards
        self.facts = ModuleFacts(noted.modules) if noted.modules or state is not None else None
        self.entry, self.options = noted.entry, noted.options
        self.run, inputs = noted.run, noted.inputs
        self.kept = None if self.run is None else self.run.kept
        self.from_options = [] if inputs is None else inputs.from_options
        self.pinned = [] if inputs is None else inputs.pinned
        self.words = [] if inputs is None else inputs.words
        self.held = [*([] if inputs is None else inputs.held), *noted.held]
        self.known = {id(t._storage) for t in self.held}
        self.places = places(self.held, noted.seen)
        self.caller = [slot for _, slot in noted.from_values]
        self.first, self.made, self.keys = noted.first, noted.made, noted.keys
        self.generators = list(noted.generators.values())
        self.written = [x for kind, x in noted.written if kind == "held"]
        self.written_given = [x for kind, x in noted.written if kind == "given"]
        self.added_to = [] if inputs is None else [p for _, p in inputs.from_gradients]
        self.values, self.asked = noted.values, noted.asked
        self.decision, self.dead = noted.decision, noted.dead
        self.children: dict[Any, list[Part]] = {}
        self.leaf: Leaf | None = None
        self.python: str | None = None
        self.plan = _planned(self, noted, given)
        self.watched = Watched(self)
        self.samples = None if self.run is None else self.run.segment.samples
        # Whether there is anything that may have changed.
        self.checks = bool(
            state is not None or len(self.guards) or len(self.places.records) or self.entry
            or self.options or self.pinned or (self.kept is not None and self.kept.place)
        )  # fmt: skip

    def holds(self, given: Given) -> bool:
        """Whether what it read is as it was."""
        return not self.checks or self.why_not(given) is None

    def draw(self, tensors: list[Any]) -> list[int]:
        """Take its part of random streams and append the keys; where the streams stood before."""
        with _taking:
            begun = [g._stream for g, _, _ in self.generators]
            for generator, begin, end in self.generators:
                generator._stream += end - begin
        streams = {id(g): at for (g, _, _), at in zip(self.generators, begun, strict=True)}
        for generator, offset, _ in self.keys:
            key = runtime.empty(16)
            pack_into("2q", key, 0, generator._seed, streams[id(generator)] + offset)
            tensors.append(new_tensor(key, _KEY, key.ptr))
        return begun

    def counted(self, tensors: Sequence[Any]) -> list[Any]:
        """The Storages from outside whose version its program has counted up."""
        gradients = [p._grad._storage for p in self.added_to if p._grad is not None]
        given = [tensors[i]._storage for i in self.written_given if tensors[i] is not None]
        return [*self.written, *given, *gradients]

    def give_back(self, begun: Sequence[int]) -> None:
        """It has failed: it has drawn nothing, unless somebody drew since."""
        with _taking:
            for (generator, begin, end), at in zip(self.generators, begun, strict=True):
                if generator._stream == at + end - begin:
                    generator._stream = at

    def perform(self, tensors: list[Any], values: Sequence[Any]) -> Any:
        """Run its program: the tensors that come out, or the code of its failure."""
        assert self.run is not None
        words = tuple([number_bits(values[slot]) for slot in self.caller]) if self.caller else ()
        if self.samples is not None:  # the first launches are timed
            segment = self.run.segment
            if segment.samples.open:
                return segment.samples.of(
                    segment.executable, lambda at: self.plan.perform(tensors, words, at)
                )
            self.samples = None
        return _perform(self.plan.address, tensors, words, 0)


def _planned(part: Part, noted: Noted, given: Arguments) -> Plan:
    """What a part checks, and what its program is given and makes."""
    arguments, fixed = len(given.tensors), given.fixed()
    if noted.run is None or noted.inputs is None:
        sections: dict[str, Any] = {"known": sorted(part.known)}
        return Plan({"owner": id(part), "tensors": arguments}, sections, [part.held])
    segment = noted.run.segment
    fields = {
        "program": segment.executable.address, "owner": id(part), "kept": noted.run.kept.place,
        "tensors": arguments, "handed": len(segment.sizes),
    }  # fmt: skip
    results: list[int] = []
    for i, (_, l) in enumerate(noted.made):
        results += (i, id(l), 0, id(None), id(0))
    sections = {
        "given": [w for kind, x in fixed or () for w in (0 if kind is None else id(kind), id(x))],
        "pinned": [w for i, storage in part.pinned for w in (i, id(storage))],
        "known": sorted(part.known),
        "words": map(bits, part.words),
        "from_given": chain.from_iterable(noted.inputs.from_arguments),
        "from_grads": [w for word, p in noted.inputs.from_gradients for w in (word, id(p))],
        "from_caller": [word for word, _ in noted.from_values],
        "fresh": segment.sizes,
        "written": map(id, part.written),
        "written_given": part.written_given,
        "results": results,
    }
    return Plan(fields, sections, [part, noted.made, noted.inputs, fixed])


class Leaf:
    """The end of a call: its result, the gradients that it leaves, what it appends to lists."""

    def __init__(self, path: Path, result: Any, observer: Observer):
        self.lists = [container for container, _ in path.effects]
        self.result = Result(path.handed_out(result), path.given, observer)
        named: dict[int, int] = {}  # tensors that are handed out, by identity
        self.tensors: list[tuple[int, Layout, int, Any]] = []  # number, layout, offset, node
        for t in self.result.tensors:
            number = path.number_of(t)
            if number is None:
                raise Refused("the result is a view of a tensor from outside")
            node = t._node
            if node is not None and not isinstance(node, Released):
                raise Refused("the result can be differentiated")
            named[id(t)] = len(self.tensors)
            self.tensors.append((number, t._layout, t._ptr - t._storage.ptr, node))
        self.gradients: list[tuple[Tensor, int | None]] = []  # of whom, which of the tensors
        for p, before in path.notes.grads.values():
            g = p._grad
            if g is before:
                continue
            if g is None:
                self.gradients.append((p, None))
                continue
            if id(g) not in named:
                number = path.number_of(g)
                if number is None or g._node is not None:
                    raise Refused("a gradient is not the call's own")
                named[id(g)] = len(self.tensors)
                self.tensors.append((number, g._layout, g._ptr - g._storage.ptr, None))
            self.gradients.append((p, named[id(g)]))
        before = g = t = None  # type: ignore[assignment]
        path.gone()
        used = {number for number, *_ in self.tensors} | {
            key[2] for part in (*path.parts, path.now) for key in part.keys
        }
        if any(number not in used for number, _ in path.made.values()):
            raise Refused("a tensor that the call makes is kept elsewhere, or for a gradient")
        for x in [reference() for reference in path.tensors]:
            if x is not None and id(x) not in named:
                raise Refused("a tensor that the call makes is kept elsewhere")
        self.result.forget()

    def reached(self, tensors: list[Any], values: Sequence[Any], given: Sequence[Tensor]) -> Any:
        """End a call with these tensors and values."""
        made = []
        for number, kind, offset, node in self.tensors:
            t = tensors[number]
            if offset or t._layout is not kind or t._node is not None or node is not None:
                t = new_tensor(t._storage, kind, t._storage.ptr + offset)
                t._node = None if node is None else Released(node.name)
            made.append(t)
        for p, which in self.gradients:
            p._grad = None if which is None else made[which]
        found = self.result.again(made, given, values)
        if self.lists:
            found, added = found
            for container, x in zip(self.lists, added, strict=True):
                container.append(x)
        return found
