"""Values and nodes in static single assignment, and the builder that traces functions into them.

A graph is a list of nodes in execution order. A value has a type (dtype and logical shape) and
nothing about memory: strides, buffers and devices belong to backends. `Value` gets Python's
operators from the ops layer, so functions over primitives read as mathematics.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fanal.core.dispatch import state, tracing
from fanal.core.dtypes import DType
from fanal.graph.origin import Origin


class Type(NamedTuple):
    """A value's dtype and logical shape."""

    dtype: DType
    shape: tuple[int, ...]

    def __repr__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"


class Value:
    """One result in a graph: an input (`node` is None) or output `index` of a node.

    `weak` marks a run-time Python number: a 0-d input that promotes as a number does.
    """

    __slots__ = ("dtype", "index", "node", "shape", "weak")

    def __init__(self, dtype: DType, shape: tuple[int, ...], node: Node | None, index: int = 0):
        self.dtype = dtype
        self.shape = shape
        self.node = node
        self.index = index
        self.weak = False

    @property
    def type(self) -> Type:
        return Type(self.dtype, self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"Value({self.type!r})"

    if TYPE_CHECKING:
        # The ops layer attaches the operators (`ops.pointwise`); they give values of any kind.
        def __operator(self, other: Any = None) -> Any: ...

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __operator
        __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __operator
        __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __neg__ = __pos__ = __invert__ = __operator
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __operator
        __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = __abs__ = __operator
        __lt__ = __le__ = __gt__ = __ge__ = __operator


class Node:
    """One application of a primitive. `attributes` are hashable Python data, never changed. `origin` says
    where in the user's program it comes from, where that is known; it is no part of the meaning."""

    __slots__ = ("attributes", "inputs", "key", "origin", "outputs", "primitive")

    def __init__(self, primitive: Any, inputs: tuple[Value, ...], attributes: dict[str, Any]):
        self.primitive = primitive
        self.inputs = inputs
        self.attributes = attributes
        self.key: tuple[Any, ...] | None = None  # of the attributes; see `attribute_key`
        self.outputs: tuple[Value, ...] = ()
        self.origin: Origin | None = None

    def __repr__(self) -> str:
        return f"Node({self.primitive.name})"


class Graph:
    """Inputs, nodes in order, outputs."""

    __slots__ = ("digest", "inputs", "nodes", "outputs")

    def __init__(self, inputs: list[Value], nodes: list[Node], outputs: list[Value]):
        self.inputs = inputs
        self.nodes = nodes
        self.outputs = outputs
        self.digest = ""  # see `graph.digest`

    def __str__(self) -> str:
        from fanal.graph.text import graph_text

        return graph_text(self)

    def apply(self, inputs: Sequence[Any], bind: Callable[..., Any]) -> list[Any]:
        """Run the graph on other values: `bind(primitive, *inputs, **attributes)` for each node."""
        env: dict[Value, Any] = dict(zip(self.inputs, inputs, strict=True))
        builder = state.tracer if isinstance(state.tracer, Builder) else Builder()
        before = builder.origin
        for node in self.nodes:
            builder.origin = node.origin or before
            result = bind(node.primitive, *(env[v] for v in node.inputs), **node.attributes)
            if len(node.outputs) == 1 and not isinstance(result, tuple):
                env[node.outputs[0]] = result
            else:
                env.update(zip(node.outputs, result, strict=True))
        builder.origin = before
        return [env[v] for v in self.outputs]

    def live_nodes(self) -> list[Node]:
        """The nodes that outputs depend on, in order."""
        needed = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if not needed.isdisjoint(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        return kept[::-1]

    def pruned(self) -> Graph:
        """The same graph without dead nodes."""
        return Graph(self.inputs, self.live_nodes(), self.outputs)


class SubGraph(Graph):
    """A graph as an attribute of a node: a branch, the body of a loop. It is never changed.

    Two that read the same are equal, as attributes are. `key` is a digest of the printed form, which
    names values by their order, so that it stands for the meaning wherever attributes are compared.
    """

    __slots__ = ("_key",)

    def __init__(self, inputs: list[Value], nodes: list[Node], outputs: list[Value]):
        super().__init__(inputs, nodes, outputs)
        self._key = ""

    @property
    def key(self) -> str:
        if not self._key:
            self._key = hashlib.sha256(str(self).encode()).hexdigest()[:32]
        return self._key

    def __repr__(self) -> str:
        return f"graph:{self.key[:12]}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SubGraph) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class Builder:
    """Records primitives as nodes; equal pure nodes are recorded once (their origin is the first's)."""

    lazy = False

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self._seen: dict[Any, tuple[Value, ...]] = {}
        self.origin: Origin | None = None  # of the nodes that are recorded now

    def input(self, dtype: DType, shape: tuple[int, ...]) -> Value:
        value = Value(dtype, tuple(shape), None)
        self.inputs.append(value)
        return value

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A composite function is its body."""
        return function.body(*args, **kwargs)

    def append(self, primitive: Any, inputs: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
        """Infer the output types and add a node (or find its equal); returns its value or values."""
        for v in inputs:
            if not isinstance(v, Value):
                raise TypeError(
                    f"[{primitive.name}] not a value of this graph: got {type(v).__name__}. "
                    "Try: passing it as an argument of the traced function."
                )
        key = (primitive, inputs, attribute_key(attributes))
        outputs = self._seen.get(key)
        if outputs is None:
            types = primitive.infer(*inputs, **attributes)
            node = Node(primitive, inputs, attributes)
            node.key = key[2]
            node.origin = self.origin
            node.outputs = tuple(Value(t.dtype, t.shape, node, i) for i, t in enumerate(types))
            outputs = node.outputs
            self.nodes.append(node)
            self._seen[key] = outputs
        return outputs[0] if len(outputs) == 1 and not primitive.multiple else outputs

    def copied(self, node: Node, inputs: tuple[Value, ...], origin: Origin | None = None) -> Any:
        """A node of another graph for inputs of the same types (the same node, if they are its own):
        nothing is inferred anew."""
        if node.key is None:
            node.key = attribute_key(node.attributes)
        key = (node.primitive, inputs, node.key)
        outputs = self._seen.get(key)
        if outputs is None:
            if inputs == node.inputs and origin in (None, node.origin):
                new = node
            else:
                new = Node(node.primitive, inputs, node.attributes)
                new.key, new.origin = node.key, origin or node.origin
                new.outputs = tuple([Value(v.dtype, v.shape, new, v.index) for v in node.outputs])
            outputs = new.outputs
            self.nodes.append(new)
            self._seen[key] = outputs
        return outputs[0] if len(outputs) == 1 and not node.primitive.multiple else outputs

    def inlined(self, graph: Graph, inputs: Sequence[Value]) -> list[Value]:
        """A graph's outputs for inputs of the same types: its nodes are copied, nothing is inferred."""
        values = dict(zip(graph.inputs, inputs, strict=True))
        for node in graph.nodes:
            given = tuple([values[v] for v in node.inputs])
            found = self.copied(node, given, node.origin or self.origin)
            if isinstance(found, tuple):
                values.update(zip(node.outputs, found, strict=True))
            else:
                values[node.outputs[0]] = found
        return [values[v] for v in graph.outputs]

    def graph(self, outputs: Iterable[Value]) -> Graph:
        return Graph(list(self.inputs), self.nodes, list(outputs)).pruned()

    def trace(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function` with its primitives recorded here."""
        with tracing(self):
            return function(*args, **kwargs)


def attribute_key(attributes: dict[str, Any]) -> tuple[Any, ...]:
    """Attributes as a key that compares by type as well (1, 1.0 and True are different constants)."""
    return tuple(sorted([(k, *_keyed(v)) for k, v in attributes.items()])) if attributes else ()


def _keyed(v: Any) -> tuple[str, str]:
    if isinstance(v, SubGraph):
        return "graph", v.key
    if isinstance(v, bool | int | float | DType):
        return type(v).__name__, v.hex() if isinstance(v, float) else str(v)
    return "", str(v)
