"""Every primitive × dtype generates code for every target, and the code needs no library."""

from __future__ import annotations

import pytest

from fanal.backends.native.jit import compile_ir
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.lower import lower
from fanal.backends.native.program import Access
from fanal.backends.native.target import TARGETS, Target
from fanal.core.dispatch import bind
from fanal.ops.primitive import contiguous_strides
from tests.native.object_symbols import undefined_symbols
from tests.ops.runner import trace
from tests.ops.samples import draw, samples_of
from tests.ops.test_forward import CASES

_checked: set[tuple[str, str]] = set()


def check(primitive, dtype, target: Target) -> None:
    """Lower every sample for a target; compile each kernel once; look at what it refers to."""
    for seed, (kinds, attributes) in enumerate(samples_of(primitive)):
        arrays = draw(primitive, kinds, dtype, seed)
        graph = trace(lambda *v, a=attributes: bind(primitive, *v, **a), arrays)
        loads, at = [], 0
        for v in graph.inputs:
            access = Access(at, v.dtype, v.shape, contiguous_strides(v.shape))
            loads.append(Load(v.dtype, v.shape, access))
            at += 1
        outputs = [
            Access(at + i, v.dtype, v.shape, contiguous_strides(v.shape))
            for i, v in enumerate(graph.outputs)
        ]
        for phase in lower(graph, loads, outputs, target).phases:
            kernel = phase.kernel
            if kernel.entry or (target.name, kernel.key) in _checked:
                continue
            _checked.add((target.name, kernel.key))
            found = undefined_symbols(compile_ir(kernel.ir(target, "kernel"), target))
            assert not found, f"{kernel.key[:200]} on {target.name} needs {found}"


NUMBERED = list(enumerate(CASES))


@pytest.mark.parametrize(
    ("number", "case"), NUMBERED, ids=[f"{p.name}-{d.name}" for p, d in CASES]
)
def test_generates_for_another_target(number, case):
    """Everyday: each case for one of the targets, in turn."""
    check(*case, list(TARGETS.values())[number % len(TARGETS)])


@pytest.mark.slow
@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("case", CASES, ids=[f"{p.name}-{d.name}" for p, d in CASES])
def test_generates_for_every_target(case, target):
    check(*case, TARGETS[target])
