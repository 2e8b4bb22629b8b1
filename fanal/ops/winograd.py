"""Convolution with 3×3 kernels by Winograd's algorithm: the sums of `conv`, from fewer products.

Along one axis, m outputs of a kernel of three taps are values of a product of polynomials: with m + 2
points (the last one at infinity) they take m + 2 products instead of 3·m. In two dimensions a tile of
m×m outputs takes (m + 2)² products a pair of channels instead of 9·m²:

    y = Aᵀ [ Σ_c (G w Gᵀ) ⊙ (Bᵀ x B) ] A

for the tile's window x of (m + 2)² inputs (S. Winograd, "Arithmetic Complexity of Computations", 1980;
A. Lavin and S. Gray, 2016). The numbers are others than those of `conv`, so a pass must be asked to write
this in its place (`passes/winograd.py`). How much others depends on the points. Tiles of two have 0, ±1,
whose transforms are sums, and an error below that of the direct sum. Of tiles of four the usual 0, ±1, ±2
lose most, since the powers of 2 are far apart; 0, ±5/8, ±3/2 lose least among multiples of an eighth
(half as much), and all powers that the transforms multiply with are exact.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from fanal.core.dispatch import bind
from fanal.core.dtypes import float32
from fanal.core.errors import message
from fanal.graph.ir import Type, Value
from fanal.ops.conv import Pads, conv_input_grad_p, conv_p, conv_weight_grad_p
from fanal.ops.primitive import Primitive, check_dtype

TAPS = 3
# The points ±p of a tile of so many outputs an axis; 0 and infinity belong to all.
POINTS: dict[int, tuple[Fraction, ...]] = {
    2: (Fraction(1),),
    4: (Fraction(5, 8), Fraction(3, 2)),
}
# Channels fill at least one vector of any target.
CHANNELS = 16


def tiles(extent: int, tile: int) -> int:
    """How many tiles cover some outputs along one axis."""
    return -(-extent // tile)


def _attributes(padding: Pads) -> dict[str, Any]:
    """What `conv` calls the same convolution."""
    return {"stride": (1, 1), "padding": padding, "dilation": (1, 1), "groups": 1}


def _infer(x: Value, w: Value, *, padding: Pads, tile: int) -> list[Type]:
    for v in (x, w):
        check_dtype("conv_winograd", v.dtype, (float32,))
    small = min(w.shape[:2], default=0) < CHANNELS
    if x.ndim != 4 or w.ndim != 4 or w.shape[2:] != (TAPS, TAPS) or small or tile not in POINTS:
        raise ValueError(
            message(
                "conv_winograd", "not a convolution of this form", f"{x.shape}, {w.shape}, tile {tile}",
                f"images, 3×3 kernels, {CHANNELS} channels or more, tiles of {sorted(POINTS)}",
            )
        )
    return conv_p.infer(x, w, **_attributes(padding))


def _reference(x: Any, w: Any, *, padding: Pads, tile: int) -> Any:
    return conv_p.reference(x, w, **_attributes(padding))


def _jvp(tangents: Any, inputs: Any, outputs: Any, **at: Any) -> Any:
    terms = [
        bind(conv_winograd_p, *(t if i == n else v for i, v in enumerate(inputs)), **at)
        for n, t in enumerate(tangents)
        if t is not None
    ]
    return sum(terms[1:], terms[0]) if terms else None


def _transpose(ct: Value, inputs: Any, linear: Any, *, padding: Pads, tile: int) -> Any:
    x, w = inputs
    at = _attributes(padding)
    return [
        bind(conv_input_grad_p, ct, w, shape=x.shape[2:], **at) if linear[0] else None,
        bind(conv_weight_grad_p, x, ct, kernel=w.shape[2:], **at) if linear[1] else None,
    ]


def _batch(inputs: Any, axes: Any, size: int, *, padding: Pads, tile: int) -> Any:
    """Kernels that differ from one to the next are groups, which is for `conv`."""
    assert conv_p.batch is not None
    return conv_p.batch(inputs, axes, size, **_attributes(padding))


conv_winograd_p = Primitive(
    name="conv_winograd",
    kind="conv",
    infer=_infer,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    dtypes=(float32,),
    doc="conv of images and 3×3 kernels, stride 1, from products of transformed tiles.",
)
