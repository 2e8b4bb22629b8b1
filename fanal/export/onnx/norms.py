"""Normalisations: softmax, batch and layer normalisation, as ONNX's operators of these names."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from fanal.export.onnx.kinds import takes
from fanal.export.onnx.matching import made_by, number, plain, reduced_over, spread_vector, unspread
from fanal.export.onnx.records import Ref
from fanal.export.onnx.writer import Writer, is_one, same_dim, same_dims
from fanal.graph.ir import Node, Value


def _shifted(v: Value) -> tuple[Value, int] | None:
    """x of x - max x over one dimension, and that dimension."""
    sub = made_by(v, "sub")
    peak = None if sub is None else reduced_over(sub.inputs[1], "reduce_max")
    if sub is None or peak is None or len(peak[1]) != 1 or peak[0] is not plain(sub.inputs[0]):
        return None
    return peak[0], peak[1][0]


def softmax(node: Node) -> Any:
    """eˣ⁻ᵐ through its sum over one dimension."""
    e = made_by(node.inputs[0], "exp")
    total = reduced_over(node.inputs[1], "reduce_sum")
    found = None if e is None else _shifted(e.inputs[0])
    if e is None or total is None or found is None or total != (e.outputs[0], (found[1],)):
        return None
    return write_soft("Softmax", found[1]), (found[0],)


def log_softmax(node: Node) -> Any:
    """(x - m) - log Σ eˣ⁻ᵐ over one dimension."""
    found = _shifted(node.inputs[0])
    log = made_by(unspread(node.inputs[1]), "log")
    total = None if log is None else reduced_over(log.inputs[0], "reduce_sum")
    e = None if total is None else made_by(total[0], "exp")
    if found is None or total is None or e is None or total[1] != (found[1],):
        return None
    if plain(e.inputs[0]) is not plain(node.inputs[0]):
        return None
    return write_soft("LogSoftmax", found[1]), (found[0],)


def write_soft(op: str, axis: int) -> Any:
    def write(w: Writer, n: Node, x: Ref) -> Ref:
        dtype = w.dtype_for(op, x.dtype)
        y = w.op(op, [w.cast(w.whole(x), dtype)], dtype, x.shape, axis=axis)
        return w.cast(y, x.dtype)

    return write


def _operands(v: Value, name: str) -> Any:
    """The two operands of a node, if it is of a primitive."""
    node = made_by(v, name)
    return (None, None) if node is None else node.inputs


def _deviation(v: Value) -> tuple[Value, float] | None:
    """The variance of 1/√(variance + ε), and ε."""
    root = made_by(unspread(v), "rsqrt")
    total = None if root is None else made_by(root.inputs[0], "add")
    eps = None if total is None else number(total.inputs[1])
    return None if total is None or eps is None else (plain(total.inputs[0]), float(eps))


class _Normal(NamedTuple):
    """The parts of ((x - mean)/√(variance + eps)) · weight + bias; difference: x - mean."""

    x: Value
    mean: Value
    difference: Value
    variance: Value
    eps: float
    weight: Value
    bias: Value


def _normal(node: Node, rank: int, operator: str) -> _Normal | None:
    """The parts of a normalisation of at least so many dimensions, of a dtype that the operator takes."""
    product, bias = node.inputs
    normal, weight = _operands(product, "mul")
    difference, root = (None, None) if normal is None else _operands(normal, "mul")
    x, mean = (None, None) if difference is None else _operands(difference, "sub")
    deviation = None if root is None else _deviation(root)
    if x is None or deviation is None or x.ndim < rank or x.dtype not in takes(operator):
        return None
    assert weight is not None and mean is not None and difference is not None
    return _Normal(x, mean, difference, *deviation, weight, bias)


def batch_norm(node: Node) -> Any:
    """((x - mean)/√(var + ε)) · weight + bias by vectors along dimension 1."""
    parts = _normal(node, 2, "BatchNormalization")
    if parts is None:
        return None
    x, eps, variance = parts.x, parts.eps, parts.variance.node
    vectors = [spread_vector(v, 1) for v in (parts.weight, parts.bias, parts.mean)]
    inner = None if variance is None or variance.primitive.name != "reshape" else plain(variance.inputs[0])
    along = inner is not None and inner.ndim == 1 and same_dim(inner.shape[0], x.shape[1])
    if any(v is None for v in vectors) or not along or any(not is_one(n) for d, n in enumerate(parts.variance.shape) if d != 1):
        return None

    def write(w: Writer, n: Node, *xs: Ref) -> Ref:
        given = [w.whole(v) for v in xs]
        return w.op("BatchNormalization", given, xs[0].dtype, xs[0].shape, epsilon=eps)

    return write, (x, *vectors, inner)


def layer_norm(node: Node) -> Any:
    """((x - mean)/√(Σ(x - mean)²/n + ε)) · weight + bias over the last dimension."""
    parts = _normal(node, 1, "LayerNormalization")
    if parts is None:
        return None
    x, eps, last = parts.x, parts.eps, parts.x.ndim - 1
    vectors = [spread_vector(v, last) for v in (parts.weight, parts.bias)]
    if not _is_variance(parts.variance, x, parts.difference, parts.mean, last) or any(v is None for v in vectors):
        return None

    def write(w: Writer, n: Node, *xs: Ref) -> Ref:
        given = [w.whole(v) for v in xs]
        return w.op(
            "LayerNormalization", given, xs[0].dtype, xs[0].shape, axis=last, epsilon=eps
        )

    return write, (x, *vectors)


def _is_variance(variance: Value, x: Value, difference: Value, center: Value, last: int) -> bool:
    """Whether a value is the mean of (x - mean)² over the last dimension, and another is that mean: from
    one primitive, or as sums through their count."""
    squares, count = _operands(variance, "div")
    if squares is None or type(x.shape[last]) is not int or number(count) != x.shape[last]:
        return False
    both = made_by(squares, "moments")
    if both is not None:
        same = plain(both.inputs[0]) is plain(x) and both.attributes["dims"] == (last,)
        return same and plain(squares) is both.outputs[1] and unspread(center) is both.outputs[0]
    total = reduced_over(squares, "reduce_sum")
    product = None if total is None else made_by(total[0], "mul")
    if product is None or total is None or total[1] != (last,):
        return False
    if any(plain(v) is not plain(difference) for v in product.inputs):
        return False
    of = _mean_of(unspread(center).node)
    return of is not None and of[0] is plain(x) and of[1] == (last,)


def _mean_of(node: Node | None) -> tuple[Value, tuple[int, ...], bool] | None:
    """What a node is the mean of, over which dimensions, and whether these are kept: a sum through the
    number of its terms."""
    if node is None or node.primitive.name != "div":
        return None
    total, count = node.inputs
    kept = reduced_over(total, "reduce_sum") if made_by(total, "reshape") is not None else None
    inner = made_by(total, "reduce_sum")
    if kept is not None:
        x, dims = kept
        ones = tuple(1 if d in dims else n for d, n in enumerate(x.shape))
        if not same_dims(ones, node.outputs[0].shape):
            return None
    elif inner is not None:
        x, dims = plain(inner.inputs[0]), inner.attributes["dims"]
    else:
        return None
    sizes = [x.shape[d] for d in dims]
    known = dims and all(type(n) is int for n in sizes) and number(count) == prod(sizes)
    return (x, dims, kept is not None) if known else None


def mean(node: Node) -> Any:
    """A sum through the number of its terms."""
    found = _mean_of(node)
    if found is None or found[0].dtype not in takes("ReduceSum"):
        return None
    x, dims, kept = found

    def write(w: Writer, n: Node, v: Ref) -> Ref:
        shape = n.outputs[0].shape
        return w.op("ReduceMean", [w.whole(v), w.ints(dims)], v.dtype, shape, keepdims=int(kept))

    return write, (x,)
