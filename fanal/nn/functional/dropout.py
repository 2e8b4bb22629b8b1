"""Dropout: elements, or whole channels, set to zero at random while training.

The mask comes from the counter-based generator: bits depend on the key of the draw and the element's
number only. `p` is a run-time number, so that a schedule does not compile anew.
"""

from __future__ import annotations

import warnings
from typing import Any

from fanal.core import dtypes
from fanal.core.errors import message
from fanal.nn.functional.composite import composite, maybe_in_place
from fanal.ops.layout import expand_to
from fanal.ops.pointwise import mul, sqrt, where
from fanal.ops.promotion import cast
from fanal.ops.shape import squeeze, unsqueeze
from fanal.random.generator import default_generator
from fanal.random.sampling import unit_interval

_ALPHA = 1.7580993408473766  # selu's scale · alpha


def kept(x: Any, key: Any, p: Any, channels: bool = False) -> Any:
    """Where elements (or whole channels) of x survive, each with probability 1 - p."""
    shape = (*x.shape[:2], *(1,) * (x.ndim - 2)) if channels else tuple(x.shape)
    u = unit_interval(key, shape, dtypes.float32)
    return expand_to(u >= cast(p, dtypes.float32), tuple(x.shape))


def dropped(x: Any, key: Any, p: Any, channels: bool = False) -> Any:
    """x / (1 - p) where it survives, else 0."""
    return where(kept(x, key, p, channels), x * (1.0 / (1.0 - p)), 0.0)


@composite(scalars=("p",))
def _dropout(input: Any, key: Any, p: Any, channels: bool) -> Any:
    return dropped(input, key, p, channels)


@composite(scalars=("p",))
def _alpha_dropout(input: Any, key: Any, p: Any, channels: bool) -> Any:
    # Klambauer et al., 2017: what is dropped becomes -α, then mean and variance are put right.
    a = 1.0 / sqrt((p * (_ALPHA * _ALPHA) + 1.0) * (1.0 - p))
    shift = a * p * _ALPHA
    alive = kept(input, key, p, channels)
    return where(alive, input * a + shift, shift - a * _ALPHA)


def _apply(function: Any, name: str, input: Any, p: float, training: bool, inplace: bool,
           channels: bool = False) -> Any:  # fmt: skip
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    if input.dtype.kind != "f":
        raise RuntimeError(message(name, "only for floating tensors", repr(input.dtype)))
    if p == 1:
        return input.mul_(0.0) if inplace else mul(input, 0.0)
    key = default_generator.draw()
    return maybe_in_place(function, input, inplace, key, float(p), channels)


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Elements set to 0 with probability p, the others divided by 1 - p. Srivastava et al., 2014."""
    return _apply(_dropout, "dropout", input, p, training, inplace)


def alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Any:
    """Dropout that keeps mean 0 and variance 1, for networks with selu."""
    return _apply(_alpha_dropout, "alpha_dropout", input, p, training, inplace)


def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Any:
    """`alpha_dropout` of whole channels (dimension 1)."""
    return _apply(_alpha_dropout, "feature_alpha_dropout", input, p, training, inplace, True)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Whole channels of (N, C, L) or (C, L) set to 0."""
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. Note that "
            "dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, "
            "a channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs)."
        )
    return _unbatched(_apply, "dropout1d", input, p, training, inplace, input.ndim == 2)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Whole channels of (N, C, H, W) set to 0. Tompson et al., 2015."""
    if input.ndim not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {input.ndim}-D input to dropout2d, which is deprecated and "
            "will result in an error in a future release. To retain the behavior and silence this "
            "warning, please use dropout instead. Note that dropout2d exists to provide "
            "channel-wise dropout on inputs with 2 spatial dimensions, a channel dimension, and an "
            "optional batch dimension (i.e. 3D or 4D inputs).",
            stacklevel=2,
        )
    if input.ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D "
            "dropout behavior is desired - input is interpreted as shape (N, C, L), where C is "
            "the channel dim. This behavior will change in a future release to interpret the "
            "input as one without a batch dimension, i.e. shape (C, H, W). To maintain the 1D "
            "channel-wise dropout behavior, please switch to using dropout1d instead.",
            stacklevel=2,
        )
    return _apply(_dropout, "dropout2d", input, p, training, inplace, True)


def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Whole channels of (N, C, D, H, W) or (C, D, H, W) set to 0."""
    if input.ndim not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.ndim}-D input to dropout3d, which is deprecated and "
            "will result in an error in a future release. To retain the behavior and silence this "
            "warning, please use dropout instead. Note that dropout3d exists to provide "
            "channel-wise dropout on inputs with 3 spatial dimensions, a channel dimension, and an "
            "optional batch dimension (i.e. 4D or 5D inputs).",
            stacklevel=2,
        )
    return _unbatched(_apply, "dropout3d", input, p, training, inplace, input.ndim == 4)


def _unbatched(
    apply: Any, name: str, input: Any, p: float, training: bool, inplace: bool, single: bool
) -> Any:
    """Channel dropout of an input whose batch dimension may be missing."""
    whole = unsqueeze(input, 0) if single else input
    result = apply(_dropout, name, whole, p, training, inplace, True)
    if not single:
        return result
    return input if result is whole else squeeze(result, 0)
