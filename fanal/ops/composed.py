"""Composed primitives: functions over other primitives that bring derivatives of their own.

A composite function needs no record: it is traced and differentiated node by node. Where that gives
a poor derivative (division by differences of singular values, one saved matrix for each squaring),
the function becomes a primitive with a rule of its own. Any backend computes it by its body.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fanal.core import dtypes as dtypes_
from fanal.core.cache import BoundedCache
from fanal.core.dtypes import DType
from fanal.graph.ir import Builder, Graph, Type, Value, attribute_key
from fanal.ops.derive.batching import batched
from fanal.ops.derive.forward import jvp as graph_jvp
from fanal.ops.layout import in_front
from fanal.ops.primitive import Primitive
from fanal.ops.promotion import cast


def body_of(primitive: Primitive, types: Sequence[Type], attributes: Mapping[str, Any]) -> Graph:
    """The graph of what a composed primitive computes for inputs of these types: always the same one."""
    key = (primitive, tuple(types), attribute_key(dict(attributes)))
    found: Graph | None = _bodies.get(key)
    if found is None:
        assert primitive.body is not None
        builder = Builder()
        inputs = [builder.input(*t) for t in types]
        result = builder.trace(primitive.body, *inputs, **attributes)
        found = builder.graph(result if isinstance(result, tuple) else [result])
        _bodies[key] = found
    return found


_bodies: BoundedCache = BoundedCache(1024)


def jvp_of_body(primitive: Primitive) -> Callable[..., Any]:
    """The rule that a primitive's tangents are those of its body."""

    def jvp(tangents: Any, inputs: Any, outputs: Any, **attributes: Any) -> Any:
        graph = body_of(primitive, [v.type for v in inputs], attributes)
        return graph_jvp(graph, inputs, tangents)[1]

    return jvp


def in_double(body: Callable[..., Any]) -> Callable[..., Any]:
    """The body in float64 whatever the dtype, rounded once: as host primitives compute."""

    @functools.wraps(body)
    def wide(*values: Value, **attributes: Any) -> Any:
        dtype = values[0].dtype
        out = body(*(cast(v, dtypes_.float64) for v in values), **attributes)
        return tuple(cast(v, dtype) for v in out) if isinstance(out, tuple) else cast(out, dtype)

    return wide


def composed(name: str, body: Callable[..., Any], dtypes: tuple[DType, ...], **fields: Any) -> Primitive:
    """Register a primitive that `body`, a function over other primitives, computes.

    `fields` are those of the record: `jvp`, `transpose`, `multiple`, `doc`. The rules must not
    lead back to differentiating the body.
    """

    def infer(*values: Value, **attributes: Any) -> list[Type]:
        return [v.type for v in body_of(primitive, [v.type for v in values], attributes).outputs]

    def reference(*arrays: Any, **attributes: Any) -> Any:
        given = [np.asarray(a) for a in arrays]
        types = [Type(dtypes_.from_numpy_dtype(a.dtype), a.shape) for a in given]
        graph = body_of(primitive, types, attributes)
        out = graph.apply(given, lambda p, *xs, **at: p.reference(*xs, **at))
        return tuple(out) if primitive.multiple else out[0]

    def batch(inputs: Any, axes: Any, size: int, **attributes: Any) -> Any:
        types = [
            v.type if a is None else Type(v.dtype, (*v.shape[:a], *v.shape[a + 1 :]))
            for v, a in zip(inputs, axes, strict=True)
        ]
        results, places = batched(body_of(primitive, types, attributes), inputs, axes, size)
        out = tuple(in_front(x, a, size) for x, a in zip(results, places, strict=True))
        return (out, (0,) * len(out)) if primitive.multiple else (out[0], 0)

    primitive = Primitive(
        name=name, kind="composed", body=body, infer=infer, reference=reference, batch=batch,
        dtypes=dtypes, **fields,
    )  # fmt: skip
    return primitive
