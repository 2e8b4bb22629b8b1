"""Integer power, division and remainder of vecmath, against Python's own integers."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from object_symbols import undefined_symbols

from fanal.backends.native import jit
from fanal.backends.native.target import ARMV7, TARGETS, Target
from fanal.backends.native.vecmath import INTEGER_FUNCTIONS
from fanal.backends.native.vecmath.loop import compile_loop, loop_ir

WIDTHS = (8, 16, 32, 64)


def numbers(bits: int, signed: bool) -> np.ndarray:
    """Edges and random integers of every magnitude."""
    r = np.random.default_rng(bits)
    kind = np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    info = np.iinfo(kind)
    edges = [0, 1, 2, 3, 7, info.max, info.max - 1, info.min, info.min + 1]
    drawn = r.integers(info.min, info.max, 60, dtype=kind, endpoint=True)
    drawn = np.concatenate([drawn, drawn >> r.integers(0, bits, 60).astype(kind)])
    if signed:
        edges += [-1, -2, -3]
    return np.concatenate([np.array(edges, kind), drawn])


def pairs(bits: int, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """All pairs with a divisor that is safe."""
    n = numbers(bits, signed)
    x, y = (a.ravel() for a in np.meshgrid(n, n))
    unsafe = y == 0
    if signed:
        unsafe |= (x == np.iinfo(n.dtype).min) & (y == -1)
    return np.ascontiguousarray(x[~unsafe]), np.ascontiguousarray(y[~unsafe])


def kernel(name: str, bits: int, signed: bool, target: Target | None = None):
    function = functools.partial(INTEGER_FUNCTIONS[name], signed=signed)
    return compile_loop(function, f"i{bits}", 2, target=target)


def truncated(x: int, y: int) -> int:
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


PYTHON = {
    "quotient": truncated,
    "floor_divide": lambda x, y: x // y,
    "remainder": lambda x, y: x % y,
}


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("name", list(PYTHON))
def test_divisions_are_pythons(name: str, bits: int, signed: bool) -> None:
    x, y = pairs(bits, signed)
    expected = [PYTHON[name](int(a), int(b)) for a, b in zip(x, y, strict=True)]
    got = kernel(name, bits, signed)(x, y)
    assert got.tolist() == expected


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", WIDTHS)
def test_power_wraps_around(bits: int, signed: bool) -> None:
    n = numbers(bits, signed)
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(n, n))
    modulus = 1 << bits
    expected = []
    for a, e in zip(x.tolist(), y.tolist(), strict=True):
        if e < 0:
            value = (1 if e % 2 == 0 else a) if abs(a) == 1 else 0
        else:
            value = pow(a, e, modulus)
        expected.append(value % modulus)
    got = kernel("power", bits, signed)(x, y)
    assert [int(v) % modulus for v in got] == expected


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda t: t.name)
def test_no_undefined_symbols(target: Target) -> None:
    needed = {}
    for name, function in INTEGER_FUNCTIONS.items():
        for bits in WIDTHS:
            for signed in (True, False):
                ir = loop_ir(
                    functools.partial(function, signed=signed),
                    f"i{bits}",
                    2,
                    target.lanes(bits),
                    target,
                )
                symbols = undefined_symbols(jit.compile_ir(ir, target))
                if symbols:
                    needed[name, bits, signed] = symbols
    assert not needed


def test_the_reader_sees_armv7s_division() -> None:
    """LLVM's own way, on an armv7 of which the generator is not told that it can't divide."""
    able = replace(ARMV7, division_bits=64)
    ir = loop_ir(lambda b, x, y: x.sdiv(y), "i64", 2, 2, able)
    assert undefined_symbols(jit.compile_ir(ir, able)) == {"__aeabi_ldivmod"}
