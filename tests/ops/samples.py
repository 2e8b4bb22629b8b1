"""Inputs for every primitive of the table: shapes and attributes, values drawn from its domain.

Elementwise primitives need nothing here. A structural primitive lists (input kinds, attributes):
an input is a shape ("x" values), ("i", shape, limit) integer indices below limit, or ("b", shape).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.graph import Builder, SubGraph
from fanal.ops.linear import matmul
from fanal.ops.pointwise import lt, sin, tanh
from fanal.ops.primitive import Primitive
from fanal.ops.reductions import sum as sum_

_REDUCTIONS = [
    ([(3, 4)], {"dims": (0,)}), ([(3, 4)], {"dims": (1,)}), ([(2, 3, 5)], {"dims": (0, 2)}),
    ([(2, 3, 5)], {"dims": (0, 1, 2)}), ([(40, 17)], {"dims": (0,)}), ([(7, 133)], {"dims": (1,)}),
    ([(1, 2, 1)], {"dims": (0, 2)}),
]  # fmt: skip
_ALONG = [([(5,)], {"dim": 0}), ([(3, 4)], {"dim": 1}), ([(3, 17)], {"dim": 0}), ([(2, 3, 4)], {"dim": 1})]
_CONV = [
    ((2, 3, 7), (4, 3, 3), {"stride": (1,), "padding": ((1, 1),), "dilation": (1,), "groups": 1}),
    (
        (2, 4, 6, 5), (6, 2, 3, 2),
        {"stride": (2, 1), "padding": ((1, 0), (0, 1)), "dilation": (1, 2), "groups": 2},
    ),
    (
        (1, 2, 3, 4, 3), (3, 2, 2, 1, 2),
        {"stride": (1, 1, 1), "padding": ((0, 0),) * 3, "dilation": (1, 1, 1), "groups": 1},
    ),
    (
        (2, 6, 5, 5), (6, 1, 3, 3),
        {"stride": (1, 1), "padding": ((1, 1),) * 2, "dilation": (1, 1), "groups": 6},
    ),
]  # fmt: skip


def _conv_samples(name: str) -> list[tuple[list[Any], dict[str, Any]]]:
    from fanal.ops.conv import output_extents

    out = []
    for x, w, at in _CONV:
        keys = ("stride", "padding", "dilation")
        extents = output_extents(x[2:], w[2:], *(at[k] for k in keys))
        g = (x[0], w[0], *extents)
        if name == "conv":
            out.append(([x, w], at))
        elif name == "conv_input_grad":
            out.append(([g, w], {**at, "shape": x[2:]}))
        else:
            out.append(([x, g], {**at, "kernel": w[2:]}))
    return out


_REGULAR = [([("regular", s)], {}) for s in ((3, 3), (1, 1), (2, 4, 4), (2, 0, 0))]
_SHAPES = [(3, 3), (5, 3), (3, 5), (2, 4, 3), (0, 2)]
_MATRICES: dict[str, Any] = {
    "triangular_solve": [
        ([("regular", (3, 3)), (3, 2)], {"upper": True, "unit": False}),
        ([("regular", (2, 35, 35)), (2, 35, 3)], {"upper": False, "unit": False}),
        ([("regular", (4, 4)), (4, 1)], {"upper": False, "unit": True}),
    ],
    "solve": [
        ([("regular", (3, 3)), (3, 2)], {"check": "solve"}),
        ([("regular", (2, 4, 4)), (2, 4, 1)], {"check": ""}),
    ],
    "cholesky": [([("definite", s)], {"check": "cholesky"}) for s in ((3, 3), (2, 4, 4), (0, 0))],
    "qr": [([s], {"mode": "reduced"}) for s in _SHAPES] + [([(3, 5)], {"mode": "complete"})],
    "eigh": [([("symmetric", s)], {}) for s in ((3, 3), (2, 4, 4), (0, 0))],
    "eigvalsh": [([("symmetric", s)], {}) for s in ((3, 3), (2, 4, 4))],
    "svd": [([s], {"full": False}) for s in _SHAPES],
    "svdvals": [([s], {}) for s in _SHAPES],
    "pinv": [
        ([s, ("small", s[:-2]), ("small", s[:-2])], {"hermitian": False}) for s in _SHAPES[:4]
    ] + [([("symmetric", (3, 3)), ("small", ()), ("small", ())], {"hermitian": True})],
    "lstsq": [
        ([(5, 3), (5, 2)], {"rcond": 1e-12}), ([(2, 3, 5), (2, 3, 2)], {"rcond": 1e-12}),
    ],
    "lu": [([s], {"pivot": True, "check": ""}) for s in [*_SHAPES, (2, 40, 37)]]
    + [([("regular", (4, 4))], {"pivot": False, "check": ""})],
    "matrix_exp": [
        ([("regular", (3, 3)), ("times", (), 3)], {"squarings": 3}),
        ([("regular", (2, 4, 4)), ("times", (2,), 4)], {"squarings": 5}),
    ],
    "det": [*_REGULAR, ([("singular", (2, 3, 3))], {})],
    "cofactors": [
        ([("regular", (3, 3)), ()], {}), ([("regular", (2, 4, 4)), (2,)], {}),
        ([("regular", (2, 0, 0)), (2,)], {}), ([("singular", (2, 3, 3)), ("zeros", (2,))], {}),
    ],
    "pair_products": _REGULAR, "slogdet": _REGULAR,
}  # fmt: skip



def _graph(function: Any, *types: Any) -> SubGraph:
    """The graph of a function of float64 values of these shapes (or (dtype, shape))."""
    b = Builder()
    inputs = [b.input(*t) if t and isinstance(t[0], DType) else b.input(dtypes.float64, t) for t in types]
    graph = b.graph(b.trace(function, *inputs))
    return SubGraph(graph.inputs, graph.nodes, graph.outputs)


def _control_samples() -> dict[str, Any]:
    rnn = _graph(
        lambda w, c, h, x: ((y := tanh(x + matmul(h, w))) * c, y * h), (3, 3), (), (2, 3), (2, 3)
    )
    sums = _graph(lambda total: (total * 2.0,), (4,))
    swap = _graph(lambda a, b, x: (b * x, sin(a), a), (3,), (3,), (3,))
    flags = {
        "true": _graph(lambda x, y: (sin(x) * y, y), (3,), (3,)),
        "false": _graph(lambda x, y: (x, x * y * y), (3,), (3,)),
    }
    small = _graph(lambda w, x: (lt(sum_(x * x), 40.0),), (3,), (3,))
    grow = _graph(lambda w, x: (x + w * w + 0.5,), (3,), (3,))
    at = {"consts": 2, "carries": 1, "length": 4}
    loop = {"cond": small, "body": grow, "consts": 1}
    return {
        "scan": [
            ([(3, 3), (), (2, 3), (4, 2, 3)], {"body": rnn, "reverse": r, **at}) for r in (False, True)
        ] + [
            ([(4,)], {"body": sums, "consts": 0, "carries": 1, "length": 3, "reverse": False}),
            ([(3,), (3,), (1, 3)], {"body": swap, "consts": 0, "carries": 2, "length": 1, "reverse": False}),
        ],
        "cond": [([("b", ()), (3,), (3,)], flags)] * 4,
        "while": [([(3,), (3,)], {**loop, "limit": n}) for n in (2, 30)],
        "missing": [],
    }  # fmt: skip


_SMOOTH = [([(5,)], {}), ([(3, 17)], {})]
_GELU = [(shapes, {"approximate": a}) for shapes, _ in _SMOOTH for a in ("none", "tanh")]


def _attention_samples() -> dict[str, Any]:
    """Lengths of less and of more than a block of keys; heads in groups; masks that broadcast."""
    forward, backward = [], []
    for (b, h, few, rows, keys, width, values), causal, mask in (
        ((1, 2, 2, 3, 4, 5, 6), False, None), ((2, 4, 2, 5, 3, 4, 4), True, None),
        ((1, 1, 1, 37, 141, 17, 3), False, None), ((1, 2, 1, 150, 150, 3, 17), True, None),
        ((2, 2, 2, 3, 5, 4, 4), False, ("seen", (2, 1, 1, 5))),
        ((2, 1, 1, 4, 3, 2, 2), False, ("seen", (1, 1, 4, 3))),
        ((1, 2, 2, 3, 4, 5, 6), True, (1, 2, 3, 4)), ((1, 1, 1, 18, 19, 4, 4), False, (1, 1, 18, 19)),
    ):
        q, grad = (b, h, rows, width), (b, h, rows, values)
        k, v, row = (b, few, keys, width), (b, few, keys, values), (b, h, rows)
        masks = [] if mask is None else [mask]
        at = {"causal": causal, "scale": 0.1}
        forward.append(([q, k, v, *masks], at))
        backward.append(([q, k, v, ("high", row), row, grad, *masks], at))
    return {"attention": forward, "attention_backward": backward}


STRUCTURAL: dict[str, Any] = {
    "moments": [
        ([(3, 4, 5)], {"dims": (0, 2)}), ([(4, 3)], {"dims": (1,)}), ([(6,)], {"dims": (0,)}),
        ([(2, 3)], {"dims": ()}),
    ],
    **_control_samples(),
    "custom_gradient": [
        (
            [(3,), (3,), (3,)],
            {"counts": (1, 1), "backward": _graph(lambda s, y, ct: (ct * s + ct * y,), (3,), (3,), (3,))},
        )
    ],
    "full": [([], {"value": 3, "shape": (2, 3), "dtype": dtypes.float32})],
    "iota": [([], {"shape": (3, 4), "dim": 1, "dtype": dtypes.int32})],
    "random_bits": [([("key",)], {"shape": (3, 5)})],
    "reshape": [([(3, 4)], {"shape": (2, 6)}), ([(6,)], {"shape": (1, 2, 3)}), ([()], {"shape": (1,)})],
    "permute": [([(2, 3, 4)], {"dims": (2, 0, 1)}), ([(33, 21)], {"dims": (1, 0)})],
    "expand": [([(1, 3, 1)], {"shape": (2, 3, 4)})],
    "slice": [([(5, 7)], {"start": (1, 0), "stop": (4, 7), "step": (1, 3)})],
    "pad": [
        ([(2, 3)], {"low": (1, 0), "high": (0, 2), "interior": (0, 0), "value": 0}),
        ([(3, 4)], {"low": (-1, 2), "high": (1, -1), "interior": (2, 1), "value": 0}),
    ],
    "flip": [([(3, 4)], {"dims": (1,)}), ([(3, 4)], {"dims": (0, 1)})],
    "put_slice": [
        ([(4, 5), (2, 2)], {"start": (1, 0), "step": (2, 3)}), ([(3,), (0,)], {"start": (1,), "step": (1,)}),
        ([(2, 3, 17), (1, 3, 16)], {"start": (1, 0, 1), "step": (1, 1, 1)}),
    ],
    "after": [([(2, 3)], {}), ([(2, 3), (4,), ()], {})],
    "concat": [([(2, 3), (2, 1), (2, 4)], {"dim": 1}), ([(2, 3), (1, 3)], {"dim": 0})],
    "interleave": [
        ([(3, 2)] * 3, {"step": (1, 3)}), ([(2, 3)] * 4, {"step": (2, 2)}), ([(4, 0)] * 2, {"step": (2, 1)}),
    ],
    "windows": [([(2, 7, 6)], {"first": 1, "size": (3, 2), "stride": (2, 1), "dilation": (1, 2)})],
    "window_sum": [
        (
            [(2, 3, 4, 3, 2)],
            {
                "first": 1, "size": (3, 2), "stride": (2, 1), "dilation": (1, 2), "extents": (7, 6),
            },
        )
    ],
    "reduce_sum": _REDUCTIONS, "reduce_prod": _REDUCTIONS, "reduce_max": _REDUCTIONS,
    "reduce_min": _REDUCTIONS, "reduce_any": _REDUCTIONS, "reduce_all": _REDUCTIONS,
    "argmax": _ALONG, "argmin": _ALONG, "cumsum": _ALONG, "cumprod": _ALONG, "cummax": _ALONG,
    "cummin": _ALONG,
    "sort": [
        *((s, {**at, "descending": d}) for s, at in _ALONG for d in (False, True)),
        *(([(3, n)], {"dim": 1, "descending": n > 20, "count": k}) for n, k in ((7, 3), (37, 5), (150, 100))),
    ],
    "gather": [
        ([(5, 4), ("i", (3, 2), 5)], {"dims": (0,)}),
        ([(5, 4, 3), ("i", (6,), 5), ("i", (6,), 3)], {"dims": (0, 2)}),
    ],
    "scatter": [
        ([(5, 4), (7, 4), ("i", (7,), 5)], {"dims": (0,), "mode": "add"}),
        ([(5, 4, 3), (3, 4), ("distinct", (3,), 5), ("i", (3,), 3)], {"dims": (0, 2), "mode": "set"}),
    ],
    "dot": [
        ([(3, 4), (4, 5)], {"contract": ((1,), (0,)), "batch": ((), ())}),
        ([(2, 3, 4), (5, 4, 2)], {"contract": ((2,), (1,)), "batch": ((0,), (2,))}),
        ([(3, 4, 2), (2, 5, 4)], {"contract": ((1, 2), (2, 0)), "batch": ((), ())}),
        ([(7,), (7,)], {"contract": ((0,), (0,)), "batch": ((), ())}),
    ],
    **_attention_samples(),
    "gelu": _GELU, "gelu_slope": _GELU, "silu": _SMOOTH, "silu_slope": _SMOOTH,
    **_MATRICES,
    "conv": _conv_samples("conv"), "conv_input_grad": _conv_samples("conv_input_grad"),
    "conv_weight_grad": _conv_samples("conv_weight_grad"),
    "conv_winograd": [
        ([(2, 20, 7, 9), (33, 20, 3, 3)], {"padding": ((1, 1), (0, 2)), "tile": 2}),
        ([(2, 16, 9, 6), (17, 16, 3, 3)], {"padding": ((1, 1), (1, 1)), "tile": 4}),
        ([(1, 37, 6, 5), (16, 37, 3, 3)], {"padding": ((2, 2), (-1, 3)), "tile": 4}),
        # Tiles enough to go through all steps in blocks.
        ([(10, 16, 47, 46), (16, 16, 3, 3)], {"padding": ((1, 1), (1, 1)), "tile": 4}),
    ],
}  # fmt: skip

ELEMENTWISE_SHAPES = [(), (5,), (3, 17)]


def dtypes_of(p: Primitive) -> tuple[DType, ...]:
    """The dtypes of a primitive's samples: the graphs inside of one are float64."""
    return (dtypes.float64,) if p.kind == "control" else p.dtypes


def samples_of(p: Primitive) -> list[tuple[list[Any], dict[str, Any]]]:
    """(input kinds, attributes) of a primitive's samples."""
    if p.name == "cast":
        return [([s], {"dtype": d}) for s in ((4, 9),) for d in dtypes.ALL]
    if p.name == "where":
        return [([("b", s), s, s], {}) for s in ELEMENTWISE_SHAPES]
    if p.kind == "elementwise":
        arity = p.infer.__closure__ and _arity(p)
        return [([s] * arity, {}) for s in ELEMENTWISE_SHAPES]
    return STRUCTURAL[p.name]


def _arity(p: Primitive) -> int:
    names = p.infer.__code__.co_freevars
    return dict(zip(names, (c.cell_contents for c in p.infer.__closure__)))["arity"]


def draw(p: Primitive, kinds: list[Any], dtype: DType, seed: int) -> list[np.ndarray]:
    """Arrays for one sample."""
    rng = np.random.default_rng(seed)
    arrays = []
    for kind in kinds:
        if kind == ("key",):
            arrays.append(np.array([seed, 7], np.int64))
        elif kind and kind[0] == "i":
            arrays.append(rng.integers(0, kind[2], kind[1]))
        elif kind and kind[0] == "times":
            arrays.append(np.full(kind[1], kind[2], np.int64))
        elif kind and kind[0] == "distinct":
            arrays.append(rng.permutation(kind[2])[: kind[1][0]])
        elif kind and isinstance(kind[0], str) and kind[0] in MATRIX_KINDS:
            arrays.append(MATRIX_KINDS[kind[0]](rng, *kind[1:]).astype(dtype.numpy))
        elif kind and kind[0] == "high":
            arrays.append(rng.uniform(6, 9, kind[1]).astype(dtype.numpy))
        elif kind and kind[0] == "seen":  # something in every row
            arrays.append(np.asarray(rng.random(kind[1]) < 0.5) | (np.arange(kind[1][-1]) == 1))
        elif kind and kind[0] == "b":
            arrays.append(np.asarray(rng.random(kind[1]) < 0.5))
        else:
            arrays.append(_values(p, kind, dtype, rng))
    return arrays


def _regular(rng: Any, shape: Any) -> np.ndarray:
    return rng.uniform(-1, 1, shape) + 2 * np.eye(shape[-1])


def _symmetric(rng: Any, shape: Any) -> np.ndarray:
    a = rng.uniform(-1, 1, shape)
    return a + np.swapaxes(a, -1, -2) + np.diag(np.arange(shape[-1]))


def _definite(rng: Any, shape: Any) -> np.ndarray:
    a = rng.uniform(-1, 1, shape)
    return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])


def _singular(rng: Any, shape: Any) -> np.ndarray:
    # Small integers, so that the last row is exactly twice the first in every dtype.
    a = rng.integers(-3, 4, shape).astype(np.float64)
    a[..., -1, :] = 2 * a[..., 0, :]
    return a


# Matrices of a kind. Directions in which the symmetric kinds are derived are symmetric too.
MATRIX_KINDS: dict[str, Any] = {
    "regular": _regular, "symmetric": _symmetric, "definite": _definite, "singular": _singular,
    "zeros": lambda rng, shape: np.zeros(shape),
    "small": lambda rng, shape: rng.uniform(0, 1e-6, shape),
}  # fmt: skip


def direction_of(kind: Any, array: np.ndarray, rng: Any) -> np.ndarray:
    """A random direction among inputs of a kind; tolerances stay."""
    v = rng.standard_normal(array.shape)
    if kind and kind[0] in ("symmetric", "definite"):
        return v + np.swapaxes(v, -1, -2)
    return np.zeros(array.shape) if kind and kind[0] in ("small", "zeros") else v


def _values(p: Primitive, shape: Any, dtype: DType, rng: Any) -> np.ndarray:
    low, high = p.domain
    if dtype.kind == "f":
        return np.asarray(rng.uniform(low, high, shape)).astype(dtype.numpy)
    if dtype.kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if p.name.startswith("shift"):
        return np.asarray(rng.integers(0, 7, shape)).astype(dtype.numpy)
    if p.name == "pow":
        return np.asarray(rng.integers(0, 5, shape)).astype(dtype.numpy)
    if p.name in ("floor_div", "trunc_div", "remainder", "fmod"):
        return np.asarray(rng.integers(1, 20, shape)).astype(dtype.numpy)
    return np.asarray(rng.integers(0 if dtype.kind == "u" else -9, 10, shape)).astype(dtype.numpy)


DIFFERENTIABLE_INPUTS = {"gather": 1, "scatter": 2}
