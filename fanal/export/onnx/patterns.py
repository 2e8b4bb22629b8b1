"""Groups of operations that ONNX has one operator for, so that runtimes run their best code for them.

A pattern stands for the same sums, products and comparisons; only roundings may differ, as between
runtimes. What is recognised is written at the group's last node; the others are written only if something
else needs them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fanal.export.onnx.activations import clip, leaky_relu, relu, write_extreme
from fanal.export.onnx.conv import conv, conv_transpose, missing
from fanal.export.onnx.kinds import takes
from fanal.export.onnx.matching import (
    made_by,
    single_use,
    spread_vector,
)
from fanal.export.onnx.norms import batch_norm, layer_norm, log_softmax, mean, softmax
from fanal.export.onnx.pools import average_pool, max_pool
from fanal.export.onnx.records import Ref
from fanal.export.onnx.recurrent import recurrent
from fanal.export.onnx.writer import Writer
from fanal.graph.ir import Graph, Node, Value


class Group(NamedTuple):
    """What is written for a group: a function of its operands."""

    write: Callable[..., Any]
    operands: tuple[Value, ...]


Uses = Mapping[Value, int]


def recognised(graph: Graph) -> dict[Node, Group]:
    """The groups of a graph by their last nodes."""
    uses: Counter[Value] = Counter(v for n in graph.nodes for v in n.inputs)
    uses.update(graph.outputs)
    found = {}
    for node in graph.nodes:
        for pattern in _BY_PRIMITIVE.get(node.primitive.name, ()):
            group = pattern(node, uses)
            if group is not None:
                found[node] = group
                break
    return found


def _floats(v: Value) -> bool:
    return v.dtype.kind == "f"


# -- products with something added ----------------------------------------------------------------------


def _pairs(node: Node) -> Any:
    a, b = node.inputs
    return ((a, b), (b, a))


def _gemm(node: Node, uses: Uses) -> Group | None:
    for product, other in _pairs(node):
        dot = made_by(product, "dot")
        bias = spread_vector(other, 1) if product.ndim == 2 else None
        if dot is not None and bias is not None and single_use(product, uses) and _is_gemm(dot):
            return Group(lambda w, n, a, b, c, dot=dot: _write_gemm(w, dot, a, b, c), (*dot.inputs, bias))
    return None


def _is_gemm(dot: Node) -> bool:
    a, b = dot.inputs
    one = len(dot.attributes["contract"][0]) == 1 and not dot.attributes["batch"][0]
    return a.ndim == b.ndim == 2 and one and a.dtype in takes("Gemm")


def _matrices(node: Node, uses: Uses) -> Group | None:
    if not _is_gemm(node):
        return None
    (i,), (j,) = node.attributes["contract"]
    if (i, j) == (1, 0):
        return None  # what MatMul is
    return Group(lambda w, n, a, b: _write_gemm(w, n, a, b), node.inputs)


def _write_gemm(w: Writer, dot: Node, a: Ref, b: Ref, *bias: Ref) -> Ref:
    (i,), (j,) = dot.attributes["contract"]
    inputs = [w.whole(x) for x in (a, b, *bias)]
    at: dict[str, Any] = {**({"transA": 1} if i == 0 else {}), **({"transB": 1} if j == 1 else {})}
    return w.op("Gemm", inputs, a.dtype, dot.outputs[0].shape, **at)


def _conv_bias(node: Node, uses: Uses) -> Group | None:
    for product, other in _pairs(node):
        one = made_by(product, "conv", "conv_input_grad")
        bias = spread_vector(other, 1)
        if one is None or bias is None or not _floats(product) or not single_use(product, uses):
            continue
        if one.primitive.name == "conv":
            return Group(_with_bias(one), (*one.inputs, bias))
        if missing(one) is not None:
            return Group(_transposed_with_bias(one), (*one.inputs, bias))
    return None


def _with_bias(one: Node) -> Callable[..., Ref]:
    return lambda w, n, x, weight, bias: conv(w, one.attributes, x, weight, one.outputs[0].shape, bias)


def _transposed_with_bias(one: Node) -> Callable[..., Ref]:
    return lambda w, n, g, weight, bias: conv_transpose(w, one, g, weight, bias)


def _group(matcher: Callable[[Node], Any]) -> Callable[[Node, Uses], Group | None]:
    def pattern(node: Node, uses: Uses) -> Group | None:
        found = matcher(node)
        return None if found is None else Group(*found)

    return pattern


_BY_PRIMITIVE: dict[str, tuple[Callable[[Node, Uses], Group | None], ...]] = {
    "where": tuple(map(_group, (max_pool, relu, leaky_relu, clip, write_extreme))),
    "minimum": (_group(clip),),
    "reduce_max": (_group(max_pool),),
    "add": (_group(batch_norm), _group(layer_norm), _gemm, _conv_bias),
    "dot": (_matrices,),
    "div": (_group(softmax), _group(average_pool), _group(mean)),
    "sub": (_group(log_softmax),),
    "scan": (_group(recurrent),),
}

