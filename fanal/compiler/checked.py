"""What is checked before something captured is done again: natively, and in Python for the reason."""

from __future__ import annotations

from typing import Any

from fanal.autograd.mode import mode
from fanal.compiler.arguments import Given
from fanal.compiler.notes import LiveOptions
from fanal.compiler.observer.guards import Guards
from fanal.compiler.observer.package import ModuleFacts
from fanal.compiler.observer.places import Slots
from fanal.compiler.plan import HOLDS, NOT_KEPT, Plan
from fanal.compiler.planned import Watched
from fanal.core import dtypes
from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Tensor


def process_state() -> tuple[Any, ...]:
    """What every computation depends on besides its inputs."""
    return (mode.enabled, mode.inference, dtypes.get_default_dtype())


class Checked:
    """Something captured, and all that it read from outside. `state`, `facts`: None where it is a part
    of a call before which somebody else has looked at them."""

    state: tuple[Any, ...] | None
    guards: Guards
    facts: ModuleFacts | None
    places: Slots
    entry: list[tuple[Tensor, Layout | None]]  # whether tensors have gradients at the beginning
    options: list[LiveOptions]
    from_options: list[tuple[int, LiveOptions, int]]
    pinned: list[tuple[int, Any]]
    known: set[int]
    words: list[Any]
    kept: Any
    plan: Plan
    watched: Watched

    def why_not(self, given: Given) -> str | None:
        """What has changed since; None if it can be done again now."""
        held = self.plan.holds(given.tensors)
        if held not in (HOLDS, NOT_KEPT):
            self.watched.look_again()
            held = self.plan.holds(given.tensors)
        if held not in (HOLDS, NOT_KEPT):
            why = self.changed(given)
            if why is not None:
                return why
            self.watched.write()  # something equal stands in another's place
        if held != HOLDS and self.kept is not None:
            self.kept.memory_for(self.words)
        return None

    def changed(self, given: Given) -> str | None:
        """The same in Python, of all but the arguments' sizes, and with a reason."""
        if self.state is not None and process_state() != self.state:
            return "gradients are recorded otherwise, or the default dtype changed"
        if self.facts is not None and not self.facts.hold():
            return "a module changed"
        why = self.guards.failed()
        if why is not None:
            return why
        if not self.places.same():
            return "a tensor was replaced"
        for p, before in self.entry:
            if (None if p._grad is None else p._grad._layout) is not before:
                return "a gradient is there at the beginning, or none"
        for entry in self.options:
            if not entry.holds():
                return "an option of the optimiser changed"
        if not all(given.tensors[i]._storage is s for i, s in self.pinned):
            return "an argument is no longer the model's own"
        if any(id(t._storage) in self.known for t in given.tensors):
            return "an argument shares memory with the model"
        return None
