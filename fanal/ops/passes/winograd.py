"""3×3 convolutions, and their gradients in their inputs, by Winograd's algorithm. Grade B, and only on request.

Which convolutions, and in tiles of which size, follows from channels and spatial extents alone: never
from the batch, of which a row must not depend, nor from what was measured on some machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind
from fanal.core.dtypes import float32
from fanal.core.symbols import asked
from fanal.graph.ir import Node, Value
from fanal.ops.layout import flip_p, permute_p
from fanal.ops.passes.rewrite import Pass
from fanal.ops.winograd import CHANNELS, POINTS, TAPS, conv_winograd_p, tiles

# What takes time beside the products of a pair of channels, in products: to read a transformed weight (there
# are (tile + 2)² of them instead of nine), to transform an input or an output at one point. Fitted to single
# images of 4 to 56 pixels an edge with 16 to 512 channels.
_WEIGHT, _TRANSFORM = 10, 10
# The share of the time that may be left at most: these are estimates.
_GAIN = 0.95


def tile_for(inside: int, outside: int, outputs: Sequence[int]) -> int | None:
    """The edge of the tiles for a convolution of so many channels and outputs; None: as it is."""
    found: int | None = asked(_tile_for, inside, outside, tuple(outputs))
    return found


def _tile_for(inside: int, outside: int, outputs: Sequence[int]) -> int | None:
    if min(inside, outside) < CHANNELS:
        return None
    best: int | None = None
    least = _GAIN * TAPS * TAPS * (math.prod(outputs) + _WEIGHT)
    for tile in POINTS:
        count = math.prod(tiles(n, tile) for n in outputs)
        transforms = _TRANSFORM / inside + _TRANSFORM / outside
        cost = (tile + TAPS - 1) ** 2 * (count * (1 + transforms) + _WEIGHT)
        if cost < least:
            best, least = tile, cost
    return best


def _tile_of(node: Node) -> int | None:
    """The edge of the tiles for a convolution, or for the gradient of one; None: as it is."""
    at, (x, w), out = node.attributes, node.inputs, node.outputs[0]
    plain = at["groups"] == 1 and set(at["stride"]) == set(at["dilation"]) == {1}
    if not plain or w.shape[2:] != (TAPS, TAPS) or w.dtype is not float32:
        return None
    return tile_for(x.shape[1], out.shape[1], out.shape[2:])


def forward(node: Node, given: Sequence[Value]) -> Any:
    """A convolution."""
    x, w = given
    tile = _tile_of(node)
    if tile is None:
        return None
    return bind(conv_winograd_p, x, w, padding=node.attributes["padding"], tile=tile)


def input_gradient(node: Node, given: Sequence[Value]) -> Any:
    """The gradient in the input: a convolution with the kernels turned round."""
    g, w = given
    out, tile = node.outputs[0], _tile_of(node)
    if tile is None:
        return None
    turned = bind(flip_p, bind(permute_p, w, dims=(1, 0, 2, 3)), dims=(2, 3))
    reach = TAPS - 1
    pairs = zip(node.attributes["padding"], out.shape[2:], g.shape[2:], strict=True)
    padding = tuple((reach - low, n - m + low) for (low, _), n, m in pairs)
    return bind(conv_winograd_p, g, turned, padding=padding, tile=tile)


WINOGRAD = Pass("winograd", "B", {"conv": (forward,), "conv_input_grad": (input_gradient,)})
