"""Random programs (functions, views, writes in place, gradients, dropout) as ONNX models."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the package 'onnx' is not installed")
pytest.importorskip("onnxruntime", reason="the package 'onnxruntime' is not installed")

import fanal
from fanal.core import pytree
from fanal.export import ExportError, export, to_onnx
from tests.compiler.random_programs import Machine
from tests.export.onnx_models import run


def check(seed, folder):
    machine = Machine(seed)
    given = machine.inputs(0)
    try:
        program = export(lambda *tensors: machine(*tensors), given)
    except ExportError:  # it asks for a value, or writes to an argument
        return False
    to_onnx(program, folder / "m.onnx")
    signature = program.signatures["predict"]
    found = run(folder / "m.onnx", {s.name: x.numpy() for s, x in zip(signature.inputs, given, strict=True)})
    leaves, _ = pytree.flatten(machine(*given))
    wanted = [t.detach().numpy() for t in leaves if isinstance(t, fanal.Tensor)]
    for have, want in zip(found[: len(signature.outputs)], wanted, strict=True):
        scale = np.abs(want[np.isfinite(want)]).max(initial=1.0)
        np.testing.assert_allclose(have, want, rtol=1e-3, atol=1e-4 * scale)
    return True


def test_a_few(tmp_path):
    assert sum(check(seed, tmp_path) for seed in range(12)) >= 6


@pytest.mark.slow
def test_many(tmp_path):
    assert sum(check(seed, tmp_path) for seed in range(12, 1000)) >= 500
