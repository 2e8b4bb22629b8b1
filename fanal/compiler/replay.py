"""A captured call that only computes, without its Python: check what it read, launch, hand out.

Made from what was noted and observed of one call. `Replay.refusal` says why there is none.
"""

from __future__ import annotations

from operator import is_
from typing import Any

from fanal.autograd.mode import mode
from fanal.backends.native.executable import runtime
from fanal.compiler.arguments import Arguments
from fanal.compiler.draws import Draws, SeededAnew
from fanal.compiler.gradient import Released
from fanal.compiler.notes import UNREAD, LiveOptions, Notes
from fanal.compiler.observer.package import ModuleFacts
from fanal.compiler.observer.places import Slots
from fanal.compiler.observer.watch import Observer
from fanal.compiler.results import Result
from fanal.core import dtypes
from fanal.core.dispatch import LiveNumber
from fanal.tensor.launching import number_bits, raise_status
from fanal.tensor.layout import Layout
from fanal.tensor.recording import OpNode
from fanal.tensor.tensor import Tensor, new_tensor

_empty = runtime.empty
ASKED = "the call asks for the value of a tensor"


class Refused(Exception):
    """Why a call can't be replayed; `final`: nor can later ones."""

    def __init__(self, why: str, final: bool = True):
        super().__init__(why)
        self.final = final


def process_state() -> tuple[Any, ...]:
    """What every computation depends on besides its inputs."""
    return (mode.enabled, mode.inference, dtypes.get_default_dtype())


class Replay:
    """One call, ready to be made again."""

    def __init__(
        self, notes: Notes, observer: Observer, given: Arguments, result: Any, state: Any
    ) -> None:
        if observer.impure is not None:
            why, line = observer.impure
            raise Refused(why + (f" ({line[0]}:{line[1]})" if line else ""))
        if notes.refused is not None:
            raise Refused(notes.refused, False)
        if process_state() != state:
            raise Refused("the call changes whether gradients are recorded, or the default dtype")
        if notes.asked:
            raise Refused(ASKED)
        if len(notes.runs) != 1:
            raise Refused("nothing is computed")
        self.state = state
        self.runs = 0
        self.guards = observer.guards
        self.facts = ModuleFacts(list(observer.package.modules.values()))
        self.sequence = notes.sequence
        self.options = [e for e in notes.sequence if isinstance(e, LiveOptions)]
        self.objects = given.objects  # named by identity in the key: kept alive
        (run,) = notes.runs
        self.segment = run.segment
        self.kept = run.segment.kept_for(run.inputs)
        self._inputs(run.inputs, notes, observer, given)
        self._outputs(run, notes, result, given, observer)
        try:
            self.draws = Draws(notes, self.keys)
        except SeededAnew:
            raise Refused("the random generator is seeded anew") from None
        self.result.forget()

    # -- making -------------------------------------------------------------------------------------------

    def _inputs(self, inputs: list[Any], notes: Notes, observer: Observer, given: Arguments) -> None:
        """Where each word that the program takes comes from."""
        known = owners(observer, notes)
        arguments = {id(t): i for i, t in enumerate(given.tensors)}
        by_storage = {id(t._storage): i for i, t in reversed(list(enumerate(given.tensors)))}
        before = {id(g): p for p, g in notes.grads.values() if isinstance(g, Tensor)}
        # Arguments that the call also finds by another way: they must be the same again.
        self.pinned = [
            (i, t._storage) for i, t in enumerate(given.tensors) if id(t._storage) in known
        ]
        self.words: list[Any] = []
        self.from_arguments: list[tuple[int, int, int]] = []  # word, argument, offset
        self.from_options: list[tuple[int, LiveOptions, int]] = []
        self.from_gradients: list[tuple[int, Tensor]] = []
        self.held: list[Tensor] = []
        self.keys: dict[int, int] = {}  # words of keys of random draws, by the key's id
        for word, x in enumerate(inputs):
            if isinstance(x, LiveNumber):
                entry, number = x.source
                self.from_options.append((word, entry, number))
                self.words.append(float(x))
            elif not isinstance(x, Tensor):
                self.words.append(number_bits(x))
            elif id(x) in before:
                self.from_gradients.append((word, before[id(x)]))
                self.words.append(0)
            elif id(x) in notes.draws:
                self.keys[id(x)] = word
                self.words.append(0)
            elif id(x) in arguments or id(x._storage) in by_storage:
                i = arguments.get(id(x), by_storage.get(id(x._storage), -1))
                self.from_arguments.append((word, i, x._ptr - given.tensors[i]._ptr))
                self.words.append(0)
            else:
                owner = known.get(id(x._storage))
                if owner is None and id(x) not in notes.adopted:
                    raise Refused("a tensor is made by other means than what is captured")
                self.held.append(x if owner is None or owner._ptr != x._ptr else owner)
                self.words.append(x._ptr)
        self.storages = [t._storage for t in self.held]
        self.layouts = [t._layout for t in self.held]
        self.pointers = [t._ptr for t in self.held]
        self.known = set(map(id, self.storages))
        self.places = Slots(self.held, ("_storage", "_layout", "_ptr"), Tensor)

    def _outputs(
        self, run: Any, notes: Notes, result: Any, given: Arguments, observer: Observer
    ) -> None:
        """What becomes of each cell that lives on: a result, a gradient; nothing else may hold one."""
        self.gradient = run.gradient
        cells = {id(c): i for i, c in enumerate(run.alive)}
        self.result = Result(result, given, observer)
        explained: dict[int, Any] = {}
        self.leaves: list[tuple[int, Any, int, Any]] = []  # cell, layout, offset, node
        storages = {id(c.real): i for i, c in enumerate(run.alive)}
        for t in self.result.tensors:
            i = storages.get(id(t._storage))
            if i is None:
                raise Refused("the result is a view of a tensor from outside")
            node: Any = None
            if run.gradient is not None and isinstance(t._node, OpNode) and t._node.plan is run.gradient:
                node = t._index
            elif t._node is not None:
                if not isinstance(t._node, Released):
                    raise Refused("the result can be differentiated")
                node = Released(t._node.name)
            self.leaves.append((i, t._layout, t._ptr - t._storage.ptr, node))
            explained[id(t)] = t
        self.gradients: list[tuple[Tensor, int | None, Any]] = []
        self.entry: list[tuple[Tensor, Layout | None]] = []
        for p, before in notes.grads.values():
            g = None if p._rare is None else p._rare.grad
            if before is not UNREAD:
                self.entry.append((p, None if before is None else before._layout))
            if g is None:
                self.gradients.append((p, None, None))
            elif g is before:
                continue
            else:
                i = storages.get(id(g._storage))
                if i is None or g._ptr != g._storage.ptr:
                    raise Refused("a gradient is not the call's own")
                self.gradients.append((p, i, g._layout))
                explained[id(g)] = g
        for t in run.tensors:
            if id(t) not in explained:
                raise Refused("a tensor that the call makes is kept elsewhere")
        used = {i for i, *_ in self.leaves} | {i for _, i, _ in self.gradients if i is not None}
        if used != set(cells.values()):
            raise Refused("a tensor that the call makes is kept for a gradient")
        self.written = [t._storage for t in run.written]
        entered = {id(g._storage) for _, g in notes.grads.values() if isinstance(g, Tensor)}
        for t in run.written:
            if id(t._storage) in entered:
                continue
            if id(t._storage) not in self.known and not any(
                t._storage is a._storage for a in given.tensors
            ):
                raise Refused("a tensor is written to that is not read")
        self.written_arguments = [
            i for i, a in enumerate(given.tensors) if any(a._storage is s for s in self.written)
        ]
        self.written = [s for s in self.written if id(s) in self.known]
        self.sizes = run.segment.sizes
        self.cell_count = len(run.alive)
        # Of the operands that its node on the tape has, those that are not a call's own.
        self.operands = [] if self.gradient is None else list(run.inputs)
        for word, _, offset in self.from_arguments if self.operands else ():
            if offset == 0:
                self.operands[word] = None
        if run.segment.others:
            raise Refused("a tensor is written to that is not read")

    # -- running ------------------------------------------------------------------------------------------

    def why_not(self, given: Arguments) -> str | None:
        """What has changed since; None if the call can be replayed."""
        if process_state() != self.state:
            return "gradients are recorded otherwise, or the default dtype changed"
        if not self.facts.hold():
            return "a module changed"
        why = self.guards.failed()
        if why is not None:
            return why
        held = self.held
        if not self.places.same() and (
            [t._ptr for t in held] != self.pointers
            or not all(map(is_, [t._layout for t in held], self.layouts))
            or not all(map(is_, [t._storage for t in held], self.storages))
        ):
            return "a tensor was replaced"
        for p, before in self.entry:
            g = None if p._rare is None else p._rare.grad
            if (None if g is None else g._layout) is not before:
                return "a gradient is there at the beginning, or none"
        for entry in self.options:
            if not entry.holds():
                return "an option of the optimiser changed"
        if not all(given.tensors[i]._storage is s for i, s in self.pinned):
            return "an argument is no longer the model's own"
        if any(id(t._storage) in self.known for t in given.tensors):
            return "an argument shares memory with the model"
        return None

    def run(self, given: Arguments) -> Any:
        """The call's effects and its result."""
        self.runs += 1
        words = self.words.copy()
        tensors = given.tensors
        for word, i, offset in self.from_arguments:
            words[word] = tensors[i]._ptr + offset
        for word, p in self.from_gradients:
            words[word] = p._rare.grad._ptr  # type: ignore[union-attr]
            p._rare.grad._storage.version += 1  # type: ignore[union-attr]
        numbers: dict[int, list[float]] = {}
        for event in self.sequence:
            if isinstance(event, LiveOptions):
                numbers[id(event)] = event.numbers()
        for word, entry, i in self.from_options:
            words[word] = numbers[id(entry)][i]
        memories = [_empty(n) for n in self.sizes]
        words += memories
        words.append(self.kept.memory_for(words))
        draws = self.draws
        begun = draws.take(words) if draws.generators else {}
        # Before the call: Ctrl-C between it and a later line must not leave changed memory that looks
        # unchanged to what is kept of it. (A version too many is only packed once more.)
        for storage in self.written:
            storage.version += 1
        for i in self.written_arguments:
            tensors[i]._storage.version += 1
        try:
            code = self.segment.launch(words)
        except Exception:
            draws.give_back(begun)
            raise
        if code:
            draws.give_back(begun)
            raise_status("compile", code, self.segment.executable)
        for event in self.sequence:
            if not isinstance(event, LiveOptions):
                event()
        for p, number, where in self.gradients:
            if number is not None:
                memory = memories[number]
                p._extra().grad = new_tensor(memory, where, memory.ptr)
            elif p._rare is not None:
                p._rare.grad = None
        results = []
        for number, where, offset, node in self.leaves:
            memory = memories[number]
            t = new_tensor(memory, where, memory.ptr + offset)
            if type(node) is int:
                t._index = node
            else:
                t._node = node
            results.append(t)
        if self.gradient is not None:
            self._recorded(given, words, results, memories)
        return self.result.again(results, given)

    def _recorded(
        self, given: Arguments, words: list[Any], results: list[Tensor], memories: list[Any]
    ) -> None:
        """Put the call on the tape: one node for the results that can be differentiated."""
        operands = self.operands.copy()
        for word, i, offset in self.from_arguments:
            operands[word] = given.tensors[i] if offset == 0 else operands[word]
        for word, key in self.draws.tensors(words):
            operands[word] = key
        visible = [t for t, leaf in zip(results, self.leaves, strict=True) if type(leaf[3]) is int]
        places = [(t._storage, t._ptr) for t in sorted(visible, key=lambda t: t._index)]
        places += [(m, m.ptr) for m in memories[self.cell_count :]]
        node = self.gradient.node(operands, places)
        for t in visible:
            t._node = node


def owners(observer: Observer, notes: Notes) -> dict[int, Tensor]:
    """Tensors from outside by their storage: seen ones, those of modules and of optimisers."""
    found: dict[int, Tensor] = {}
    for m in observer.package.modules.values():
        for table in ("_parameters", "_buffers"):
            for t in m.__dict__.get(table, {}).values():
                if t is not None:
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
