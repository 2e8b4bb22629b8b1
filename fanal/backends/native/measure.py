"""How long each phase of a program takes: every phase as a program of its own, over one arena.

A measured run computes what an ordinary one does, phase by phase. Each is run several times in turn, so
the memory it is given must be the caller's to spoil.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from typing import Any

from fanal.backends.native.executable import Executable, launch, runtime
from fanal.backends.native.runtime import PHASE_WORDS, PROGRAM_HEADER_WORDS, PROGRAM_MAGIC
from fanal.backends.native.runtime.layout import PROGRAM_WORDS


def phase_times(executable: Executable, words: Sequence[Any], rounds: int = 5) -> list[float]:
    """Seconds of each phase (the least of `rounds`) of a program without loops or branches."""
    table = executable.memory[0]
    arguments, temps = table[PROGRAM_WORDS["n_args"]], table[PROGRAM_WORDS["n_temps"]]
    phases, flags = table[PROGRAM_WORDS["n_phases"]], table[PROGRAM_WORDS["flags"]]
    arena = runtime.empty(max(table[PROGRAM_WORDS["arena_bytes"]], 1))
    offsets = table[PROGRAM_HEADER_WORDS : PROGRAM_HEADER_WORDS + temps]
    given = [*words, *(arena.ptr + o for o in offsets)]
    first = PROGRAM_HEADER_WORDS + temps
    single = []
    for i in range(phases):
        entry = table[first + PHASE_WORDS * i : first + PHASE_WORDS * (i + 1)]
        single.append(
            array("q", [PROGRAM_MAGIC, arguments + temps, 0, 1, flags, 0, 0, 0, *entry])
        )
    found = [float("inf")] * phases
    for _ in range(rounds):
        for i, program in enumerate(single):
            address = program.buffer_info()[0]
            start = time.perf_counter()
            launch(address, *given)
            found[i] = min(found[i], time.perf_counter() - start)
    return found
