"""Every layer and function of `fanal.nn`, with its options, as an ONNX model."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the package 'onnx' is not installed")
pytest.importorskip("onnxruntime", reason="the package 'onnxruntime' is not installed")

import fanal
import fanal.nn as nn
from fanal.core import pytree
from fanal.export import ExportError, export, to_onnx
from tests.export.onnx_models import run
from tests.nn.cases import ALL
from tests.nn.cases.case import Function, M, X
from tests.nn.runner import Library, fill

LIBRARY = Library(
    nn, lambda array, grad: fanal.from_numpy(np.ascontiguousarray(array)), lambda t: t.detach().numpy(),
    lambda t: isinstance(t, fanal.Tensor), None,
)  # fmt: skip
PLAIN = [c for c in ALL if c.body is None]
EVERYDAY = PLAIN[::9]
REST = [c for c in PLAIN if c not in EVERYDAY]


class Maker:
    """The function or module of a case, and its arguments."""

    def __init__(self, case):
        self.rng = case.rng()
        module = None
        if not case.name.startswith("F."):
            module = self.made(M(case.name, case.args, case.kwargs)).eval()
        self.args = tuple(self.made(i) for i in case.inputs)
        self.kwargs = {k: self.made(v) for k, v in case.call.items()}
        self.function = module if module is not None else getattr(nn.functional, case.name[2:])
        if case.name.startswith("Lazy"):
            self.function(*self.args, **self.kwargs)
        if module is not None:
            fill(module, LIBRARY, self.rng, np.float32)

    def made(self, spec):
        if isinstance(spec, X):
            array = spec.array(self.rng)
            return LIBRARY.from_array(array.astype(np.float32) if array.dtype.kind == "f" else array, False)
        if isinstance(spec, M):
            options = {k: self.made(v) for k, v in spec.kwargs.items()}
            return getattr(nn, spec.name)(*map(self.made, spec.args), **options)
        if isinstance(spec, Function):
            return getattr(nn.functional, spec.name)
        if isinstance(spec, dict):
            return {k: self.made(v) for k, v in spec.items()}
        if isinstance(spec, list) or (isinstance(spec, tuple) and not hasattr(spec, "_fields")):
            return type(spec)(map(self.made, spec))
        return spec


def tensors(x):
    return [t for t in pytree.flatten(x)[0] if isinstance(t, fanal.Tensor)]


def check(case, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = Maker(case)
            with fanal.no_grad():
                wanted = tensors(made.function(*made.args, **made.kwargs))
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            pytest.skip("not for float32, or not without training")
        try:
            program = export(made.function, made.args, made.kwargs)
        except (ExportError, TypeError):
            pytest.skip("it can't be exported: it asks for values, or takes one tensor twice")
    to_onnx(program, folder / "m.onnx")
    signature = program.signatures["predict"]
    given = zip(signature.inputs, tensors((made.args, made.kwargs)), strict=True)
    found = run(folder / "m.onnx", {s.name: t.numpy() for s, t in given})
    for have, want in zip(found[: len(signature.outputs)], [t.numpy() for t in wanted], strict=True):
        assert have.shape == want.shape
        scale = np.abs(want[np.isfinite(want)]).max(initial=1.0) if want.dtype.kind == "f" else 0
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=2e-5 * scale)


@pytest.mark.parametrize("case", EVERYDAY, ids=lambda c: c.key)
def test_layers(case, tmp_path):
    check(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", REST, ids=lambda c: c.key)
def test_all_other_layers(case, tmp_path):
    check(case, tmp_path)
