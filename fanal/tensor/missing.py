"""Names that are not there: submodules loaded on first use, and errors that name what is near."""

from __future__ import annotations

import importlib
import sys

from fanal.core.errors import nearest

SUBMODULES = (
    "autograd", "data", "export", "linalg", "nn", "optim", "random", "special", "utils", "cuda",
    "backends", "testing", "serialization", "amp", "distributions", "signal", "array_api", "func",
    "profiler",
)

# Functions of nn.functional that PyTorch also has at the top; that package is loaded on first use.
OF_LAYERS = frozenset(
    ["adaptive_avg_pool1d", "alpha_dropout", "avg_pool1d", "bilinear", "celu", "celu_", "channel_shuffle", "cosine_similarity", "dropout", "feature_alpha_dropout", "group_norm", "hardshrink", "layer_norm", "max_pool1d", "max_pool2d", "max_pool3d", "pairwise_distance", "pdist", "pixel_shuffle", "pixel_unshuffle", "prelu", "relu", "relu_", "rms_norm", "rrelu", "rrelu_", "selu", "selu_", "threshold", "threshold_"]
)
# Why some names of PyTorch's are not here (yet).
REASONS = {
    "complex": "complex numbers", "polar": "complex numbers", "view_as_real": "complex numbers",
    "view_as_complex": "complex numbers", "stft": "complex numbers", "istft": "complex numbers",
    "fft": "complex numbers", "complex64": "complex numbers", "complex128": "complex numbers",
    "sparse_coo_tensor": "sparse tensors", "sparse_csr_tensor": "sparse tensors",
    "sparse": "sparse tensors", "quantize_per_tensor": "quantised tensors",
    "quantize_per_channel": "quantised tensors", "compile": "whole-program capture",
    "jit": "TorchScript",
    "distributed": "training on several machines",
}  # fmt: skip


def find(name: str) -> object:
    """A submodule of fanal, a function of layers, or AttributeError with the nearest names."""
    if name in SUBMODULES:
        try:
            return importlib.import_module(f"fanal.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"fanal.{name}":
                raise
    if name == "autocast":
        return importlib.import_module("fanal.amp").autocast
    if name.endswith("_") and not name.startswith("_"):
        method = getattr(sys.modules["fanal"].Tensor, name, None)  # x.exp_() as exp_(x)
        if callable(method):
            return method
    if name in OF_LAYERS:
        return getattr(importlib.import_module("fanal.nn.functional"), name)
    public = [n for n in dir(sys.modules["fanal"]) if not n.startswith("_")]
    near = nearest(name, public)
    text = f"module 'fanal' has no attribute {name!r}"
    if name in REASONS:
        text += f": there is no support for {REASONS[name]} yet"
    elif near:
        text += f". Nearest: {', '.join(near)}"
    raise AttributeError(text)
