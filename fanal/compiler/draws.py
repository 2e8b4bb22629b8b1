"""Random draws of a call that is replayed: keys made anew from where the generators' streams stand.

Each call has its keys in memory of its own and takes its part of a stream before it runs, so calls of
several threads draw different numbers. A call that fails has drawn nothing, unless somebody drew since.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from struct import pack_into
from typing import Any

from fanal.backends.native.executable import runtime
from fanal.compiler.notes import Notes
from fanal.core import dtypes
from fanal.tensor.layout import layout
from fanal.tensor.tensor import Tensor, new_tensor

_KEY = layout(dtypes.int64, (2,))
_taking = threading.Lock()


class SeededAnew(Exception):
    """The call sets a generator's state, so that its draws don't follow from where it stood."""


class Draws:
    """What one call draws. `places`: the word of each key that the program takes, by the key's id."""

    __slots__ = ("generators", "keys")

    def __init__(self, notes: Notes, places: Mapping[int, int]):
        self.generators: list[tuple[Any, int]] = []  # and how far a call moves its stream
        self.keys: list[tuple[Any, int, int]] = []  # generator, offset in its stream, word
        for key_id, (_, generator, seed, stream) in notes.draws.items():
            first_seed, first = notes.generators[id(generator)][1:]
            if seed != first_seed or stream < first:
                raise SeededAnew
            if key_id in places:
                self.keys.append((generator, stream - first, places[key_id]))
        for generator, seed, first in notes.generators.values():
            if generator._seed != seed or generator._stream < first:
                raise SeededAnew
            self.generators.append((generator, generator._stream - first))

    def take(self) -> tuple[list[Any], dict[int, int]]:
        """A call's keys, in the order of `keys`; and where each generator's stream stood before."""
        if not self.generators:
            return [], {}
        with _taking:
            begun = {id(g): g._stream for g, _ in self.generators}
            for generator, count in self.generators:
                generator._stream += count
        keys = []
        for generator, offset, _ in self.keys:
            key = runtime.empty(16)
            pack_into("2q", key, 0, generator._seed, begun[id(generator)] + offset)
            keys.append(key)
        return keys, begun

    def give_back(self, begun: Mapping[int, int]) -> None:
        """The call that took its part there has failed."""
        with _taking:
            for generator, count in self.generators:
                if generator._stream == begun[id(generator)] + count:
                    generator._stream -= count

    def tensors(self, keys: Sequence[Any]) -> list[tuple[int, Tensor]]:
        """A call's keys as tensors, and their words."""
        return [
            (word, new_tensor(key, _KEY, key.ptr))
            for key, (_, _, word) in zip(keys, self.keys, strict=True)
        ]
