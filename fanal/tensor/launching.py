"""What passes between Python and a launched program besides pointers: numbers in, errors out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanal.backends.native.host import taken_error
from fanal.backends.native.program import (
    DIVISIONS,
    STATUS_DIVISION,
    STATUS_HOST,
    STATUS_INDEX,
)
from fanal.core.errors import DivisionError, OutOfRangeError, message
from fanal.graph.origin import Origin

if TYPE_CHECKING:
    from fanal.backends.native.executable import Table

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
# PyTorch's functions of one index an element raise RuntimeError, those of slices IndexError.
_EITHER = frozenset(["gather", "scatter", "scatter_add", "scatter_reduce", "take_along_dim"])


def number_bits(x: Any) -> Any:
    """A by-value number as the launcher takes it: int64 or float."""
    if type(x) is int and not _INT64_MIN <= x <= _INT64_MAX:
        if x > 2**64 - 1 or x < _INT64_MIN:
            raise OverflowError(message("fanal", "a number that no dtype holds", x))
        return x - 2**64
    return x


def raise_status(name: str, code: int, program: Table | None = None) -> None:
    """The error that a kernel reported: a code, 55 bits of what it saw, and the number of its phase.

    For the `program` of a captured function, it names the operation and the user's line.
    """
    kind, info, phase = code & 0xFF, code >> 8 & (1 << 55) - 1, code >> 63
    found = [] if program is None else _origins(program, phase, kind)
    name = (found[0].operation if found else name).lstrip("_")
    where = f" At {_places(found)}." if found else ""
    if kind == STATUS_HOST:
        error = taken_error()
        if where:
            error.add_note(f"[{name}]{where}")
        raise error
    if kind == STATUS_DIVISION:
        raise DivisionError(
            message(name, "integer division by zero", hint="checking the divisor, or floats") + where
        )
    # Negative indices were counted from the end already, so their own value is not known here.
    got = str(info) if info < 1 << 54 else "one before the first element"
    raise (OutOfRangeError if name in _EITHER else IndexError)(
        message(
            name, "index out of range", got, "an index within the dimension that it selects from",
            "checking indices, labels or the table's size",
        )
        + where
    )


# Kinds of primitives, or names, that report each status.
_REPORTS = {
    STATUS_DIVISION: DIVISIONS,
    STATUS_INDEX: frozenset(["gather", "scatter"]),
    STATUS_HOST: frozenset(["host"]),
}


def _origins(program: Table, phase: int, kind: int) -> list[Origin]:
    """Where the operations come from that may have failed in a phase, each line once."""
    nodes = program.description.phases[phase].nodes
    able = [
        n for n in nodes if {n.primitive.name, n.primitive.kind} & _REPORTS.get(kind, frozenset())
    ]
    return list(dict.fromkeys(n.origin for n in able or nodes if n.origin is not None))


def _places(origins: list[Origin]) -> str:
    return " or ".join(f"{o.file}:{o.line}, in {o.function}" for o in origins)
