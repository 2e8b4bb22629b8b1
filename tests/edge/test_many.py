"""Many programs as libraries: those that export is tested with, and random ones, also with open sizes."""

from __future__ import annotations

import random
import shutil

import pytest

import fanal
import fanal.nn as nn
from fanal.core import pytree
from fanal.core.errors import Limit
from fanal.export import Dim, ExportError, export
from fanal.export.program import Range
from tests.compiler.random_programs import Machine
from tests.edge.library import built, model_of, needs_host
from tests.export.test_models import CASES, bits

pytestmark = needs_host


def named(program, given):
    tensors = [x for x in pytree.flatten(given)[0] if isinstance(x, fanal.Tensor)]
    return dict(zip([t.name for t in program.signatures["predict"].inputs], tensors, strict=True))


def agree(model, program, given):
    """That the library gives what the program gives here, to the bit."""
    inputs = named(program, given)
    try:
        wanted = program.run(inputs)
    except ValueError:  # sizes that don't go together
        return
    arrays = {k: v.view(fanal.int16).numpy() if v.dtype is fanal.bfloat16 else v.numpy() for k, v in inputs.items()}
    found = model.run("predict", arrays)
    assert list(found) == list(wanted)
    for name, array in found.items():
        assert array.shape == tuple(wanted[name].shape)
        assert array.tobytes() == bits(wanted[name]), (name, [tuple(x.shape) for x in inputs.values()])


def with_ends(program):
    """Dimensions without an end get one."""
    program.dims = tuple(Range(r.name, r.min, r.max or 24) for r in program.dims)
    return program


@pytest.mark.parametrize("name", CASES)
def test_programs_that_export_is_tested_with(name, tmp_path):
    make, arguments, dims, sizes = CASES[name]
    fanal.manual_seed(0)
    function = make()
    if isinstance(function, nn.Module):
        function.eval()
    program = with_ends(export(function, arguments(*sizes[0]), dynamic_shapes=dims, name="sample"))
    built(program, tmp_path)
    model = model_of(tmp_path, "sample")
    for size in sizes:
        agree(model, program, arguments(*size))


def check(seed, folder, open_):
    """One random program; False if it can't be exported or built."""
    machine = Machine(seed)
    given = machine.inputs(0)
    dims = None
    if open_:  # sizes that are equal in the example are one dimension
        by_size = {n: Dim(f"n{n}", min=2, max=2 * n + 9) for s in machine.shapes for n in s if n > 1}
        dims = tuple({d: by_size[n] for d, n in enumerate(s) if n > 1} for s in machine.shapes)
    try:
        program = export(lambda x, y, z: machine(x, y, z), given, dynamic_shapes=dims, name="drawn")
        built(program, folder)
    except (ExportError, Limit):
        return False
    model = model_of(folder, "drawn")
    agree(model, program, given)
    chance = random.Random(seed)
    for _ in range(8 if open_ else 1):
        sizes = {n: chance.choice([2, 3, 4, 8, n, 2 * n + 9, chance.randrange(2, 2 * n + 10)]) for s in machine.shapes for n in s}
        shapes = [[sizes[n] if open_ and n > 1 else n for n in s] for s in machine.shapes]
        agree(model, program, tuple(fanal.randn(*s) for s in shapes))
    shutil.rmtree(folder)
    return True


@pytest.mark.parametrize("open_", [False, True])
def test_a_few_random_programs(open_, tmp_path):
    assert sum(check(seed, tmp_path / str(seed), open_) for seed in range(12)) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("open_", [False, True])
def test_many_random_programs(open_, tmp_path):
    assert sum(check(seed, tmp_path / str(seed), open_) for seed in range(12, 150)) >= 30
