"""Every layer and function against PyTorch's numbers, recorded by `tests.peers.record_nn`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import fanal
from fanal import nn
from fanal.nn.utils import rnn
from tests.nn import cases
from tests.nn.cases.case import Case
from tests.nn.runner import Library, run

FOLDER = Path(__file__).parent / "golden"
VECTORS = load_file(FOLDER / "nn.safetensors")
INDEX = json.loads((FOLDER / "nn.json").read_text())
LIBRARY = Library(
    nn,
    lambda array, grad: fanal.tensor(array).requires_grad_(grad),
    lambda t: t.detach().numpy().copy(),
    lambda t: isinstance(t, fanal.Tensor),
    rnn,
)


def recorded(key: str) -> dict[str, np.ndarray]:
    found, at = {}, 0
    for name, shape in INDEX[key]["arrays"].items():
        size = int(np.prod(shape))
        found[name] = VECTORS[key][at : at + size].reshape(shape)
        at += size
    return found


def compare(case: Case, found: dict[str, np.ndarray], rtol: float) -> None:
    expected = recorded(case.key)
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        finite = np.abs(array[np.isfinite(array)])
        # Sums cancel: the error is relative to the largest number of each array.
        scale = finite.max() if finite.size else 1.0
        np.testing.assert_allclose(
            found[name].astype(np.float64), array, rtol=rtol, atol=rtol * max(scale, 1e-3), err_msg=name
        )


@pytest.fixture
def default_float64() -> Any:
    before = fanal.get_default_dtype()
    fanal.set_default_dtype(fanal.float64)
    yield
    fanal.set_default_dtype(before)


@pytest.mark.parametrize("case", cases.ALL, ids=cases.KEYS)
def test_float64(case: Case, default_float64: None) -> None:
    found, info = run(case, LIBRARY, np.float64)
    compare(case, found, case.rtol)
    expected = INDEX[case.key]
    assert info.get("keys") == expected.get("keys")
    assert info.get("text") == expected.get("text")


@pytest.mark.parametrize("case", cases.ALL[::4], ids=cases.KEYS[::4])
def test_float32(case: Case) -> None:
    found, _ = run(case, LIBRARY, np.float32)
    compare(case, found, case.rtol32)


def test_every_case_is_recorded() -> None:
    assert set(INDEX) == set(cases.KEYS) == set(VECTORS)
