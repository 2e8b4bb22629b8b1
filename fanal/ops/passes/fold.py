"""Factors and offsets of channels after a convolution, taken into its weights. Grade B.

In a network that is only applied, a batch normalisation is (x·w − mean)·scale·weight + bias, with numbers
that do not change from call to call. They become one factor of each output channel's weights, computed
once, and one offset. The rounding is another one, of the same size: a product is rounded once less.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from fanal.core.dispatch import bind
from fanal.graph.ir import Graph, Node, Value
from fanal.ops.create import full_p
from fanal.ops.layout import expand_p, reshape_p
from fanal.ops.passes.rewrite import Fired, Pass, rewritten

FOLD = Pass("fold", "B", {})
_AFFINE = ("add", "sub", "mul", "div")


@dataclass(slots=True)
class _Chain:
    """A convolution and the steps after it: each an operation, its other operand (one number a channel),
    and whether the convolution's side is the first operand."""

    conv: Node
    end: Value
    steps: list[tuple[str, Value, bool]] = field(default_factory=list)

    @property
    def worth(self) -> bool:
        """Whether there is a factor: an offset alone is added where the sums are finished anyway."""
        return any(name in ("mul", "div") for name, _, _ in self.steps)


def fold(graph: Graph, steady: Collection[int], fired: Fired) -> Graph:
    """The graph with steady affine chains folded; `steady` are numbers of inputs."""
    chains = _chains(graph, steady)
    if not chains:
        return graph

    def replaced(node: Node, given: tuple[Value, ...], values: dict[Value, Value]) -> Any:
        if node not in chains:
            return None
        fired.note(FOLD, node)
        return _folded(chains[node], values)

    return rewritten(graph, replaced)


def _chains(graph: Graph, steady: Collection[int]) -> dict[Node, _Chain]:
    """Chains that are worth folding, by their last node."""
    fixed = {graph.inputs[n] for n in steady}
    users: dict[Value, list[Node]] = {}
    for node in graph.nodes:
        for v in set(node.inputs):
            users.setdefault(v, []).append(node)
        pure = node.primitive.kind in ("elementwise", "create", "layout")
        if node.primitive.name == "full" or (pure and node.inputs and fixed.issuperset(node.inputs)):
            fixed.update(node.outputs)
    outputs = set(graph.outputs)
    found: dict[Node, _Chain] = {}
    for node in graph.nodes:
        if node.primitive.name != "conv" or node.inputs[1] not in fixed:
            continue
        out = node.outputs[0]
        if out.dtype.kind != "f" or out.dtype.bits < 32:
            continue
        chain = _Chain(node, out)
        last: Node | None = None
        while chain.end not in outputs and len(users.get(chain.end, ())) == 1:
            (step,) = users[chain.end]
            if not _extend(chain, step, fixed):
                break
            last = step
        if last is not None and chain.worth:
            found[last] = chain
    return found


def _extend(chain: _Chain, node: Node, fixed: Collection[Value]) -> bool:
    """Take a node into a chain if it is a step with one number a channel."""
    name = node.primitive.name
    if name not in _AFFINE or node.inputs[0] is node.inputs[1]:
        return False
    first = node.inputs[0] is chain.end
    other = node.inputs[1] if first else node.inputs[0]
    if (name == "div" and not first) or other not in fixed or not _is_of_channels(other):
        return False
    chain.steps.append((name, other, first))
    chain.end = node.outputs[0]
    return True


def _is_of_channels(v: Value) -> bool:
    """Whether a value repeats one number a channel (or one alone)."""
    node = v.node
    if node is None:
        return False
    if node.primitive.name == "full":
        return True
    if node.primitive.name != "expand":
        return False
    shape = node.inputs[0].shape
    return all(n == 1 or d == 1 for d, n in enumerate(shape))


def _small(v: Value, values: dict[Value, Value], channels: int) -> Value:
    """The numbers of the channels themselves, as a vector."""
    node = v.node
    assert node is not None
    result: Value
    if node.primitive.name == "full":
        result = bind(full_p, value=node.attributes["value"], shape=(channels,), dtype=v.dtype)
        return result
    x = values[node.inputs[0]]
    if x.shape[1] == 1 and channels != 1:
        x = bind(expand_p, x, shape=(1, channels, *x.shape[2:]))
    result = bind(reshape_p, x, shape=(channels,))
    return result


def _folded(chain: _Chain, values: dict[Value, Value]) -> Any:
    """conv(x, w·factor) + offset."""
    x, w = (values[v] for v in chain.conv.inputs)
    out = chain.end
    channels = out.shape[1]
    factor: Any = None
    offset: Any = None
    for name, other, first in chain.steps:
        c: Any = _small(other, values, channels)
        if name == "mul":
            factor = c if factor is None else factor * c
            offset = None if offset is None else offset * c
        elif name == "div":
            factor = 1.0 / c if factor is None else factor / c
            offset = None if offset is None else offset / c
        elif name == "add":
            offset = c if offset is None else offset + c
        elif first:
            offset = -c if offset is None else offset - c
        else:  # c − y
            factor = -1.0 if factor is None else -factor
            offset = c if offset is None else c - offset
    wide = bind(reshape_p, factor, shape=(channels, *(1,) * (w.ndim - 1)))
    scaled = w * bind(expand_p, wide, shape=w.shape)
    y = bind(chain.conv.primitive, x, scaled, **chain.conv.attributes)
    if offset is None:
        return y
    row = bind(reshape_p, offset, shape=(1, channels, *(1,) * (out.ndim - 2)))
    return y + bind(expand_p, row, shape=out.shape)
