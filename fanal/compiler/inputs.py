"""Where each word that a captured program takes comes from, when the call is made again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fanal.compiler.notes import LiveOptions, Notes
from fanal.compiler.observer.package import tensors_of
from fanal.compiler.observer.places import Slots
from fanal.compiler.observer.watch import Observer
from fanal.core.dispatch import LiveNumber
from fanal.tensor.launching import number_bits
from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Tensor


class Refused(Exception):
    """Why a call can't be replayed; `final`: nor can later ones."""

    def __init__(self, why: str, final: bool = True):
        super().__init__(why)
        self.final = final


class Inputs:
    """The inputs of one program, sorted by where they come from.

    `made(word, x)` takes those that the call makes itself. `words` has the others that are the same at
    every call, `held` the tensors from outside that they belong to.
    """

    def __init__(
        self, inputs: Sequence[Any], arguments: Sequence[Tensor], owners: Mapping[int, Tensor],
        notes: Notes, made: Callable[[int, Any], bool],
    ) -> None:  # fmt: skip
        by_identity = {id(t): i for i, t in enumerate(arguments)}
        by_storage = {id(t._storage): i for i, t in reversed(list(enumerate(arguments)))}
        before = {id(g): p for p, g in notes.grads.values() if isinstance(g, Tensor)}
        # Arguments that the call also finds by another way: they must be the same again.
        self.pinned = [(i, t._storage) for i, t in enumerate(arguments) if id(t._storage) in owners]
        self.words: list[Any] = []
        self.from_arguments: list[tuple[int, int, int]] = []  # word, argument, offset
        self.from_options: list[tuple[int, LiveOptions, int]] = []
        self.from_gradients: list[tuple[int, Tensor]] = []
        self.held: list[Tensor] = []
        for word, x in enumerate(inputs):
            if isinstance(x, LiveNumber):
                entry, number = x.source
                self.from_options.append((word, entry, number))
                self.words.append(float(x))
            elif made(word, x):
                self.words.append(0)
            elif not isinstance(x, Tensor):
                self.words.append(number_bits(x))
            elif id(x) in before:
                self.from_gradients.append((word, before[id(x)]))
                self.words.append(0)
            elif id(x) in by_identity or id(x._storage) in by_storage:
                i = by_identity.get(id(x), by_storage.get(id(x._storage), -1))
                self.from_arguments.append((word, i, x._ptr - arguments[i]._ptr))
                self.words.append(0)
            else:
                owner = owners.get(id(x._storage))
                if owner is None and id(x) not in notes.adopted:
                    raise Refused("a tensor is made by other means than what is captured")
                self.held.append(x if owner is None or owner._ptr != x._ptr else owner)
                self.words.append(x._ptr)


def places(held: Sequence[Tensor], seen: Iterable[tuple[Tensor, Layout]]) -> Slots:
    """Where tensors from outside must be what they are: those that a program takes, and of the others
    that were seen what can be told without their elements."""
    found = Slots(held, ("_storage", "_layout", "_ptr"), Tensor)
    others = {}
    for t, before in seen:
        if t._layout is not before:
            raise Refused("the call changes whether a tensor from outside is on the tape, or its layout", False)
        others[id(t)] = t
    for t in held:
        others.pop(id(t), None)
    found.add(others.values(), ("_layout",), Tensor)
    return found


def owners(observer: Observer, notes: Notes) -> dict[int, Tensor]:
    """Tensors from outside by their storage: seen ones, those of modules and of optimisers."""
    found: dict[int, Tensor] = {}
    for m in observer.package.modules.values():
        for t in tensors_of(m):
            found[id(t._storage)] = t
    for t in observer.package.tensors.values():
        found.setdefault(id(t._storage), t)
    for entry in notes.sequence:
        if isinstance(entry, LiveOptions):
            for p in entry.group["params"]:
                found.setdefault(id(p._storage), p)
                for x in entry.owner.state.get(p, {}).values():
                    if isinstance(x, Tensor):
                        found.setdefault(id(x._storage), x)
    return found
