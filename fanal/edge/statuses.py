"""What a call can come to, in numbers, names and sentences."""

from __future__ import annotations

from typing import NamedTuple

from fanal.backends.native.program import STATUS_DIVISION, STATUS_INDEX


class Status(NamedTuple):
    """A status; `name` stands behind the library's own name."""

    code: int
    name: str
    text: str


STATUSES = (
    Status(0, "OK", "all went well"),
    Status(STATUS_DIVISION, "DIVISION", "an integer was divided by zero"),
    Status(STATUS_INDEX, "INDEX", "an index was out of range"),
    Status(3, "ARENA", "the arena is too small: see the library's function for its bytes"),
    Status(4, "MISALIGNED", "memory is not aligned: arena, weights and state to 64 bytes, the rest to its elements"),
    Status(5, "NULL", "a pointer that is needed is null"),
    Status(6, "LEVEL", "this library has no code for the instruction-set level that was asked for"),
    Status(7, "WEIGHTS", "these are not the weights that this library was built with"),
    Status(8, "GOLDEN", "this is not the golden file that belongs to this library"),
    Status(9, "DIFFERS", "a result is not what it should be"),
    Status(10, "COUNT", "another number of dimensions was expected"),
    Status(11, "SIZES", "these sizes of dimensions do not go together"),
)
# From here on: the number of the dimension that is out of its range.
BAD_DIM = 64
_UNKNOWN = "no status of this library"
_OF_DIM = "a dimension is out of its range"

CONSTANTS = {
    **{f"STATUS_{s.name}": s.code for s in STATUSES},
    "STATUSES": len(STATUSES),
    "STATUS_BAD_DIM": BAD_DIM,
}


def texts() -> bytes:
    """All sentences as the library holds them: in order, then that of unknown ones, then that of dims."""
    assert [s.code for s in STATUSES] == list(range(len(STATUSES)))
    return b"".join(t.encode() + b"\0" for t in (*(s.text for s in STATUSES), _UNKNOWN, _OF_DIM))
