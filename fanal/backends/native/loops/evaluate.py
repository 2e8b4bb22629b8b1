"""Evaluating a program's instructions on registers, for one vector of neighbouring points.

A `Position` says where the walks stand: a pointer for each operand at the current outer index, the
stride class along the vector dimension, and the index in it. Instructions that don't move with the
vector dimension are evaluated once, outside of the loop, and spread over the lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from fanal.backends.native.emit import Builder, V, element, vector
from fanal.backends.native.emit.value import bits_of
from fanal.backends.native.loops import philox
from fanal.backends.native.loops.convert import compute_type, convert, from_storage, storage_type
from fanal.backends.native.loops.operations import apply, report
from fanal.backends.native.program import STATUS_INDEX
from fanal.core.dtypes import BY_NAME

Instruction = tuple[Any, ...]


@dataclass(slots=True)
class Position:
    """Where the walks of a program stand in memory."""

    pointers: dict[int, V]  # operand walks: address at vector index 0
    ramps: dict[int, V]  # ramp walks: value at vector index 0
    classes: list[str]  # of each walk, along the vector dimension
    strides: dict[int, V]  # of walks of class "n", in elements
    words: list[V] = field(default_factory=list)  # the program's own words
    uniform: dict[int, V] = field(default_factory=dict)  # values that don't move, of one lane


def arguments(instruction: Instruction) -> tuple[int, ...]:
    """Numbers of the instructions that this one uses."""
    kind = instruction[0]
    if kind == "op":
        return instruction[4:]
    if kind == "random":
        return (instruction[2],)
    if kind == "place":
        return tuple(i[0] for i in instruction[1:])
    if kind == "gather":
        return (instruction[3],)
    return ()


def walk_of(instruction: Instruction) -> int | None:
    """The walk that an instruction reads through, if any."""
    if instruction[0] in ("load", "ramp", "gather"):
        return instruction[1]
    return None


def moving(instructions: list[Instruction], classes: list[str]) -> set[int]:
    """Instructions whose value changes along the vector dimension."""
    found: set[int] = set()
    for number, instruction in enumerate(instructions):
        walk = walk_of(instruction)
        if (walk is not None and classes[walk] != "0") or any(
            a in found for a in arguments(instruction)
        ):
            found.add(number)
    return found


def vector_lanes(b: Builder, instructions: list[Instruction], inside: set[int]) -> int:
    """Lanes such that the widest value of the loop fills one register."""
    bits = 8
    for number in inside:
        instruction = instructions[number]
        if instruction[0] in ("load", "gather"):
            bits = max(bits, bits_of(compute_type(BY_NAME[str(instruction[2])])))
        elif instruction[0] == "op":
            bits = max(bits, *(bits_of(compute_type(BY_NAME[str(n)])) for n in instruction[2:4]))
        elif instruction[0] in ("ramp", "random"):
            bits = max(bits, 32)
    return b.target.lanes(bits)


def evaluate(
    b: Builder,
    instructions: list[Instruction],
    wanted: Iterable[int],
    position: Position,
    known: dict[int, V],
    index: V | None,
    lanes: int,
    mask: V | None = None,
) -> dict[int, V]:
    """Values of the `wanted` instructions at vector index `index` (None: what doesn't move).

    `known` holds values that are available already, of one lane (they are spread) or of `lanes`.
    With a mask, loads of lanes outside of it give 0.
    """
    values: dict[int, V] = {}

    def value(number: int) -> V:
        found = values.get(number)
        if found is None:
            if number in known:
                given = known[number]
                found = given if given.lanes == lanes else b.splat(given, lanes)
            else:
                found = _one(b, instructions, number, value, position, index, lanes, mask)
            values[number] = found
        return found

    for number in wanted:
        value(number)
    return values


def _one(
    b: Builder,
    instructions: list[Instruction],
    number: int,
    value: Callable[[int], V],
    position: Position,
    index: V | None,
    lanes: int,
    mask: V | None,
) -> V:
    instruction = instructions[number]
    kind = instruction[0]
    if kind == "load":
        return load(b, instruction[1], str(instruction[2]), position, index, lanes, mask)
    if kind == "scalar":
        return b.splat(_scalar(b, position.pointers[instruction[1]], str(instruction[2])), lanes)
    if kind == "const":
        type_ = vector(compute_type(BY_NAME[str(instruction[1])]), lanes)
        return b.const(type_, int(str(instruction[2])))
    if kind == "literal":
        word = position.words[instruction[2]]
        return _literal(b, word, str(instruction[1]), lanes)
    if kind == "ramp":
        return _ramp(b, instruction[1], str(instruction[2]), position, index, lanes)
    if kind == "random":
        key, at = position.pointers[instruction[1]], instructions[instruction[2]]
        if position.classes[at[1]] != "1" or index is None or lanes % 4:
            return philox.random_bits(b, key, value(instruction[2]))
        return philox.random_row(b, key, position.ramps[at[1]] + index, lanes)
    if kind == "gather":
        return _gather(b, instruction, value, position, index, lanes, mask)
    if kind == "place":
        return _place(b, instruction, value, position, lanes)
    if kind == "op":
        operand, result = BY_NAME[str(instruction[2])], BY_NAME[str(instruction[3])]
        args = [value(a) for a in instruction[4:]]
        if instruction[1] == "cast":
            return convert(b, args[0], operand, result)
        return apply(b, str(instruction[1]), args, operand, result)
    raise TypeError(kind)


def _literal(b: Builder, bits: V, dtype: str, lanes: int) -> V:
    """A number whose bits came with the descriptor."""
    type_ = compute_type(BY_NAME[dtype])
    width = bits_of(type_)
    value = bits if width == 64 else bits.cast("trunc", f"i{width}")
    if type_ in ("float", "double"):
        value = value.bitcast(type_)
    return b.splat(value, lanes)


def _scalar(b: Builder, slot: V, dtype: str) -> V:
    """A by-value operand: a float64 or int64 in the buffer table itself."""
    kind = BY_NAME[dtype]
    if kind.kind == "f":
        return b.load("double", slot)
    bits = b.load("i64", slot)
    return bits.ne(0) if kind.kind == "b" else bits


def load(
    b: Builder, walk: int, dtype: str, position: Position, index: V | None, lanes: int, mask: V | None
) -> V:
    """Load one vector of an operand and bring it into its compute type."""
    kind = BY_NAME[dtype]
    storage = storage_type(kind)
    pointer, cls = position.pointers[walk], position.classes[walk]
    if cls == "0" or index is None:
        return b.splat(from_storage(b.load(storage, pointer), kind), lanes)
    if cls == "1":
        address = b.at(pointer, index, storage)
        type_ = vector(storage, lanes)
        if mask is None:
            bits = b.load(type_, address)
        elif _has_masks(b, storage):
            bits = b.masked_load(type_, address, mask)
        else:
            bits = _strided(b, pointer, index, b.i64(1), storage, lanes, mask)
        return from_storage(bits, kind)
    stride = position.strides[walk]
    if lanes == 1:
        return from_storage(b.load(storage, b.at(pointer, index * stride, storage)), kind)
    return from_storage(_strided(b, pointer, index * stride, stride, storage, lanes, mask), kind)


def _strided(
    b: Builder, pointer: V, first: V, stride: V, storage: str, lanes: int, mask: V | None
) -> V:
    result = b.op(vector(storage, lanes), f"freeze {vector(storage, lanes)} poison")
    at = first
    for lane in range(lanes):
        if mask is not None and lane:
            # Lanes outside of the mask read the first element again, which exists.
            inside = mask[lane]
            place = b.select(inside, at, first)
        else:
            place = at
        result = b.insert(result, b.load(storage, b.at(pointer, place, storage)), lane)
        at = at + stride
    return result


def _ramp(
    b: Builder, walk: int, dtype: str, position: Position, index: V | None, lanes: int
) -> V:
    value = position.ramps[walk]
    cls = position.classes[walk]
    kind = BY_NAME[dtype]
    if kind.kind in "iu" and kind.bits < 64 and cls != "0" and index is not None:
        # Modulo 2^bits from the start: twice the lanes in a register.
        narrow = f"i{kind.bits}"
        step = b.i64(1) if cls == "1" else position.strides[walk]
        first = (value + index * step).cast("trunc", narrow)
        moves = b.iota(narrow, lanes)
        if cls != "1":
            moves = moves * b.splat(step.cast("trunc", narrow), lanes)
        return b.splat(first, lanes) + moves
    if cls == "0" or index is None:
        wide = b.splat(value, lanes)
    else:
        step = b.i64(1) if cls == "1" else position.strides[walk]
        first = value + index * step
        wide = b.splat(first, lanes) + b.iota("i64", lanes) * b.splat(step, lanes)
    return convert(b, wide, BY_NAME["int64"], BY_NAME[dtype])


def _place(
    b: Builder, instruction: Instruction, value: Callable[[int], V], position: Position, lanes: int
) -> V:
    """The offset (in elements) that index values select in a table; wild ones are reported."""
    total: V | None = None
    for number, extent_word, step_word in instruction[1:]:
        i = value(number)
        i = i.cast("sext", "i64") if bits_of(i.type) < 64 else i
        extent, step = position.words[extent_word], position.words[step_word]
        wild = i.uge(b.splat(extent, lanes))
        report(b, wild, STATUS_INDEX, i)
        i = b.select(wild, b.const(i.type, 0), i) * b.splat(step, lanes)
        total = i if total is None else total + i
    assert total is not None
    return total


def _gather(
    b: Builder, instruction: Instruction, value: Callable[[int], V], position: Position,
    index: V | None, lanes: int, mask: V | None,
) -> V:  # fmt: skip
    walk, dtype = instruction[1], BY_NAME[str(instruction[2])]
    place: int = instruction[3]
    storage = storage_type(dtype)
    pointer, cls = position.pointers[walk], position.classes[walk]
    if place in position.uniform:
        # One index for the whole row (an embedding): neighbours in the table are neighbours here.
        moved = dict(position.pointers)
        moved[walk] = b.at(pointer, position.uniform[place], storage)
        there = Position(moved, position.ramps, position.classes, position.strides)
        return load(b, walk, dtype.name, there, index, lanes, mask)
    offset = value(place)
    move = b.i64(0)
    if cls != "0" and index is not None:
        move = b.i64(1) if cls == "1" else position.strides[walk]
        offset = offset + b.splat(index * move, lanes)
    if lanes == 1:
        return from_storage(b.load(storage, b.at(pointer, offset, storage)), dtype)
    result = b.op(vector(storage, lanes), f"freeze {vector(storage, lanes)} poison")
    for lane in range(lanes):
        at = offset[lane] + move * lane
        result = b.insert(result, b.load(storage, b.at(pointer, at, storage)), lane)
    return from_storage(result, dtype)


def first_lanes(b: Builder, count: V, lanes: int) -> V:
    """A mask of the first `count` lanes; `count` may be negative, and must fit 32 bits."""
    return b.iota("i32", lanes).lt(b.splat(count.cast("trunc", "i32"), lanes))


# Functions short enough to be written out twice, yet with a chain long enough to gain by it.
CHAINS = {"erf"}


def waits(instructions: list[Instruction]) -> bool:
    """Whether two vectors at once pay: the code is one long chain of dependent operations."""
    chains = [i for i in instructions if i[0] == "op" and i[1] in CHAINS]
    plain = all(i[0] in ("op", "load", "const", "literal", "scalar") for i in instructions)
    return plain and 0 < len(chains) <= 2 and all(i[2] != "float64" for i in chains)


def maskable(b: Builder, instructions: list[Instruction], stored: Iterable[str]) -> bool:
    """Whether a partial vector can be handled by masks: on targets with AVX. What AVX2 has no masks
    for is read lane by lane, as long as something else gains by the vector, and not stored so."""
    if "avx2" not in b.target.features and "avx512" not in b.target.features:
        return False
    loaded = [str(i[2]) for i in instructions if i[0] in ("load", "gather")]
    kinds = [_has_masks(b, storage_type(BY_NAME[n])) for n in loaded]
    stores = all(_has_masks(b, storage_type(BY_NAME[n])) for n in stored)
    return stores and (any(kinds) or not kinds)


def _has_masks(b: Builder, storage: str) -> bool:
    """Whether loads and stores of these elements take a mask: of 8 and 16 bits from AVX-512BW on."""
    return bits_of(storage) >= 32 or "avx512bw" in b.target.features


def element_bytes(dtype: str) -> int:
    return bits_of(element(storage_type(BY_NAME[dtype]))) // 8
