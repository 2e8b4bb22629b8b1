"""Golden cases: inputs, and what came out of them here, for a library to check itself where it ends up.

Layout, in 64-bit words, little endian: {magic, identity of the weights, cases, the level at which results have the
same bits (-1: none), bytes of the file, 0, 0, 0}; then the cases: {signature, dimensions, inputs, checks,
bytes of scratch memory, bytes of this record, where in the scratch memory the state lies, where records of
pointers do}, the dimensions, the places of inputs in the file, and the checks: {place of the result in scratch
memory, elements, bytes of one | 16 if it is real, places of expected elements, lower and upper bounds}.
Checks are the outputs in order, then the state that the signature writes. Then come the tensors.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fanal.core import dtypes
from fanal.core.errors import message
from fanal.edge.interface import Call, Interface
from fanal.edge.tables import aligned
from fanal.edge.weights import contents
from fanal.export.program import Program
from fanal.export.running import Runner
from fanal.ops.comparing import isfinite, isnan
from fanal.random import Generator, rand
from fanal.tensor.creation import zeros
from fanal.tensor.tensor import Tensor

MAGIC = b"FANALGV1"
_HEADER_WORDS = _CASE_WORDS = 8
_CHECK_WORDS = 6
# How far a result may be from what it was here, on another level or machine: a part of itself, and a part of the
# largest one; of half precision.
_NEAR, _NEAR_HALF = 1e-3, 2e-2
_NOISE = 1e-6  # what new state may be where it would be nothing but for rounding


@dataclass(frozen=True, slots=True)
class Case:
    """One call: inputs, and outputs and new state as they were here, by name."""

    call: Call
    sizes: tuple[int, ...]  # of all dimensions
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    state: dict[str, Tensor]

    @property
    def dims(self) -> list[int]:
        """Sizes of the dimensions that the call takes."""
        return [self.sizes[i] for i in self.call.dims]


def cases_of(program: Program, call: Call, given: Sequence[Mapping[str, Tensor]]) -> list[Case]:
    """Cases of one signature for some inputs, run here."""
    found = []
    names = {f.spec.name for f in call.inputs}
    for inputs in given:
        if set(inputs) != names:
            raise ValueError(
                message("build", f"samples of {call.signature.name!r} have other inputs",
                        ", ".join(inputs), ", ".join(sorted(names)))
            )  # fmt: skip
        state = {name: t.clone() for name, t in program.state.items()}
        copy = Program(program.name, program.symbols, program.dims, state, program.signatures, program.card)
        runner = Runner(copy, call.signature)
        outputs = runner.run(inputs)
        written = {n: state[n] for n in call.signature.writes}
        found.append(Case(call, runner.sizes(inputs), dict(inputs), outputs, written))
    return found


def drawn(call: Call, value: Callable[[Any], Any]) -> dict[str, Tensor]:
    """Inputs to try a signature with: reals between 0 and 1, integers of 0, which are good indices."""
    found = {}
    for f in call.inputs:
        shape = tuple(value(n) for n in f.spec.shape)
        if f.spec.dtype.kind == "f":
            generator = Generator()
            generator.manual_seed(zlib.crc32(f"{call.signature.name} {f.spec.name}".encode()))
            found[f.spec.name] = rand(*shape, generator=generator).to(f.spec.dtype)
        else:
            found[f.spec.name] = zeros(*shape, dtype=f.spec.dtype)
    return found


def scratch_of(case: Case, library: Interface) -> tuple[list[int], int, int, int]:
    """Where in scratch memory the results of a case go; where state and the records lie; bytes in all."""
    places, at = [], 0
    for f in case.call.outputs:
        places.append(at)
        t = case.outputs[f.spec.name]
        at += aligned(max(t.numel() * t.dtype.itemsize, 1))
    state = at
    at += library.state_bytes
    offsets = {f.name: state + f.offset for f in library.state}
    places += [offsets[name] for name in case.state]
    count = len(case.inputs) + len(places)
    return places, state, at, aligned(at + 8 * len(case.dims) + library.machine.pointer_bytes * count)


def golden_file(cases: Sequence[Case], library: Interface, identity: int, exact: int) -> bytes:
    """The file; `exact` is the level whose results have the same bits."""
    bodies: list[bytes] = []
    numbers = [_words(c) for c in cases]
    at = 8 * (_HEADER_WORDS + sum(numbers))

    def place(data: bytes) -> int:
        nonlocal at
        bodies.append(data + bytes(-len(data) % 64))
        at += len(bodies[-1])
        return at - len(bodies[-1])

    at = aligned(at)
    first = at
    records: list[int] = []
    for case, words in zip(cases, numbers, strict=True):
        places, state, pointers, scratch = scratch_of(case, library)
        results: list[tuple[Tensor, Tensor | None]] = []
        results += [(case.outputs[f.spec.name], None) for f in case.call.outputs]
        results += [(t, library.program.state[name]) for name, t in case.state.items()]
        records += [
            library.calls.index(case.call), len(case.dims), len(case.inputs), len(results), scratch, 8 * words,
            state, pointers, *case.dims,
        ]  # fmt: skip
        records += [place(contents(case.inputs[f.spec.name])) for f in case.call.inputs]
        for (t, before), where in zip(results, places, strict=True):
            real = t.dtype.kind == "f"
            low, high = bounds(t, before)
            records += [
                where, t.numel(), t.dtype.itemsize | 16 * real, place(contents(t)), place(low), place(high),
            ]  # fmt: skip
    magic = int.from_bytes(MAGIC, "little")
    head = [magic, identity, len(cases), exact, at, 0, 0, 0, *records]
    data = struct.pack(f"<{len(head)}q", *head)
    return data + bytes(first - len(data)) + b"".join(bodies)


def _words(case: Case) -> int:
    """Words of a case's record."""
    checks = len(case.outputs) + len(case.state)
    return _CASE_WORDS + len(case.dims) + len(case.inputs) + _CHECK_WORDS * checks


def bounds(t: Tensor, before: Tensor | None) -> tuple[bytes, bytes]:
    """What a result has to lie between on other machines. `before`: of new state, what was there: a gradient that
    is zero but for its rounding moves it either way, as far as an optimiser's step is long."""
    if t.dtype.kind != "f" or t.numel() == 0:
        return (contents(t),) * 2
    near = _NEAR_HALF if t.dtype.bits < 32 else _NEAR
    wide = t.detach().to(dtypes.float64)
    size = wide.abs().where(isfinite(wide), 0.0)
    far = size * near + size.max() * near
    if before is not None:
        moved = (wide - before.detach().to(dtypes.float64)).abs()
        far = far + moved.where(isfinite(moved), 0.0).max() * 2 + _NOISE
    found = []
    for end, most in ((wide - far, 0xFF), (wide + far, 0x7F)):
        data = bytearray(contents(end.where(isfinite(wide), wide).to(t.dtype)))
        if bool(isnan(wide).any()):  # of what is no number any one will do
            width = t.dtype.itemsize
            for i, odd in enumerate(isnan(wide).flatten().tolist()):
                if odd:
                    data[i * width : (i + 1) * width] = b"\xff" * (width - 1) + bytes([most])
        found.append(bytes(data))
    return found[0], found[1]
