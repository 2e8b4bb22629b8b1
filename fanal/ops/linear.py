"""Public contractions: matmul and its relatives, linear, tensordot (einsum has its own file)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.dot import dot_p
from fanal.ops.layout import expand_to, zeros_like_type
from fanal.ops.pointwise import eq, mul, where
from fanal.ops.primitive import normalize_dim
from fanal.ops.promotion import broadcast_shapes, cast
from fanal.ops.reductions import sum as sum_
from fanal.ops.shape import permuted, reshaped


def _same_dtype(name: str, a: Value, b: Value) -> None:
    if a.dtype is not b.dtype:
        raise RuntimeError(
            message(
                name, "operands have different dtypes", f"{a.dtype!r} and {b.dtype!r}",
                "one dtype", "casting one with .to(...)",
            )
        )


def _multiply(name: str, a: Value, b: Value) -> Value:
    """matmul's rules: vectors, matrices, broadcast batches."""
    _same_dtype(name, a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise RuntimeError(
            message(name, "an operand without dimensions", f"{a.shape} and {b.shape}", hint="*")
        )
    inner_b = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != inner_b:
        raise RuntimeError(
            message(
                name, "inner dimensions differ", f"{tuple(a.shape)} and {tuple(b.shape)}",
                "the last of the first equal to the last but one of the second",
                "transposing an operand",
            )
        )
    if a.dtype is dtypes.bool_:
        raise RuntimeError(message(name, "not defined for bool", hint=".to(fanal.int64)"))
    k_a, k_b = a.ndim - 1, max(b.ndim - 2, 0)
    if b.ndim <= 2 or (a.ndim == 1 and b.ndim == 1):
        # The batch dimensions of a are rows of one matrix.
        return bind(dot_p, a, b, contract=((k_a,), (k_b,)), batch=((), ()))
    if a.ndim == 1:
        out = bind(dot_p, b, a, contract=((k_b,), (0,)), batch=((), ()))
        return out
    shape = broadcast_shapes(a.shape[:-2], b.shape[:-2], op=name)
    a = expand_to(a, shape + a.shape[-2:])
    b = expand_to(b, shape + b.shape[-2:])
    dims = tuple(range(len(shape)))
    return bind(dot_p, a, b, contract=((a.ndim - 1,), (b.ndim - 2,)), batch=(dims, dims))


@fused
def matmul(input: Any, other: Any) -> Any:
    """Matrix product; vectors and batches as in `torch.matmul`.

    Shapes: (…, n, k) @ (…, k, m) → (…, n, m) with batch dimensions broadcast; (k,) @ (k,) → ().
    """
    return _multiply("matmul", input, other)


def _exact(name: str, doc: str, ranks: tuple[int, int]) -> Any:
    def function(input: Any, mat2: Any) -> Any:
        if (input.ndim, mat2.ndim) != ranks:
            raise RuntimeError(
                message(
                    name, "wrong number of dimensions", f"{input.ndim} and {mat2.ndim}",
                    f"{ranks[0]} and {ranks[1]}", "matmul()",
                )
            )
        if name == "bmm" and input.shape[0] != mat2.shape[0]:
            raise RuntimeError(
                message("bmm", "batch sizes differ", f"{input.shape} and {mat2.shape}")
            )
        return _multiply(name, input, mat2)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return fused(function)


mm = _exact("mm", "Product of two matrices: (n, k) @ (k, m) → (n, m).", (2, 2))
bmm = _exact("bmm", "Batched product: (b, n, k) @ (b, k, m) → (b, n, m).", (3, 3))
_mv = _exact("mv", "", (2, 1))


@fused
def mv(input: Any, vec: Any) -> Any:
    """Matrix times vector: (n, k) @ (k,) → (n,)."""
    return _mv(input, vec)


@fused
def dot(input: Any, tensor: Any) -> Any:
    """Sum of products of two vectors of equal length."""
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(
            message("dot", "not vectors", f"{input.ndim} and {tensor.ndim} dimensions", hint="matmul()")
        )
    return _multiply("dot", input, tensor)


@fused
def outer(input: Any, vec2: Any) -> Any:
    """All products of two vectors: (n,) and (m,) → (n, m)."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(message("outer", "not vectors", f"{input.ndim} and {vec2.ndim} dims"))
    return mul(reshaped(input, (*input.shape, 1)), reshaped(vec2, (1, *vec2.shape)))


@fused
def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """x Wᵀ + b. Shapes: x (…, in), W (out, in) or (in,), b (out,) → (…, out)."""
    if input.shape[-1:] != weight.shape[-1:]:
        raise RuntimeError(
            message(
                "linear", "the input's last extent is not the layer's in_features",
                f"input {tuple(input.shape)} and weight {tuple(weight.shape)}",
                f"an input whose last extent is {weight.shape[-1] if weight.ndim else 1}",
            )
        )
    _same_dtype("linear", input, weight)
    k = (input.ndim - 1,), (weight.ndim - 1,)
    out = bind(dot_p, input, weight, contract=k, batch=((), ()))
    return out if bias is None else out + bias


@fused(scalars=("beta", "alpha"))
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · (mat1 @ mat2)."""
    return scaled_sum(input, _multiply("addmm", mat1, mat2), beta, alpha)


def scaled_sum(x: Value, y: Value, beta: Any, alpha: Any) -> Value:
    """beta · x + alpha · y; where beta is zero x is left out, its NaNs and infinities as well."""
    if isinstance(alpha, Value) or alpha != 1:
        y = y * _factor(alpha, y)
    if isinstance(beta, Value):
        scaled = x * _factor(beta, x)
        x = where(eq(beta, 0), 0, scaled) if x.dtype.kind == "f" else scaled
    elif beta != 1:
        x = x * _factor(beta, x) if beta else zeros_like_type(x)
    return x + y


def _factor(number: Any, x: Value) -> Any:
    """A factor of integers is cut to an integer, so that the result stays one."""
    if x.dtype.kind == "f":
        return number
    return cast(number, x.dtype) if isinstance(number, Value) else int(number)


@fused(scalars=("beta", "alpha"))
def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · (batch1 @ batch2), batch by batch."""
    return scaled_sum(input, _multiply("baddbmm", batch1, batch2), beta, alpha)


@fused(scalars=("beta", "alpha"))
def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · (mat @ vec)."""
    return scaled_sum(input, _multiply("addmv", mat, vec), beta, alpha)


@fused(scalars=("beta", "alpha"))
def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta · input + alpha · Σ over the batch of batch1 @ batch2."""
    out = bind(dot_p, batch1, batch2, contract=((0, 2), (0, 1)), batch=((), ()))
    return scaled_sum(input, out, beta, alpha)


@fused
def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """Contraction over the last/first `dims` dimensions, or over two lists of them.

    Shapes: the dimensions of a that are left, then those of b. An extent of 1 is repeated.
    """
    left, right = _contracted_dims(a, b, dims)
    for i, j in zip(left, right, strict=True):
        if a.shape[i] != b.shape[j] and 1 not in (a.shape[i], b.shape[j]):
            raise RuntimeError(
                message(
                    "tensordot", f"extents to contract differ: dimension {i} of the first and {j} "
                    "of the second", f"{tuple(a.shape)} and {tuple(b.shape)}", "equal extents",
                )
            )  # fmt: skip
    _same_dtype("tensordot", a, b)
    # A dimension of extent 1 takes the sum of the other operand's.
    unequal = [(i, j) for i, j in zip(left, right, strict=True) if a.shape[i] != b.shape[j]]
    wide_a = [i for i, j in unequal if b.shape[j] == 1]
    wide_b = [j for i, j in unequal if a.shape[i] == 1]
    a = sum_(a, wide_a, True, dtype=a.dtype) if wide_a else a
    b = sum_(b, wide_b, True, dtype=b.dtype) if wide_b else b
    return bind(dot_p, a, b, contract=(left, right), batch=((), ()))


def _contracted_dims(a: Value, b: Value, dims: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise RuntimeError(
                message(
                    "tensordot", "as many dimensions can't be contracted", dims,
                    f"0 to {min(a.ndim, b.ndim)} for {a.ndim} and {b.ndim} dimensions",
                )
            )
        return tuple(range(a.ndim - dims, a.ndim)), tuple(range(dims))
    first, second = (tuple(d) if isinstance(d, Sequence) else (d,) for d in dims)
    if len(first) != len(second):
        raise RuntimeError(
            message("tensordot", "lists of dimensions differ in length", f"{first} and {second}")
        )
    return (
        tuple(normalize_dim("tensordot", d, a.ndim) for d in first),
        tuple(normalize_dim("tensordot", d, b.ndim) for d in second),
    )


__all__ = [
    "addbmm", "addmm", "addmv", "baddbmm", "bmm", "cast", "dot", "linear",
    "matmul", "mm", "mv", "outer", "permuted", "sum_", "tensordot",
]  # fmt: skip
