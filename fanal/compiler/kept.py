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
from fanal.backends.native.pages import Pages
from fanal.backends.native.runtime.layout import BLOCK_RECORDS
from fanal.tensor.launching import raise_status

if TYPE_CHECKING:
    from fanal.compiler.segments import Segment


class _Block:
    """Memory, and what some Storages hold while it is filled, by their versions and by who else may
    write to them: as the runtime reads it (`BLOCK_RECORDS`)."""

    __slots__ = ("address", "count", "memory", "shared", "words")

    def __init__(self, memory: Any, storages: Sequence[Any], shared: bool = False):
        self.memory, self.count, self.shared = memory, len(storages), shared
        self.words = array("q", [self.count, id(memory)])
        self.words.extend([word for s in storages for word in (id(s), 0, 0)])
        self.address = self.words.buffer_info()[0]
        runtime.note_contents(self.address + BLOCK_RECORDS, self.count)

    def same(self) -> bool:
        """Whether nobody can have written to them since."""
        return runtime.same_contents(self.address + BLOCK_RECORDS, self.count)


class Kept:
    """The kept memory of a segment that is called with the same steady tensors again and again."""

    __slots__ = ("_place", "filled", "lock", "segment", "storages")

    def __init__(self, segment: Segment, storages: Sequence[Any]):
        self.segment = segment
        keeps = segment.executable.early is not None
        self.storages = list(storages) if keeps else []
        # The memory and what the tensors held when it was made, for Python and (the address) for native
        # code. They change at once, as other threads look.
        self.filled: _Block | None = None
        self._place = array("q", [0]) if keeps else None
        self.lock = threading.Lock()

    @property
    def place(self) -> int:
        """The address of a word: the address of the present block; 0 where nothing is kept."""
        return 0 if self._place is None else self._place.buffer_info()[0]

    def serves(self, inputs: Sequence[Any]) -> bool:
        """Whether these inputs are the ones that it was made for."""
        return all(map(is_, steady_storages(self.segment, inputs), self.storages))

    def memory_for(self, words: Sequence[Any]) -> Any:
        """The program's last argument; `words` are those of its inputs, and whatever follows."""
        if self._place is None:
            return 0
        filled = self.filled
        if filled is not None and filled.same():
            return filled.memory
        return self._made(words)

    def _made(self, words: Sequence[Any]) -> Any:
        """Fill new memory: other threads may be running on what is there."""
        executable = self.segment.executable
        early = executable.early
        assert early is not None and self._place is not None
        with self.lock:
            memory = runtime.empty(executable.kept_bytes)
            block = _Block(memory, self.storages)
            given = [*words, *[0] * (executable.arguments - 1 - len(words)), memory]
            code = launch(early.address, *given)
            if code:
                raise_status("compile", code, early)
            self._put(block)
            return memory

    def share(self, pages: Pages) -> None:
        """Hold what is there in pages that others have too."""
        with self.lock:
            before = self.filled
            if before is None or before.shared or not before.same():
                return
            self._put(_Block(pages.held(before.memory), self.storages, True))

    def _put(self, block: _Block) -> None:
        """Have it found in the place of the present one. Under the lock."""
        assert self._place is not None
        before, self.filled = self.filled, block
        self._place[0] = block.address
        del before  # only now: nobody finds it any more


def steady_storages(segment: Segment, inputs: Sequence[Any]) -> list[Any]:
    """The memory of those of a program's inputs that are taken not to change."""
    return [inputs[n]._storage for n in segment.steady]
