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


class _Contents:
    """What some Storages hold now, by their versions and by who else may write to them."""

    __slots__ = ("address", "count", "records")

    def __init__(self, storages: Sequence[Any]):
        self.records = array("q", [word for s in storages for word in (id(s), 0, 0)] or [0])
        self.address, self.count = self.records.buffer_info()[0], len(storages)
        runtime.note_contents(self.address, self.count)

    def same(self) -> bool:
        """Whether nobody can have written to them since."""
        return runtime.same_contents(self.address, self.count)


class Kept:
    """The kept memory of a segment that is called with the same steady tensors again and again."""

    __slots__ = ("filled", "lock", "segment", "storages")

    def __init__(self, segment: Segment, inputs: Sequence[Any]):
        self.segment = segment
        keeps = segment.executable.early is not None
        self.storages = _steady(segment, inputs) if keeps else []
        # What the tensors held when the memory was made, and the memory: they change together, as
        # other threads look.
        self.filled: tuple[_Contents, Any] | None = None if keeps else (_Contents([]), 0)
        self.lock = threading.Lock()

    def serves(self, inputs: Sequence[Any]) -> bool:
        """Whether these inputs are the ones that it was made for."""
        return all(map(is_, _steady(self.segment, inputs), self.storages))

    def memory_for(self, words: Sequence[Any]) -> Any:
        """The program's last argument; `words` are those of its inputs, and whatever follows."""
        filled = self.filled
        if filled is not None and filled[0].same():
            return filled[1]
        return self._made(words)

    def _made(self, words: Sequence[Any]) -> Any:
        """Fill new memory: other threads may be running on what is there."""
        executable = self.segment.executable
        early = executable.early
        assert early is not None
        with self.lock:
            contents = _Contents(self.storages)
            memory = runtime.empty(executable.kept_bytes)
            given = [*words, *[0] * (executable.arguments - 1 - len(words)), memory]
            code = launch(early.address, *given)
            if code:
                raise_status("compile", code, early)
            self.filled = contents, memory
            return memory


def _steady(segment: Segment, inputs: Sequence[Any]) -> list[Any]:
    return [inputs[n]._storage for n in segment.steady]
