"""Kernels for aarch64 as our own loader lays them out: its relocations, tried under qemu-user.

(What kernels compute on every machine: `test_elsewhere.py`, whose programs a linker makes.)
"""

from __future__ import annotations

import shutil

import pytest

from fanal.backends.native.target import AARCH64
from tests.native import emulated
from tests.ops import test_forward

EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
# Kernels with tables of constants, calls and all widths of loads.
PRIMITIVES = ("add", "argmax", "bessel_j0", "cast", "conv", "dot", "lgamma", "scatter", "sort")
CASES = [c for c in test_forward.CASES if c[0].name in PRIMITIVES]


@pytest.mark.slow
@pytest.mark.skipif(EMULATOR is None, reason="needs qemu-user")
@pytest.mark.parametrize(("p", "dtype"), CASES, ids=[f"{p.name}-{d.name}" for p, d in CASES])
def test_primitive(p, dtype, monkeypatch):
    def native(graph, arrays):
        return emulated.run(graph, arrays, AARCH64, EMULATOR)

    monkeypatch.setattr(test_forward, "native", native)
    test_forward.test_primitive(p, dtype)
