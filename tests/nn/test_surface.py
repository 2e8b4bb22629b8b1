"""The names and signatures of nn and nn.functional against PyTorch's."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from fanal import nn
from fanal.nn import functional as F

SURFACE = json.loads((Path(__file__).parent / "golden" / "surface.json").read_text())
# What Fanal does not have, each with its reason.
NO_LAYERS = {
    "Container": "a leftover of PyTorch's, without use",
    "CrossMapLRN2d": "PyTorch's sums wrong windows at the edges; LocalResponseNorm",
    "DataParallel": "one process uses all cores already",
    "LinearCrossEntropyOptions": "how PyTorch splits a batch to save memory",
    "SyncBatchNorm": "belongs to training on many machines",
}
NO_FUNCTIONS = {
    "assert_int_or_pair", "boolean_dispatch", "handle_torch_function", "has_torch_function",
    "has_torch_function_unary", "has_torch_function_variadic",  # PyTorch's own machinery
    "grouped_mm", "scaled_grouped_mm", "scaled_mm",
}  # fmt: skip
# PyTorch hides the parameters of these behind (*args, **kwargs).
DISPATCHED = "(*args, **kwargs)"


def signature(function: Any) -> str:
    return ", ".join(
        p.name if p.default is p.empty else f"{p.name}={getattr(p.default, '__name__', p.default)}"
        for p in inspect.signature(function).parameters.values()
    )


def test_every_layer_is_there() -> None:
    names = {n for n in SURFACE["layers"] if n != "Tensor"} - set(NO_LAYERS)
    assert names <= set(nn.__all__)
    assert not set(NO_LAYERS) & set(nn.__all__)


def test_every_function_is_there() -> None:
    assert set(SURFACE["functions"]) - NO_FUNCTIONS - {"DType"} <= set(F.__all__)


@pytest.mark.parametrize("name", sorted(set(SURFACE["layers"]) & set(nn.__all__)))
def test_layer(name: str) -> None:
    made, called = SURFACE["layers"][name]
    layer = getattr(nn, name)
    if name not in ("Parameter", "Buffer", "UninitializedParameter", "UninitializedBuffer"):
        assert signature(layer.__init__) == made
    if called is not None and name not in ("RNNBase", "RNN", "GRU", "LSTM"):
        assert signature(layer.forward) == called


@pytest.mark.parametrize("name", sorted(set(SURFACE["functions"]) & set(F.__all__)))
def test_function(name: str) -> None:
    expected = SURFACE["functions"][name]
    if expected is not None and expected != "args, kwargs":
        assert signature(getattr(F, name)) == expected
