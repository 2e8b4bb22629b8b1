"""Offset tables: what an operand adds to its address at every index of an axis with several loops.

All tables of a program's contraction are written by one phase, `[index] = Σ digit · step · itemsize`
as 64-bit bytes. A task writes one chunk of one table; it walks the innermost loop and divides only
where that loop starts again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.backends.native.contract.dims import Steps
from fanal.backends.native.emit import Builder
from fanal.backends.native.program import Access, Kernel, ProgramBuilder
from fanal.core.dtypes import int64

CHUNK = 4096
MAX_LOOPS = 8
MAX_TABLES = 12
# A record: first task, operand, entries, loops, then for every loop, innermost first, its
# extent, its step, and 0 or the place of its list of steps among the words.
_HEAD = 4
_LOOP = 3
_RECORD = _HEAD + _LOOP * MAX_LOOPS


class Tables:
    """Collects the tables that the phases to come need, equal ones once."""

    def __init__(self, p: ProgramBuilder):
        self.p = p
        self._known: dict[tuple[object, ...], Access] = {}
        self._pending: list[tuple[Access, Sequence[tuple[int, Steps]]]] = []

    def offsets(self, loops: Sequence[tuple[int, Steps]], count: int, itemsize: int) -> Access:
        """The table of a walk: `loops` are (extent, step in elements), outermost first."""
        loops = tuple((extent, _scaled(step, itemsize)) for extent, step in loops if extent != 1)
        if loops and isinstance(loops[-1][1], tuple):
            loops = (*loops, (1, 0))  # the innermost loop is one with a step
        if len(loops) > MAX_LOOPS:
            raise ValueError(f"[contract] too many loops on one axis: got {len(loops)}.")
        key = (loops, count)
        if key not in self._known:
            # Kernels read whole vectors of offsets: a table goes on to the next multiple of 32.
            length = -(-count // 32) * 32
            self._known[key] = self.p.temp_like(int64, (length,))
            self._pending.append((self._known[key], loops))
        return self._known[key]

    def emit(self) -> None:
        """Append the phases that write the tables asked for since the last call."""
        pending, self._pending = self._pending, []
        for start in range(0, len(pending), MAX_TABLES):
            self._phase(pending[start : start + MAX_TABLES])

    def _phase(self, pending: list[tuple[Access, Sequence[tuple[int, Steps]]]]) -> None:
        words, tasks = [len(pending)], 0
        lists: list[int] = []
        for number, (table, loops) in enumerate(pending):
            record = [tasks, number, table.shape[0], len(loops)]
            for extent, step in reversed(loops):
                if isinstance(step, tuple):
                    record += (extent, 0, 1 + len(pending) * _RECORD + len(lists))
                    lists += step
                else:
                    record += (extent, step, 0)
            words += record + [0] * (_RECORD - len(record))
            tasks += -(-table.shape[0] // CHUNK)
        kernel = Kernel("contract.tables", emit_tables)
        # The operands are named so that the program knows when the temporaries live.
        operands = [table for table, _ in pending]
        operands += [operands[0]] * (MAX_TABLES - len(operands))
        self.p.phase(kernel, operands, words + lists, tasks, operands, alone=True)


def _scaled(step: Steps, itemsize: int) -> Steps:
    return tuple(x * itemsize for x in step) if isinstance(step, tuple) else step * itemsize


def emit_tables(b: Builder) -> None:
    """A task: find the record that it belongs to, then write its chunk."""
    desc, task = b.arg("desc"), b.arg("task")
    base = b.at(desc, 2 * MAX_TABLES, "i64")
    count = b.load("i64", base)
    find = b.loop(1, count, 1, [b.i64(0)])
    with find as (i, best):
        first = b.load("i64", b.at(base, i * _RECORD + 1, "i64"))
        find.next(b.select(first.le(task), i, best))
    record = b.at(base, find.results[0] * _RECORD + 1, "i64")

    def field(index: int) -> Any:
        return b.load("i64", b.at(record, index, "i64"))

    operand = b.at(desc, 2 * field(1), "i64")
    buffer = b.load("ptr", b.at(b.arg("bufs"), b.load("i64", operand), "i64"))
    out = b.at(buffer, b.load("i64", b.at(operand, 1, "i64")))
    loops = field(3)
    start = (task - field(0)) * CHUNK
    stop = start + CHUNK
    stop = b.select(stop.lt(field(2)), stop, field(2))
    extent = b.select(loops.gt(0), field(_HEAD), 1)
    step = field(_HEAD + 1)
    first_run, last_run = start.udiv(extent), (stop - 1).udiv(extent) + 1
    with b.loop(first_run, last_run) as (run,):
        digits = b.loop(1, loops, 1, [run, b.i64(0)])
        with digits as (level, rest, offset):
            loop = b.at(record, level * _LOOP + _HEAD, "i64")
            size, by, listed = (b.load("i64", b.at(loop, i, "i64")) for i in range(3))
            digit = rest.urem(size)
            # Without a list, word 0 is read in vain: branches would cost more.
            entry = b.load("i64", b.at(base, b.select(listed.ne(0), listed + digit, 0), "i64"))
            part = b.select(listed.ne(0), entry, digit * by)
            digits.next(rest.udiv(size), offset + part)
        offset = digits.results[1]
        origin = run * extent
        low = b.select(start.gt(origin), start, origin)
        high = origin + extent
        high = b.select(stop.lt(high), stop, high)
        with b.loop(low, high) as (i,):
            b.store(offset + (i - origin) * step, b.at(out, i, "i64"))
    b.ret()
