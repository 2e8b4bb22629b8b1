"""The Python dialect that the runtime is written in."""

from __future__ import annotations

import ctypes

import pytest

from fanal.backends.native.runtime.dialect import translate
from fanal.backends.native.runtime.probe import compile_kernels
from fanal.backends.native.runtime.signature import DialectError


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def f(x: i64) -> i64:\n    y = x\n", "a path ends without a return"),
        ("def f(x: i64) -> i64:\n    return y\n", "unknown name: y"),
        ("def f(x: i64) -> i32:\n    return x\n", "expected i32, found i64"),
        ("def f(x) -> i64:\n    return 1\n", "every parameter needs"),
        ("def f(x: i64):\n    for i in x:\n        pass\n", "not in the dialect"),
        ("def f(x: i64):\n    f(x, x)\n", "wrong number of arguments"),
        ("def f(x: i64):\n    x: i32 = 1\n", "two types for one local"),
        ("def f(x: i64):\n    return\n    f(x)\n", "unreachable"),
    ],
)
def test_mistakes_in_the_dialect_are_named(source: str, reason: str) -> None:
    with pytest.raises(DialectError, match=reason):
        translate({"part": source}, {})


def test_the_dialect_computes() -> None:
    source = """
@export
def collatz(n: i64) -> i64:
    steps = 0
    while n != 1 and steps < LIMIT:
        n = n >> 1 if n & 1 == 0 else 3 * n + 1
        steps += 1
        if not (n > 0 or n == 0):
            break
    return steps
"""
    ir = translate({"part": source}, {"LIMIT": 1000}) + 'attributes #0 = { "no-builtins" }\n'
    address = compile_kernels(ir, "collatz")["collatz"]
    assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)(27) == 111
