"""A native program: a table of phases × tasks over numbered buffers.

A lowering rule adds phases: which kernel, on which operands, with which numbers (extents, strides),
in how many independent tasks. Kernels are generated once per *spec* (a canonical text in which no
extent appears) and shared by all programs; the numbers travel in the phase's descriptor. So a new
shape makes a new table and no new code.

Descriptor of a phase, in 64-bit words: for each operand its buffer number and byte offset, then the
rule's own words. Buffers are the program's arguments first, then its temporaries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from fanal.backends.native.target import Target
from fanal.core.dtypes import DType
from fanal.core.symbols import is_symbolic, largest

if TYPE_CHECKING:
    from fanal.backends.native.emit import Builder, V
    from fanal.backends.native.flow import Flow
    from fanal.graph.ir import Node

# What a kernel may report in its status word (0: nothing).
STATUS_DIVISION = 1  # an integer was divided by zero
STATUS_INDEX = 2  # an index was out of range
STATUS_HOST = 3  # a host call raised; see `host.taken_error`
# Elementwise operations that report a divisor of zero, for integers.
DIVISIONS = frozenset(["floor_div", "trunc_div", "remainder", "fmod"])


@dataclass(frozen=True, slots=True)
class Access:
    """Where a value lies: a strided window of a buffer (strides in elements, offset in bytes)."""

    buffer: int
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def size(self) -> int:
        total = 1
        for extent in self.shape:
            total *= extent
        return total

    @property
    def nbytes(self) -> int:
        """Bytes of the elements, repeated ones once."""
        total = self.dtype.itemsize
        for extent, stride in zip(self.shape, self.strides, strict=True):
            total *= extent if stride else min(extent, 1)
        return total


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel's spec: `key` names it canonically, `emit` writes its IR for a target.

    `emit(b, target)` gets a `Builder` for the kernel ABI and must end with `b.ret()`. Two kernels
    with equal keys must emit equal text. A kernel with an `entry` is code that exists already at
    that address (a call to the host, which must be kept alive by `owner`); nothing is emitted.
    """

    key: str
    emit: Callable[[Builder], None]
    entry: int = 0
    owner: object = None

    def ir(self, target: Target, name: str) -> str:
        # Imported when code is generated, which a process with a warm cache does not.
        from fanal.backends.native.emit import Builder

        b = Builder(target, name)
        self.emit(b)
        return b.finish()


def _no_code(b: Builder) -> NoReturn:
    raise AssertionError("an entry of control is no kernel")


CONTROL = Kernel("control", _no_code, entry=1)  # of entries that the launching thread interprets


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """What some phases in a row compute together: the nodes of the graph that are fused in them."""

    nodes: tuple[Node, ...]


@dataclass(slots=True, eq=False)
class Phase:
    """An entry of the table. `buffers` are those that it names, one an operand; `writes`, where it is
    known, those of them that it writes to (all others it only reads); `alone`: no other phase writes
    to these. `changes`: those that it writes to and perhaps reads too, if it can't fail. `nbytes`: of all
    the memory that it names; `commits`: it writes to memory that the caller keeps; `light`: its tasks
    together are less work than to wake another thread."""

    kernel: Kernel
    descriptor: list[int]
    tasks: int
    buffers: tuple[int, ...] = ()
    writes: frozenset[int] | None = None
    alone: bool = False
    changes: frozenset[int] | None = None
    unit: Unit | None = None
    nbytes: int = 0
    commits: bool = False
    light: bool = False

    @property
    def reads(self) -> frozenset[int]:
        return frozenset(self.buffers) - (self.writes or frozenset())


@dataclass(slots=True)
class Temp:
    """Scratch memory alive from the phase that first names it to the one that last does."""

    nbytes: int
    first: int = -1
    last: int = -1


# How often a program is taken to be called before what it keeps between calls is computed anew.
STEADY_USES = 64


@dataclass(slots=True)
class ProgramBuilder:
    """Collects the phases of one program. `arguments` is the number of buffers that callers pass;
    `steady` are buffers whose contents are taken to be those of the last call (`early.py`)."""

    target: Target
    arguments: int
    phases: list[Phase] = field(default_factory=list)
    temps: list[Temp] = field(default_factory=list)
    flow: Flow | None = None  # its loops and branches, if it has any
    steady: set[int] = field(default_factory=set)
    panels: dict[Any, Any] = field(default_factory=dict)  # packed for several contractions
    # What phases that are appended now belong to, and whether they write to memory the caller keeps.
    unit: Unit | None = None
    commits: bool = False

    def temp(self, nbytes: int) -> int:
        """Reserve scratch memory (64-byte aligned); returns its buffer number."""
        self.temps.append(Temp(nbytes))
        return self.arguments + len(self.temps) - 1

    def temp_like(self, dtype: DType, shape: tuple[int, ...]) -> Access:
        """A contiguous temporary value."""
        size = 1
        strides = []
        for extent in reversed(shape):
            strides.append(size)
            size *= largest(extent, 1)
        return Access(self.temp(size * dtype.itemsize), dtype, shape, tuple(reversed(strides)))

    def phase(
        self, kernel: Kernel, operands: Sequence[Access], words: Sequence[int], tasks: int = 1,
        writes: Sequence[Access] | None = None, alone: bool = False,
        changes: Sequence[Access] | None = None,
    ) -> None:  # fmt: skip
        """Append a phase of `tasks` independent tasks (their number must not depend on threads).

        A phase that says which operands it `writes` and can't fail may be done once for many calls;
        if it is `alone` in doing so, also before a loop in which it always reads the same. One that says
        what it `changes` may run at the same time as others (`merging.py`).
        """
        descriptor: list[int] = []
        for access in operands:
            descriptor += (access.buffer, access.offset)
        descriptor += words
        written = None if writes is None else frozenset(a.buffer for a in writes)
        buffers = tuple(a.buffer for a in operands)
        changed = None if changes is None else frozenset(a.buffer for a in changes)
        nbytes = sum([a.nbytes for a in set(operands)])
        self.append(
            Phase(
                kernel, descriptor, tasks, buffers, written, alone, changed, self.unit, nbytes,
                self.commits,
            )
        )  # fmt: skip

    def append(self, phase: Phase) -> None:
        """Append a phase; temporaries that it names live until then."""
        number, buffers = len(self.phases), phase.buffers
        for buffer in buffers:
            if buffer >= self.arguments:
                temp = self.temps[buffer - self.arguments]
                if temp.first < 0:
                    temp.first = number
                temp.last = number
        self.phases.append(phase)
        if phase.writes is not None and phase.reads <= self.steady:
            self.steady |= phase.writes
        else:
            self.steady -= phase.writes or set(buffers[-1:])
        if self.flow is not None:
            self.flow.note(phase)

    def finish(self) -> None:
        """Find where jumps lead to, and how long temporaries live that loops use."""
        if self.flow is not None:
            self.flow.resolve()

    @property
    def in_loop(self) -> bool:
        """Whether what is appended now belongs to a loop."""
        return self.flow is not None and bool(self.flow.open)

    def uses(self, access: Access) -> int:
        """How often a phase that is appended now runs with the same contents of an operand."""
        often = STEADY_USES if access.buffer in self.steady else 1
        return often if self.flow is None else often * self.flow.uses(access.buffer)


def units_of(work: int, each: int) -> int:
    """How many units, which are so much work each, make up a task; at least one."""
    return largest(1, work // largest(1, each))


def signed(word: int) -> int:
    """64 bits as the signed number that they are (of what follows from symbols they are found later)."""
    if is_symbolic(word):
        return word
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


class Descriptor:
    """Reads a phase's descriptor inside a kernel, in the order in which `phase` wrote it."""

    def __init__(self, b: Builder, operands: int):
        self.b = b
        self.operands = operands
        self._next = 2 * operands

    def pointer(self, operand: int) -> V:
        """The address of an operand's first element."""
        b = self.b
        desc, bufs = b.arg("desc"), b.arg("bufs")
        number = b.load("i64", b.at(desc, 2 * operand, "i64"))
        offset = b.load("i64", b.at(desc, 2 * operand + 1, "i64"))
        base = b.load("ptr", b.at(bufs, number, "i64"))
        return b.at(base, offset)

    def slot(self, operand: int) -> V:
        """The address of an operand's slot in the buffer table (for numbers passed by value)."""
        b = self.b
        number = b.load("i64", b.at(b.arg("desc"), 2 * operand, "i64"))
        return b.at(b.arg("bufs"), number, "i64")

    def word(self) -> V:
        """The next number of the descriptor."""
        index = self._next
        self._next += 1
        return self.b.load("i64", self.b.at(self.b.arg("desc"), index, "i64"))
