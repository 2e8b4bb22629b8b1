"""Running a call's Python again whose beginning is done already.

The call went through known parts without Python, up to a way that is not known. Now its Python runs from
the start (it only computes that far), and a recorder feeds it what those parts made and found: programs
are not run a second time, values are those that were read then, keys of random draws those that were
drawn. From there on everything is as in any call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from operator import is_
from struct import pack_into
from typing import TYPE_CHECKING, Any

from fanal.backends.native.executable import runtime
from fanal.compiler.gradient import Pending
from fanal.compiler.notes import Notes
from fanal.compiler.recorder import Recorder
from fanal.compiler.segments import Segment
from fanal.compiler.steps import Step, name
from fanal.core.errors import message
from fanal.tensor.tensor import Tensor

if TYPE_CHECKING:
    from fanal.compiler.parts import Part
    from fanal.compiler.path import Program


class Record:
    """What some parts did in one call."""

    def __init__(self, parts: Sequence[Part], tensors: Sequence[Any], values: Sequence[Any]):
        self.runs: deque[tuple[Program, list[Any]]] = deque()
        self.answers: deque[Any] = deque()
        self.keys: deque[tuple[int, int]] = deque()  # seed and place in the stream
        self.counted: list[Any] = []  # Storages, each as often as its version has counted a write
        found = iter(values)
        for part in parts:
            for generator, _, number in part.keys:
                self.keys.append((generator._seed, tensors[number].tolist()[1]))
            if part.run is not None:
                self.counted += part.counted(tensors)
                memories = [
                    runtime.empty(l.nbytes) if tensors[n] is None else tensors[n]._storage
                    for n, l in part.made
                ]  # what is gone by now is not looked at again
                self.runs.append((part.run, memories))
            # (The iterator goes last: its next value belongs to the next part.)
            self.answers += [x for was, x in zip(part.asked, found, strict=False) if was]


def _same(known: Sequence[Step], path: Sequence[Step]) -> bool:
    """Whether two paths compute the same."""
    if len(known) == len(path) and all(map(is_, known, path)):
        return True
    digest = name(known, None)
    return digest is not None and digest == name(path, None)


def _those(alive: Any, memories: list[Any], wanted: Any) -> list[Any] | None:
    """The memories of the cells that are still alive; None if more of them are than were then."""
    if alive == wanted:
        return memories
    left = list(zip(alive, memories, strict=True))
    found = []
    for cell in wanted:
        at = next((i for i, (known, _) in enumerate(left) if known == cell), None)
        if at is None:
            return None
        found.append(left.pop(at)[1])
    return found


class Fed(Recorder):
    """A recorder that feeds a record before it runs anything."""

    def __init__(self, record: Record, root: Step, notes: Notes | None, owner: Any, kind: Any):
        super().__init__(root, notes, owner, kind)
        for storage in record.counted:  # as Python counts the same writes again
            storage.version -= 1
        # They are taken from it one by one, so that it keeps no memory alive.
        self._runs, self._answers, self._keys = record.runs, record.answers, record.keys
        self._memories: list[Any] | None = None  # of the program that is being fed
        self._wrong: RuntimeError | None = None  # the Python is not the one that was recorded

    def drawn(self, generator: Any, key: Tensor) -> None:
        if not self._keys:
            super().drawn(generator, key)
            return
        seed, place = self._keys.popleft()
        pack_into("2q", key._storage, 0, seed, place)
        stands = generator._stream - 1
        generator._stream = place + 1  # as when it was drawn, for what is noted
        super().drawn(generator, key)
        generator._stream = stands

    def _finish(self, pending: Pending | None) -> None:
        if self._wrong is not None:  # whoever caught it: nothing that follows can be right
            raise self._wrong
        super()._finish(pending)

    def _program(self, key: Any, gradient: Any) -> Segment:
        if not self._runs:
            return super()._program(key, gradient)
        run, memories = self._runs.popleft()
        self._memories = _those(run.key[0], memories, key[0])
        if not _same(run.path, self.path) or run.key[1] != key[1] or self._memories is None:
            self._wrong = RuntimeError(
                message(
                    "compile", "the function's Python did something else when it ran again after a look "
                    "at elements", hint="making it depend on nothing that changes while it runs",
                )
            )  # fmt: skip
            raise self._wrong
        segment: Segment = run.segment
        return segment

    def _run(self, segment: Segment, written: Sequence[Tensor]) -> list[Any]:
        memories, self._memories = self._memories, None
        return super()._run(segment, written) if memories is None else memories

    def _read(self, t: Tensor, read: Any) -> Any:
        return self._answers.popleft() if self._answers else read(t)
