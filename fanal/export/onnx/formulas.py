"""Primitives that ONNX has no operator for, written in those that it has.

Each is an ordinary function over primitives: it is traced, and its graph becomes ONNX in turn.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.export.onnx.records import Ref
from fanal.export.onnx.registry import RULES
from fanal.export.onnx.writer import Writer, same_dim
from fanal.graph.ir import Builder, Graph, Value
from fanal.ops.dot import dot_p
from fanal.ops.interleaving import offsets
from fanal.ops.layout import concat_p, pad_p, permute_p, reshape_p, slice_dim
from fanal.ops.pointwise import abs as absolute
from fanal.ops.pointwise import eq, log, lt, maximum, minimum, ne, sin, sqrt, where
from fanal.ops.primitive import TABLE
from fanal.ops.promotion import cast, constant
from fanal.ops.windows import windows_p

Emit = Callable[[Writer, Graph, Sequence[Ref]], list[Ref]]
_emit: list[Emit] = []


def uses(emit: Emit) -> None:
    """Say how a graph is written (`conversion` does, which knows these rules)."""
    _emit[:] = [emit]


def written(w: Writer, graph: Graph, xs: Sequence[Ref]) -> list[Ref]:
    """A graph's outputs for tensors of the ONNX graph."""
    return _emit[0](w, graph, xs)


def inlined(w: Writer, function: Callable[..., Any], *xs: Ref, **attributes: Any) -> Any:
    """What a function over primitives gives for tensors of the ONNX graph."""
    builder = Builder()
    inputs = [builder.input(x.dtype, x.shape) for x in xs]
    found = builder.trace(function, *inputs, **attributes)
    graph = builder.graph(found if isinstance(found, tuple) else [found])
    results = written(w, graph, xs)
    return tuple(results) if isinstance(found, tuple) else results[0]


def _formula(function: Callable[..., Any]) -> Any:
    return lambda w, node, *xs: inlined(w, function, *xs, **node.attributes)


# -- layout ---------------------------------------------------------------------------------------------


def interleave(*parts: Value, step: tuple[int, ...]) -> Any:
    """Dimension by dimension from the last on: neighbours side by side, then merged."""
    rows = list(parts)
    assert len(rows) == len(list(offsets(step)))
    for d in reversed(range(len(step))):
        n = step[d]
        if n > 1:
            rows = [_side_by_side(rows[i : i + n], d) for i in range(0, len(rows), n)]
    return rows[0]


def _side_by_side(parts: Sequence[Value], d: int) -> Any:
    shape = parts[0].shape
    apart = [bind(reshape_p, p, shape=(*shape[: d + 1], 1, *shape[d + 1 :])) for p in parts]
    merged = (*shape[:d], shape[d] * len(parts), *shape[d + 1 :])
    return bind(reshape_p, bind(concat_p, *apart, dim=d + 1), shape=merged)


def put_slice(x: Value, v: Value, *, start: tuple[Any, ...], step: tuple[int, ...]) -> Any:
    """What lies before, the part, and what lies behind, one dimension in another."""
    return _put(x, v, start, step, 0)


def _put(x: Value, v: Value, start: Any, step: Any, d: int) -> Any:
    while d < x.ndim and same_dim(v.shape[d], x.shape[d]) and step[d] == 1:
        d += 1
    if d == x.ndim:
        return v
    n, m, a, s = x.shape[d], v.shape[d], start[d], step[d]
    if m == 0:
        return x
    if s > 1:  # every s-th element: spread out, and chosen by a mask
        low = tuple(a if i == d else 0 for i in range(x.ndim))
        inner = tuple(s - 1 if i == d else 0 for i in range(x.ndim))
        high = tuple(n - a - ((m - 1) * s + 1) if i == d else 0 for i in range(x.ndim))
        at = {"low": low, "high": high, "interior": inner}
        taken = bind(TABLE["slice"], x, start=low, stop=_stops(x, d, a + (m - 1) * s + 1), step=_steps(x, d, s))
        spread = bind(pad_p, _put(taken, v, start, step, d + 1), **at, value=0 if x.dtype.kind != "b" else False)
        mask = bind(pad_p, constant(True, dtypes.bool_, taken.shape), **at, value=False)
        return where(mask, spread, x)
    parts = [slice_dim(x, d, 0, a)] if not (type(a) is int and a == 0) else []
    parts.append(_put(slice_dim(x, d, a, a + m), v, start, step, d + 1))
    if not same_dim(a + m, n):
        parts.append(slice_dim(x, d, a + m, n))
    return bind(concat_p, *parts, dim=d) if len(parts) > 1 else parts[0]


def _stops(x: Value, d: int, stop: Any) -> tuple[Any, ...]:
    return tuple(stop if i == d else n for i, n in enumerate(x.shape))


def _steps(x: Value, d: int, step: int) -> tuple[int, ...]:
    return tuple(step if i == d else 1 for i in range(x.ndim))


def window_sum(
    y: Value, *, first: int, size: Any, stride: Any, dilation: Any, extents: Any
) -> Any:
    """The windows' elements of one offset, spread over the image by their strides; the sum over offsets."""
    n = len(size)
    total: Any = None
    counts = y.shape[first : first + n]
    for offset in _offsets(size):
        part: Any = y
        for i, o in enumerate(offset):
            part = slice_dim(part, first + n + i, o, o + 1)
        part = bind(reshape_p, part, shape=(*y.shape[: first + n], *y.shape[first + 2 * n :]))
        rows = list(zip(offset, dilation, stride, counts, extents, strict=True))
        lead, tail = (0,) * first, (0,) * (y.ndim - first - 2 * n)
        low = (*lead, *(o * d for o, d, _, _, _ in rows), *tail)
        high = (*lead, *(e - o * d - (c - 1) * s - 1 for o, d, s, c, e in rows), *tail)
        inner = (*lead, *(s - 1 for _, _, s, _, _ in rows), *tail)
        part = bind(pad_p, part, low=low, high=high, interior=inner, value=0)
        total = part if total is None else total + part
    return total


def _offsets(size: Sequence[int]) -> Any:
    return itertools.product(*map(range, size))


# -- convolutions of integers ----------------------------------------------------------------------------


def _grouped_windows(x: Value, kernel: Any, at: Any) -> Any:
    """(n, g, c, positions…, offsets…) of the padded image."""
    low, high = (tuple(p[i] for p in at["padding"]) for i in (0, 1))
    zero = (0,) * x.ndim
    x = bind(pad_p, x, low=(0, 0, *low), high=(0, 0, *high), interior=zero, value=0)
    w = bind(windows_p, x, first=2, size=tuple(kernel), stride=at["stride"], dilation=at["dilation"])
    g = at["groups"]
    return bind(reshape_p, w, shape=(x.shape[0], g, x.shape[1] // g, *w.shape[2:]))


def _conv(x: Value, w: Value, **at: Any) -> Any:
    g, n = at["groups"], x.ndim - 2
    wide = _grouped_windows(x, w.shape[2:], at)
    weight = bind(reshape_p, w, shape=(g, w.shape[0] // g, *w.shape[1:]))
    over = tuple(range(3 + n, 3 + 2 * n))
    y = bind(dot_p, wide, weight, contract=((2, *over), (2, *range(3, 3 + n))), batch=((1,), (0,)))
    # (g, batch, positions…, o) to (batch, g, o, positions…)
    y = bind(permute_p, y, dims=(1, 0, 2 + n, *range(2, 2 + n)))
    return bind(reshape_p, y, shape=(x.shape[0], w.shape[0], *wide.shape[3 : 3 + n]))


def _weight_grad(x: Value, g: Value, *, kernel: Any, **at: Any) -> Any:
    n, groups = x.ndim - 2, at["groups"]
    # More positions than g has, where the stride leaves a rest: those are no windows of its.
    wide = _grouped_windows(x, kernel, at)
    for d, m in enumerate(g.shape[2:]):
        wide = slice_dim(wide, 3 + d, 0, m)
    g = bind(reshape_p, g, shape=(g.shape[0], groups, g.shape[1] // groups, *g.shape[2:]))
    over = (0, *range(3, 3 + n))
    w = bind(dot_p, g, wide, contract=(over, over), batch=((1,), (1,)))
    return bind(reshape_p, w, shape=(w.shape[0] * w.shape[1], *w.shape[2:]))


def _input_grad(g: Value, w: Value, *, shape: Any, **at: Any) -> Any:
    n, groups = g.ndim - 2, at["groups"]
    g5 = bind(reshape_p, g, shape=(g.shape[0], groups, g.shape[1] // groups, *g.shape[2:]))
    w5 = bind(reshape_p, w, shape=(groups, w.shape[0] // groups, *w.shape[1:]))
    y = bind(dot_p, g5, w5, contract=((2,), (1,)), batch=((1,), (0,)))  # (g, batch, positions…, c, k…)
    y = bind(permute_p, y, dims=(1, 0, 2 + n, *range(2, 2 + n), *range(3 + n, 3 + 2 * n)))
    y = bind(reshape_p, y, shape=(g.shape[0], groups * w.shape[1], *y.shape[3:]))
    wide = tuple(m + a + b for m, (a, b) in zip(shape, at["padding"], strict=True))
    total = window_sum(
        y, first=2, size=w.shape[2:], stride=at["stride"], dilation=at["dilation"], extents=wide
    )
    low, high = (tuple(-p[i] for p in at["padding"]) for i in (0, 1))
    return bind(pad_p, total, low=(0, 0, *low), high=(0, 0, *high), interior=(0,) * g.ndim, value=0)


def conv_of_integers(w: Writer, node: Any, x: Ref, weight: Ref) -> Any:
    return inlined(w, _conv, x, weight, **node.attributes)


def conv_weight_grad_of_integers(w: Writer, node: Any, x: Ref, g: Ref) -> Any:
    return inlined(w, _weight_grad, x, g, **node.attributes)


def conv_input_grad_of_integers(w: Writer, node: Any, g: Ref, weight: Ref) -> Any:
    return inlined(w, _input_grad, g, weight, **node.attributes)


# -- elementwise ----------------------------------------------------------------------------------------


def atan2(y: Value, x: Value) -> Any:
    """By the smaller quotient, so that nothing overflows; then by quadrants. Zeros keep their signs."""
    a, b = absolute(y), absolute(x)
    big, small = maximum(a, b), minimum(a, b)
    # Equal infinities and equal zeros have quotients that are no numbers: 1 and 0.
    same = where(eq(big, 0.0), 0.0, constant(1.0, x.dtype, x.shape))
    ratio = where(eq(small, big), same, small / big)
    ratio = where(ne(big, big), big, ratio)
    angle = bind(TABLE["atan"], ratio)
    angle = where(lt(b, a), math.pi / 2 - angle, angle)
    behind = lt(bind(TABLE["copysign"], constant(1.0, x.dtype, x.shape), x), 0.0)
    angle = where(behind, math.pi - angle, angle)
    return bind(TABLE["copysign"], angle, y)


def hypot(a: Value, b: Value) -> Any:
    """Scaled by the larger, so that squares neither overflow nor vanish. An infinity wins over NaN."""
    a, b = absolute(a), absolute(b)
    big, small = maximum(a, b), minimum(a, b)
    ratio = small / where(eq(big, 0.0), 1.0, big)
    found = big * sqrt(ratio * ratio + 1.0)
    infinite = eq(a, math.inf) | eq(b, math.inf)
    return where(infinite, math.inf, found)


def xlogy(x: Value, y: Value) -> Any:
    return where(eq(x, 0.0) & eq(y, y), 0.0, x * log(y))


def xlog1py(x: Value, y: Value) -> Any:
    return where(eq(x, 0.0) & eq(y, y), 0.0, x * bind(TABLE["log1p"], y))


def entr(x: Value) -> Any:
    return where(lt(x, 0.0), -math.inf, where(eq(x, 0.0), 0.0, -(x * log(where(eq(x, 0.0), 1.0, x)))))


def sinc(x: Value) -> Any:
    angle = cast(x, x.dtype) * math.pi
    return where(eq(x, 0.0), 1.0, sin(angle) / where(eq(x, 0.0), 1.0, angle))


RULES.update({
    "interleave": _formula(interleave), "put_slice": _formula(put_slice),
    "window_sum": _formula(window_sum), "atan2": _formula(atan2), "hypot": _formula(hypot),
    "xlogy": _formula(xlogy), "xlog1py": _formula(xlog1py), "entr": _formula(entr),
    "sinc": _formula(sinc),
})  # fmt: skip

