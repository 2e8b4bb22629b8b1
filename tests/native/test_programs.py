"""Programs of loop kernels: what is the same value is computed once."""

from __future__ import annotations

from fanal.backends.native.loops.expression import Load, Op, Ramp
from fanal.backends.native.loops.structure import Program
from fanal.backends.native.program import Access
from fanal.core import dtypes

SHAPE = (1, 4, 8)


def _value(strides: tuple[int, ...]) -> Op:
    """exp(memory + index), walked by `strides`."""
    load = Load(dtypes.float32, SHAPE, Access(0, dtypes.float32, SHAPE, strides))
    ramp = Ramp(dtypes.float32, SHAPE, strides)
    total = Op(dtypes.float32, SHAPE, "add", (load, ramp), dtypes.float32)
    return Op(dtypes.float32, SHAPE, "exp", (total,), dtypes.float32)


def test_a_value_reached_by_two_ways_is_computed_once() -> None:
    """A stride along an extent of 1 is never taken, so it makes no other value."""
    program = Program()
    first = program.add(_value((32, 8, 1)), {}, {})
    assert program.add(_value((0, 8, 1)), {}, {}) == first
    assert [i[0] for i in program.instructions] == ["load", "ramp", "op", "op"]
    assert program.add(_value((32, 1, 4)), {}, {}) != first
