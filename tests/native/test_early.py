"""What a program computes before its first call only: nothing that it has to have run for itself."""

from __future__ import annotations

from fanal.backends.native.early import split
from fanal.backends.native.program import Access, Kernel, ProgramBuilder
from fanal.backends.native.target import host_target
from fanal.core import dtypes

WEIGHT, RESULT, KEPT, FIRST = 0, 1, 2, 3  # arguments; then temporaries


def _early(*phases: tuple[int, int]) -> list[int]:
    """Which of some phases (read, written) run early where the weight is steady."""
    p = ProgramBuilder(host_target(), 3, steady={WEIGHT})
    for _ in range(3):
        p.temp(64)
    for read, written in phases:
        operands = [Access(n, dtypes.float32, (4,), (1,)) for n in (read, written)]
        p.phase(Kernel("copy", lambda b: None), operands, [], writes=operands[1:], alone=True)
    made = list(p.phases)
    return [made.index(phase) for phase in split(p, KEPT).early]


def test_what_follows_from_weights_alone_is_early() -> None:
    assert _early((WEIGHT, FIRST), (FIRST, FIRST + 1), (FIRST + 1, RESULT)) == [0, 1]


def test_what_is_read_of_a_result_is_not() -> None:
    """The result follows from the weight alone, but it is there only when the program itself has run."""
    assert _early((WEIGHT, RESULT), (RESULT, FIRST), (FIRST, FIRST + 1)) == []
