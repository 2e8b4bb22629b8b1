"""PyTorch's paths of layers that stand elsewhere here, for programs that import from them.

`from torch.nn.modules.utils import _pair` and the like are common in published models. A path that
Fanal has no file for becomes a module of names; a file that has fewer names than PyTorch's gets the
others as aliases.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from fanal.nn.modules.batchnorm import _InstanceNorm
from fanal.nn.modules.tuples import default_sizes, ntuple, reversed_twice

# PyTorch's path below `torch.nn.modules`, and the public layers found there.
PLACES = {
    "activation": "Sigmoid Tanh SiLU Mish GLU GELU LogSigmoid Softplus Softsign Tanhshrink Softmin "
    "Softmax Softmax2d LogSoftmax MultiheadAttention",
    "channelshuffle": "ChannelShuffle",
    "container": "ParameterList ParameterDict",
    "conv": "LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d "
    "LazyConvTranspose3d",
    "distance": "PairwiseDistance CosineSimilarity",
    "flatten": "Flatten Unflatten",
    "fold": "Fold Unfold",
    "instancenorm": "InstanceNorm1d InstanceNorm2d InstanceNorm3d LazyInstanceNorm1d "
    "LazyInstanceNorm2d LazyInstanceNorm3d",
    "loss": "CosineEmbeddingLoss HingeEmbeddingLoss MarginRankingLoss MultiLabelMarginLoss "
    "MultiLabelSoftMarginLoss MultiMarginLoss SoftMarginLoss TripletMarginLoss "
    "TripletMarginWithDistanceLoss",
    "module": "Module",
    "pixelshuffle": "PixelShuffle PixelUnshuffle",
    "rnn": "RNNCellBase RNNCell LSTMCell GRUCell",
    "upsampling": "Upsample UpsamplingNearest2d UpsamplingBilinear2d",
}


def _ntuple(n: int, name: str = "parse") -> Callable[[Any], tuple[Any, ...]]:
    def parse(x: Any) -> tuple[Any, ...]:
        return ntuple(x, n)

    parse.__name__ = name
    return parse


def _reverse_repeat_tuple(t: Sequence[int], n: int) -> tuple[int, ...]:
    """(a, b) as (b, b, a, a) for n = 2: the order of `pad`."""
    return reversed_twice(t) if n == 2 else tuple(v for v in reversed(t) for _ in range(n))


UTILITIES = {
    "_ntuple": _ntuple,
    "_single": _ntuple(1, "_single"),
    "_pair": _ntuple(2, "_pair"),
    "_triple": _ntuple(3, "_triple"),
    "_quadruple": _ntuple(4, "_quadruple"),
    "_reverse_repeat_tuple": _reverse_repeat_tuple,
    "_list_with_default": default_sizes,
}


def install(layers: dict[str, Any]) -> None:
    """Make PyTorch's paths importable; `layers` are the names of `fanal.nn.modules`."""
    package = sys.modules["fanal.nn.modules"]
    tables = {path: {n: layers[n] for n in names.split()} for path, names in PLACES.items()}
    tables["utils"] = UTILITIES
    tables["instancenorm"]["_InstanceNorm"] = _InstanceNorm
    for path, table in tables.items():
        full = f"{package.__name__}.{path}"
        module = sys.modules.get(full)
        if module is None:
            module = sys.modules[full] = ModuleType(full, f"PyTorch's path `torch.nn.modules.{path}`.")
            setattr(package, path, module)
        for name, value in table.items():
            module.__dict__.setdefault(name, value)
