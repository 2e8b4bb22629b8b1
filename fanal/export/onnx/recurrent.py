"""Recurrent layers as ONNX's LSTM, GRU and RNN, for which runtimes have kernels.

A layer is a scan whose body is one of the steps of `fanal.nn.functional.recurrent`: the body that a step
gives for the same types is made and compared with the one that is there. What the scan goes along are the
inputs' products with their weights, which ONNX's operators make themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fanal.core import dtypes
from fanal.core.cache import BoundedCache
from fanal.export.onnx.matching import made_by, plain, spread_vector
from fanal.export.onnx.records import Ref
from fanal.export.onnx.writer import Writer
from fanal.graph.ir import Builder, Node, SubGraph, Type, Value
from fanal.nn.functional.recurrent import gru_step, lstm_step, rnn_relu_step, rnn_tanh_step
from fanal.ops.control import loop


class Kind(NamedTuple):
    """ONNX's operator, the order in which it has the gates, its attributes, and how many states."""

    op: str
    step: Callable[..., Any]
    gates: tuple[int, ...]
    attributes: dict[str, Any]
    states: int


_KINDS = (
    Kind("LSTM", lambda x, h, c, w, b: lstm_step(x, h, c, w, b, None), (0, 3, 1, 2), {}, 2),
    Kind("GRU", lambda x, h, w, b: (gru_step(x, h, w, b),), (1, 0, 2), {"linear_before_reset": 1}, 1),
    Kind("RNN", lambda x, h, w, b: (rnn_tanh_step(x, h, w, b),), (0,), {"activations": ["Tanh"]}, 1),
    Kind("RNN", lambda x, h, w, b: (rnn_relu_step(x, h, w, b),), (0,), {"activations": ["Relu"]}, 1),
)
_bodies: BoundedCache = BoundedCache(256)


def recurrent(node: Node) -> Any:
    """A scan that is a layer, with what the layer takes: inputs, weights, biases, states."""
    at = node.attributes
    count, carries = at["consts"], at["carries"]
    consts, states, xs = node.inputs[:count], node.inputs[count : count + carries], node.inputs[count + carries :]
    if len(xs) != 1 or count not in (1, 2) or xs[0].dtype is not dtypes.float32 or xs[0].ndim != 3:
        return None
    kind = next((k for k in _KINDS if k.states == carries and _is_step(k, node)), None)
    projected = None if kind is None else _projected(xs[0])
    if kind is None or projected is None or not _fits(kind, projected[1], consts[0]):
        return None
    x, weight, bias = projected
    biases = [v for v in (bias, consts[1] if count == 2 else None) if v is not None]
    which = (bias is not None, count == 2)

    def write(w: Writer, n: Node, *given: Ref) -> tuple[Ref, ...]:
        return _write(w, n, kind, which, given)

    return write, (x, weight, consts[0], *biases, *states)


def _fits(kind: Kind, weight: Value, again: Value) -> bool:
    gates, hidden = len(kind.gates), again.shape[1]
    sizes = [weight.shape[0], again.shape[0], hidden]
    return all(type(n) is int for n in sizes) and sizes[0] == sizes[1] == gates * hidden


def _is_step(kind: Kind, node: Node) -> bool:
    """Whether a scan's body is what a step gives for values of the same types."""
    body: SubGraph = node.attributes["body"]
    if len(body.outputs) != kind.states + 1:
        return False
    types = tuple(v.type for v in node.inputs)
    key = (kind.op, str(kind.attributes), types, node.attributes["consts"], node.attributes["length"])
    found = _bodies.get(key)
    if found is None:
        found = _bodies[key] = _body(kind, types, node)
    return bool(found == body.key)


def _body(kind: Kind, types: Sequence[Type], node: Node) -> str:
    """The digest of the body that a step gives; nothing if the types don't fit it."""
    count = node.attributes["consts"]
    builder = Builder()
    inputs = [builder.input(*t) for t in types]

    def function(*values: Value) -> Any:
        weights = [*values[:count], *[None] * (2 - count)]
        states, xs = list(values[count:-1]), [values[-1]]

        def step(carry: Any, slices: Any) -> Any:
            new = kind.step(slices[0], *carry, *weights)
            return new, new[:1]

        last, ys = loop(step, states, xs, node.attributes["length"], node.attributes["reverse"])
        return (*last, *ys)

    try:
        builder.trace(function, *inputs)
    except (RuntimeError, ValueError, TypeError):
        return ""
    scan = next((n for n in builder.nodes if n.primitive.name == "scan"), None)
    return "" if scan is None else scan.attributes["body"].key


def _projected(gates: Value) -> tuple[Value, Value, Value | None] | None:
    """Inputs, weight and bias of a product of the inputs of all steps."""
    bias: Value | None = None
    dot = made_by(gates, "dot")
    total = made_by(gates, "add")
    if total is not None:
        dot, bias = made_by(total.inputs[0], "dot"), spread_vector(total.inputs[1], 2)
        if bias is None:
            return None
    if dot is None or dot.attributes != {"contract": ((2,), (1,)), "batch": ((), ())}:
        return None
    x, weight = (plain(v) for v in dot.inputs)
    return x, weight, bias


def _write(w: Writer, node: Node, kind: Kind, which: tuple[bool, bool], given: Sequence[Ref]) -> tuple[Ref, ...]:
    x, weight, again, *rest = given
    biases, states = rest[: sum(which)], rest[sum(which) :]
    hidden, gates = again.shape[1], len(kind.gates)
    inputs: list[Ref | str] = [w.whole(x), _ordered(w, weight, kind), _ordered(w, again, kind)]
    if biases:
        both, left = [], list(biases)
        for there in which:
            one = left.pop(0) if there else w.constant([0.0] * (gates * hidden), x.dtype, (gates * hidden,))
            both.append(_ordered(w, one, kind))
        inputs.append(w.op("Concat", both, x.dtype, (1, 2 * gates * hidden), axis=1))
    else:
        inputs.append("")
    inputs.append("")  # lengths: all the same
    inputs += [w.reshape(w.whole(s), (1, *s.shape)) for s in states]
    direction = "reverse" if node.attributes["reverse"] else "forward"
    names = w.nodes(
        kind.op, inputs, kind.states + 1, hidden_size=hidden, direction=direction, **kind.attributes
    )
    last = node.outputs[: kind.states]
    ys = node.outputs[kind.states]
    whole = Ref(names[0], x.dtype, (ys.shape[0], 1, *ys.shape[1:]), (ys.shape[0], 1, *ys.shape[1:]))
    ends = [
        w.reshape(Ref(name, x.dtype, (1, *v.shape), (1, *v.shape)), v.shape)
        for name, v in zip(names[1:], last, strict=True)
    ]
    return (*ends, w.reshape(whole, ys.shape))


def _ordered(w: Writer, x: Ref, kind: Kind) -> Ref:
    """Weights or biases with their gates in ONNX's order, as those of one direction."""
    x = w.whole(x)
    if len(kind.gates) == 1:
        return w.reshape(x, (1, *x.shape))
    size = x.shape[0] // len(kind.gates)
    shape = (size, *x.shape[1:])
    parts = [
        w.op("Slice", [x, w.ints([g * size]), w.ints([(g + 1) * size]), w.ints([0])], x.dtype, shape)
        for g in kind.gates
    ]
    joined = w.op("Concat", parts, x.dtype, x.shape, axis=0)
    return w.reshape(joined, (1, *x.shape))

