"""What primitives that only move elements do to strides: views, which cost nothing.

A view function takes a shape and its strides, and returns the new strides with the offset of the
first element (in elements), or None where strides can't express it.
"""

from __future__ import annotations

from collections.abc import Callable

from fanal.graph.ir import Node
from fanal.ops.layout import reshape_strides
from fanal.ops.windows import window_strides

Shape = tuple[int, ...]
View = Callable[[Shape, Shape], tuple[Shape, int] | None]


def reshape_view(new_shape: Shape) -> View:
    def view(shape: Shape, strides: Shape) -> tuple[Shape, int] | None:
        found = reshape_strides(shape, strides, new_shape)
        return None if found is None else (found, 0)

    return view


def permute_view(dims: Shape) -> View:
    return lambda shape, strides: (tuple(strides[d] for d in dims), 0)


def expand_view(new_shape: Shape) -> View:
    return lambda shape, strides: (
        tuple(s if n == m else 0 for n, m, s in zip(shape, new_shape, strides, strict=True)),
        0,
    )


def slice_view(start: Shape, step: Shape) -> View:
    return lambda shape, strides: (
        tuple(s * k for s, k in zip(strides, step, strict=True)),
        sum(a * s for a, s in zip(start, strides, strict=True)),
    )


def flip_view(dims: Shape) -> View:
    return lambda shape, strides: (
        tuple(-s if d in dims else s for d, s in enumerate(strides)),
        sum((shape[d] - 1) * strides[d] for d in dims if shape[d]),
    )


def window_view(first: int, size: Shape, stride: Shape, dilation: Shape) -> View:
    return lambda shape, strides: (
        window_strides(shape, strides, first, size, stride, dilation),
        0,
    )


VIEWS: dict[str, Callable[[Node], View]] = {
    "reshape": lambda node: reshape_view(node.attributes["shape"]),
    "permute": lambda node: permute_view(node.attributes["dims"]),
    "expand": lambda node: expand_view(node.attributes["shape"]),
    "slice": lambda node: slice_view(node.attributes["start"], node.attributes["step"]),
    "flip": lambda node: flip_view(node.attributes["dims"]),
    "windows": lambda node: window_view(**node.attributes),
}
