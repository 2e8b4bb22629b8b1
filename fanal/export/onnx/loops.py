"""What ONNX has no operator for, or none that is exact, as loops over elements or bits.

They are written as functions over primitives, with `scan` and `while`, whose graphs become ONNX in turn.
"""

from __future__ import annotations

import math
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.export.onnx.formulas import inlined
from fanal.export.onnx.records import Ref
from fanal.export.onnx.reduce import reduced
from fanal.export.onnx.registry import RULES, rule
from fanal.export.onnx.writer import Writer
from fanal.graph.ir import Value
from fanal.ops.control.scan import loop
from fanal.ops.control.while_loop import repeat
from fanal.ops.layout import move_axis
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import eq, gt, lt, ne, where
from fanal.ops.primitive import TABLE
from fanal.ops.promotion import constant
from fanal.ops.reduce import reduce_any_p


def _cumprod(x: Value, *, dim: int) -> Any:
    rows = move_axis(x, dim, 0)
    one = constant(1, x.dtype, rows.shape[1:])

    def step(carry: Any, row: Any) -> Any:
        product = carry[0] * row[0]
        return [product], [product]

    return move_axis(loop(step, [one], [rows], rows.shape[0])[1][0], 0, dim)


def _product(x: Value, *, dims: tuple[int, ...]) -> Any:
    """One element after another, so that integers wrap around."""
    kept = tuple(d for d in range(x.ndim) if d not in dims)
    shape = tuple(x.shape[d] for d in kept)
    rows = bind(TABLE["permute"], x, dims=(*dims, *kept))
    rows = bind(TABLE["reshape"], rows, shape=(math.prod(x.shape[d] for d in dims), *shape))
    one = constant(1, x.dtype, shape)
    return loop(lambda carry, row: ([carry[0] * row[0]], []), [one], [rows], rows.shape[0])[0][0]


def _running(larger: bool) -> Any:
    def running(x: Value, *, dim: int) -> Any:
        rows = move_axis(x, dim, 0)
        shape = rows.shape[1:]
        zero = constant(0, dtypes.int64, shape)
        numbers = bind(TABLE["iota"], shape=(rows.shape[0],), dim=0, dtype=dtypes.int64)

        def step(carry: Any, slices: Any) -> Any:
            best, where_, started = carry
            row, number = slices
            number = bind(TABLE["expand"], bind(TABLE["reshape"], number, shape=(1,) * len(shape)), shape=shape)
            better = (gt if larger else lt)(row, best) | eq(row, best)
            if x.dtype.kind == "f":
                better = (better & eq(best, best)) | ne(row, row)
            better = better | eq(started, False)
            best, place = where(better, row, best), where(better, number, where_)
            return [best, place, eq(started, started)], [best, place]

        first = constant(0, x.dtype, shape)
        begun = constant(False, dtypes.bool_, shape)
        _, (values, places) = loop(step, [first, zero, begun], [rows, numbers], rows.shape[0])
        return move_axis(values, 0, dim), move_axis(places, 0, dim)

    return running


def _any(x: Value) -> Any:
    return bind(reduce_any_p, x, dims=tuple(range(x.ndim))) if x.ndim else x


def _gcd(a: Value, b: Value) -> Any:
    """Euclid's algorithm, until no element has a rest. Whatever -1 divides, 1 does."""

    def step(carry: Any) -> Any:
        x, y = carry
        done = eq(y, 0)
        plain = done if x.dtype.kind == "u" else done | eq(y, -1)
        rest = bind(TABLE["remainder"], x, where(plain, 1, y))
        return [where(done, x, y), where(done, 0, rest)]

    return absolute(repeat(lambda carry: _any(ne(carry[1], 0)), step, [absolute(a), absolute(b)], None)[0])


def _integer_pow(a: Value, b: Value) -> Any:
    """By squares, one bit of the exponents after another."""

    def step(carry: Any) -> Any:
        base, left, product = carry
        odd = ne(bind(TABLE["and"], left, constant(1, left.dtype, left.shape)), 0)
        half = bind(TABLE["shift_right"], left, constant(1, left.dtype, left.shape))
        return [base * base, half, where(odd, product * base, product)]

    one = constant(1, a.dtype, a.shape)
    return repeat(lambda carry: _any(gt(carry[1], 0)), step, [a, b, one], None)[2]


def _formula(function: Any) -> Any:
    return lambda w, node, *xs: inlined(w, function, *xs, **node.attributes)


RULES.update({
    "cumprod": _formula(_cumprod), "cummax": _formula(_running(True)),
    "cummin": _formula(_running(False)), "gcd": _formula(_gcd),
})  # fmt: skip


@rule("pow")
def _pow(w: Writer, node: Any, a: Ref, b: Ref) -> Any:
    """Runtimes compute ONNX's Pow of integers in floating numbers."""
    return w.through("Pow", a, b) if a.dtype.kind == "f" else inlined(w, _integer_pow, a, b)


@rule("reduce_prod")
def _reduce_prod(w: Writer, node: Any, x: Ref) -> Any:
    """And they multiply integers as such."""
    dims = node.attributes["dims"]
    if not dims:
        return x
    return reduced(w, "ReduceProd", x, dims) if x.dtype.kind == "f" else inlined(w, _product, x, dims=dims)
