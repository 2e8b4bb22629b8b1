"""What an operation *is*: one record with its meaning, derivatives and tests.

A primitive's record is the only place where its shape rule, dtype rule, derivatives, batching rule,
reference and samples stand. Backends add a lowering only where it can't be derived from the record.
Derivative rules are written with the same public operations that users call, so that they can be
traced, compiled and differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.core.errors import DTypeError, message
from fanal.graph.ir import Type, Value

TABLE: dict[str, Primitive] = {}

FLOATS = tuple(d for d in dtypes.ALL if d.kind == "f")
INTEGERS = tuple(d for d in dtypes.ALL if d.kind in "iu")
NUMBERS = FLOATS + INTEGERS
BOOL = (dtypes.bool_,)
EVERY = NUMBERS + BOOL


@dataclass(eq=False, kw_only=True)
class Primitive:
    """One operation. Fields that are None mean: does not apply (the kind decides).

    infer(*values, **attributes) -> list of Type: shape and dtype rule; raises for bad input.
    reference(*arrays, **attributes) -> array(s): the meaning, in NumPy.
    partials(*inputs, output) -> one Value or None an input: elementwise derivatives.
    jvp(tangents, inputs, outputs, **attributes) -> tangent output(s), linear in tangents; None = 0.
    transpose(cotangent, inputs, linear, **attributes) -> one cotangent or None an input, for
        operations linear in the inputs marked in `linear`.
    batch(inputs, axes, size, **attributes) -> (outputs, axes): the operation on batched inputs.
    push, augment, pull: derivatives of operations that have graphs inside (see `ops.control`), or that
        compute more, or something else, where a derivative is wanted (`ops.activations`, `ops.attention`).
        push(inputs, tangents, **attributes) -> (outputs, their tangents), from one run.
        augment(inputs, active, given, **attributes) -> outputs of an operation with the same
        outputs in front, which also gives what its pull needs; None where there is none. `active`
        inputs move, `given` outputs may have cotangents.
        pull(node, cotangents, linear) -> one cotangent or None an input.
    body(*inputs, **attributes): of a composed primitive, what it is in terms of others.
    native: the name of the native backend's rule, where it is not the primitive's own.
    ulp: bound on the error of float32 (float64) results in units in the last place.
    domain: interval that samples are drawn from; specials are added to them.
    """

    name: str
    kind: str
    infer: Callable[..., list[Type]]
    reference: Callable[..., Any]
    doc: str = ""
    dtypes: tuple[DType, ...] = EVERY
    partials: Callable[..., Sequence[Value | None]] | None = None
    jvp: Callable[..., Any] | None = None
    transpose: Callable[..., Sequence[Value | None]] | None = None
    batch: Callable[..., Any] | None = None
    push: Callable[..., Any] | None = None
    augment: Callable[..., Any] | None = None
    pull: Callable[..., Sequence[Value | None]] | None = None
    body: Callable[..., Any] | None = None
    native: str = ""
    multiple: bool = False
    ulp: float = 1.0
    domain: tuple[float, float] = (-4.0, 4.0)
    smooth: bool = True
    samples: Callable[..., Any] | None = None
    limits: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name in TABLE:
            raise ValueError(f"primitive {self.name!r} is registered already")
        self.native = self.native or self.name
        TABLE[self.name] = self

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def same_shape(name: str, values: Sequence[Value]) -> tuple[int, ...]:
    """The one shape of all values; primitives don't broadcast (public functions do)."""
    first = values[0].shape
    for v in values[1:]:
        if v.shape != first:
            raise ValueError(
                message(name, "shapes differ", " and ".join(str(x.shape) for x in values))
            )
    return first


def check_dtype(name: str, dtype: DType, allowed: tuple[DType, ...]) -> None:
    """Raise DTypeError for a dtype that the operation isn't defined for."""
    if dtype not in allowed:
        raise DTypeError(
            message(
                name, "not defined for this dtype", repr(dtype),
                "one of " + ", ".join(d.name for d in allowed), "casting with .to(...)",
            )
        )


def elementwise(
    name: str,
    reference: Callable[..., Any],
    *,
    arity: int,
    dtypes_: tuple[DType, ...] = NUMBERS,
    result: DType | None = None,
    partials: Callable[..., Sequence[Any]] | None = None,
    **fields: Any,
) -> Primitive:
    """Register an operation that maps elements to elements; all inputs have one dtype and shape."""

    def infer(*values: Value) -> list[Type]:
        if len(values) != arity:
            raise TypeError(message(name, "wrong number of inputs", len(values), str(arity)))
        for v in values:
            check_dtype(name, v.dtype, dtypes_)
            if v.dtype is not values[0].dtype:
                raise TypeError(
                    message(name, "dtypes differ", f"{values[0].dtype!r} and {v.dtype!r}")
                )
        return [Type(result or values[0].dtype, same_shape(name, values))]

    return Primitive(
        name=name,
        kind="elementwise",
        infer=infer,
        reference=reference,
        partials=partials,
        dtypes=dtypes_,
        **fields,
    )


def normalize_dim(name: str, dim: int, ndim: int) -> int:
    """A dimension number in 0..ndim-1; raises IndexError as PyTorch does."""
    low, high = (-ndim, ndim - 1) if ndim else (-1, 0)
    if not low <= dim <= high:
        raise IndexError(
            message(name, "dimension out of range", dim, f"a number from {low} to {high}")
        )
    return dim % ndim if ndim else 0


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements (zero-size dims count as 1, as in PyTorch)."""
    strides = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))


def as_reference(x: Any) -> Any:
    """NumPy array of a reference result."""
    return np.asarray(x)
