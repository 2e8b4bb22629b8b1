"""What a program keeps between calls: packed weights, tables of offsets, folded normalisations.

It is made by the early part of the program (`backends/native/early.py`) before the first call, and anew
when a tensor that it was made of was written to, or lies open to others (an array of its memory).
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence
from operator import is_
from typing import TYPE_CHECKING, Any

from fanal.backends.native.executable import launch, runtime
from fanal.tensor.launching import raise_status

if TYPE_CHECKING:
    from fanal.compiler.segments import Segment


class Kept:
    """The kept memory of a segment that is called with the same steady tensors again and again."""

    __slots__ = ("count", "lock", "memory", "seen", "segment", "storages")

    def __init__(self, segment: Segment, inputs: Sequence[Any]):
        self.segment = segment
        self.storages = _steady(segment, inputs)
        self.count = len(self.storages)
        records = [word for s in self.storages for word in (id(s), 0, 0)]
        self.seen = array("q", records or [0])
        self.memory: Any = None if segment.executable.kept_bytes else 0
        self.lock = threading.Lock()

    def serves(self, inputs: Sequence[Any]) -> bool:
        """Whether these inputs are the ones that it was made for."""
        return all(map(is_, _steady(self.segment, inputs), self.storages))

    def memory_for(self, words: Sequence[Any]) -> Any:
        """The program's last argument; `words` are those of its inputs, and whatever follows."""
        memory = self.memory
        if memory is not None and runtime.same_contents(self.seen.buffer_info()[0], self.count):
            return memory
        if self.segment.executable.early is None:
            return 0
        return self._made(words)

    def _made(self, words: Sequence[Any]) -> Any:
        """Fill new memory: other threads may be running on what is there."""
        executable = self.segment.executable
        early = executable.early
        assert early is not None
        with self.lock:
            memory = runtime.empty(executable.kept_bytes)
            runtime.note_contents(self.seen.buffer_info()[0], self.count)
            given = [*words, *[0] * (executable.arguments - 1 - len(words)), memory]
            code = launch(early.address, *given)
            if code:
                raise_status("compile", code, early)
            self.memory = memory
            return memory


def _steady(segment: Segment, inputs: Sequence[Any]) -> list[Any]:
    return [inputs[n]._storage for n in segment.steady]
