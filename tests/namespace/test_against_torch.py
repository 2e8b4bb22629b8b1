"""Every sample call against PyTorch's numbers, recorded by `tests.peers.record_namespace`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import fanal
from tests.namespace import cases
from tests.namespace.runner import Library, run

FOLDER = Path(__file__).parent / "golden"
INDEX = json.loads((FOLDER / "namespace.json").read_text())
VALUES = load_file(FOLDER / "namespace.safetensors")["values"]
LIBRARY = Library(fanal, fanal.tensor, lambda t: t.detach().numpy().copy())
# In float32 the answers are others, or a difference decides between them.
NOT_FLOAT32 = ("nan_to_num(s", "finfo", "kaiser", "float64", "resize_")


def _starts() -> dict[str, int]:
    starts, at = {}, 0
    for text, entry in INDEX.items():
        starts[text] = at
        at += sum(int(np.prod(shape)) for _, *shape in entry["arrays"].values())
    assert at == len(VALUES)
    return starts


STARTS = _starts()


def recorded(text: str) -> dict[str, np.ndarray]:
    """PyTorch's arrays of a call."""
    found, at = {}, STARTS[text]
    for name, (dtype, *shape) in INDEX[text]["arrays"].items():
        size = int(np.prod(shape))
        found[name] = VALUES[at : at + size].reshape(shape).astype(dtype)
        at += size
    return found


def compare(name: str, got: np.ndarray | None, want: np.ndarray, rtol: float) -> None:
    """Equal where exact; floats relative to the largest of the array, since sums cancel."""
    if got is None:
        got = np.zeros_like(want)  # a gradient of zeros need not be there
    assert got.shape == want.shape, name
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=name)
        return
    finite = np.abs(want[np.isfinite(want)])
    scale = max(finite.max(initial=0.0), 1e-2)
    np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * scale, err_msg=name)


@pytest.mark.parametrize("text", cases.ALL)
def test_float64(text: str) -> None:
    expected = recorded(text)
    found, answers = run(text, LIBRARY, np.float64, INDEX[text]["order"])
    for name, want in expected.items():
        got = found.get(name)
        if got is not None:
            assert got.dtype == want.dtype, name
        precise = want.dtype == np.float64 and "float32" not in text
        compare(name, got, want, 1e-9 if precise else 2e-6)
    assert set(found) <= set(expected) or all(not found[k].any() for k in set(found) - set(expected))
    assert (repr(answers) if answers else None) == INDEX[text].get("answers")


FLOAT32 = [
    t for t in cases.ALL
    if "out0" in INDEX[t]["arrays"] and "answers" not in INDEX[t]
    and not any(word in t for word in NOT_FLOAT32)
]  # fmt: skip


@pytest.mark.parametrize("text", FLOAT32[::3])
def test_float32(text: str) -> None:
    expected = recorded(text)
    found, _ = run(text, LIBRARY, np.float32, min(INDEX[text]["order"], 1))
    for name, want in expected.items():
        if not name.startswith("second"):
            compare(name, found.get(name), want, 1e-4)


def test_every_call_is_recorded() -> None:
    assert list(INDEX) == cases.ALL
