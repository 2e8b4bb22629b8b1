"""The ONNX graph while it is written: nodes, constants, names, subgraphs, and what is said in errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.core.errors import message
from fanal.core.symbols import Extent, is_symbolic
from fanal.export.onnx.constants import elements
from fanal.export.onnx.kinds import computed_in
from fanal.export.onnx.records import Data, Named, OnnxGraph, OnnxNode, Ref, full_ref
from fanal.export.onnx.registry import Unsayable
from fanal.export.onnx.sizes import Sizes
from fanal.export.program import Program
from fanal.export.text import Dims
from fanal.graph.ir import Node
from fanal.graph.origin import Origin

LAST = 2**63 - 1  # the end of a slice that goes to the end


def is_one(n: Any) -> bool:
    """Whether a dimension is the number 1, without a question to symbols."""
    return type(n) is int and n == 1


def is_number(n: Any, value: int) -> bool:
    """Whether a dimension is a number, without a question to symbols."""
    return type(n) is int and n == value


def same_dims(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two shapes are the same whatever the symbols are."""
    return len(a) == len(b) and all(same_dim(x, y) for x, y in zip(a, b, strict=True))


def same_dim(x: Any, y: Any) -> bool:
    if type(x) is Extent or type(y) is Extent:
        return type(x) is type(y) and x.terms == y.terms
    return bool(x == y)


def spread(*shapes: Sequence[Any]) -> tuple[Any, ...]:
    """What shapes broadcast to, where they broadcast to one."""
    rank = max(map(len, shapes), default=0)
    out: list[Any] = [1] * rank
    for shape in shapes:
        for i, n in enumerate(shape, rank - len(shape)):
            if not is_one(n):
                out[i] = n
    return tuple(out)


class Writer:
    """Appends nodes to the innermost open graph. Rules call `op`, `map`, `cast` and the like."""

    def __init__(self, program: Program, inputs: Sequence[tuple[str, tuple[Any, ...]]], taken: Sequence[str]):
        self.dims = Dims(program)
        self.data: dict[str, Data] = {}
        self._beginning: list[OnnxNode] = []
        self._open: list[list[OnnxNode]] = [[]]
        self._taken = set(taken)
        self._counts: dict[str, int] = {}
        self._constants: dict[Any, str] = {}
        self._sizes = Sizes(program.symbols, inputs, self._at_beginning, self._one)
        self.origin: Origin | None = None

    # -- names and constants -----------------------------------------------------------------------

    def name(self, stem: str) -> str:
        """A name that nothing has."""
        while True:
            n = self._counts[stem] = self._counts.get(stem, -1) + 1
            found = f"{stem}_{n}"
            if found not in self._taken:
                self._taken.add(found)
                return found

    def constant(self, values: Sequence[Any], dtype: DType, dims: tuple[int, ...]) -> Ref:
        """A tensor of given elements."""
        raw = elements(values, dtype)
        key = (dtype.name, dims, raw)
        if key not in self._constants:
            self._constants[key] = self.name("const")
            self.data[self._constants[key]] = Data(dtype, dims, raw)
        return full_ref(self._constants[key], dtype, dims)

    def number(self, value: Any, dtype: DType, shape: Sequence[Any] = ()) -> Ref:
        """A number for all elements of a shape."""
        if is_symbolic(value):
            return self._symbolic(value, dtype, tuple(shape))
        return Ref(self.constant([value], dtype, ()).name, dtype, tuple(shape), ())

    def _symbolic(self, value: Any, dtype: DType, shape: tuple[Any, ...]) -> Ref:
        exact = type(value) is Extent
        name = self._sizes.vector(value) if exact else self._sizes.real(value)
        kind = dtypes.int64 if exact else dtypes.float64
        scalar = self.op("Reshape", [name, self.ints([])], kind, ())
        made = self.cast(scalar, dtype)
        return Ref(made.name, dtype, shape, ())

    def ints(self, values: Sequence[int]) -> str:
        """The name of a constant vector of int64."""
        return self.constant(list(values), dtypes.int64, (len(values),)).name

    def _one(self, value: Any, dtype: DType) -> str:
        return self.constant([value], dtype, (1,)).name

    # -- sizes ---------------------------------------------------------------------------------------

    def size(self, n: Any) -> str:
        """The name of a vector of one int64: a dimension."""
        return self._sizes.vector(n)

    def sizes(self, numbers: Sequence[Any]) -> str:
        """The name of a vector of int64: a shape."""
        if not any(map(is_symbolic, numbers)):
            return self.ints([int(n) for n in numbers])
        parts: list[str] = []
        run: list[int] = []
        for n in [*numbers, None]:
            if type(n) is int:
                run.append(n)
                continue
            if run:
                parts.append(self.ints(run))
                run = []
            if n is not None:
                parts.append(self.size(n))
        return parts[0] if len(parts) == 1 else self._at_beginning("Concat", parts, axis=0)

    def scalar_size(self, n: Any) -> str:
        """The name of a dimension as a tensor without dimensions."""
        if type(n) is int:
            return self.constant([n], dtypes.int64, ()).name
        return self._at_beginning("Reshape", [self.size(n), self.ints([])])

    def _at_beginning(self, op: str, inputs: list[str], **attributes: Any) -> str:
        key = (op, tuple(inputs), tuple(sorted(attributes.items(), key=lambda i: i[0])))
        if key not in self._constants:
            self._constants[key] = self.name("size")
            self._beginning.append(OnnxNode(op, inputs, [self._constants[key]], attributes))
        return self._constants[key]

    # -- nodes ---------------------------------------------------------------------------------------

    def op(
        self, op: str, inputs: Sequence[Ref | str], dtype: DType, shape: Sequence[Any],
        held: Sequence[Any] | None = None, **attributes: Any,
    ) -> Ref:  # fmt: skip
        """A node with one result."""
        name = self.nodes(op, inputs, 1, **attributes)[0]
        return Ref(name, dtype, tuple(shape), tuple(shape if held is None else held))

    def nodes(self, op: str, inputs: Sequence[Ref | str], count: int, **attributes: Any) -> list[str]:
        """A node; the names of its results."""
        names = [x.name if isinstance(x, Ref) else x for x in inputs]
        outputs = [self.name(op.lower()) for _ in range(count)]
        doc = f"{self.origin.place} {self.origin.called}" if self.origin is not None else ""
        self._open[-1].append(OnnxNode(op, names, outputs, attributes, doc))
        return outputs

    def map(self, op: str, *xs: Ref, dtype: DType | None = None, **attributes: Any) -> Ref:
        """An elementwise operator as it is, on operands that it takes. `dtype` of the result: the first
        operand's, if not given."""
        held = spread(*(x.held for x in xs))
        return self.op(op, xs, dtype or xs[0].dtype, xs[0].shape, held, **attributes)

    def through(
        self, op: str, *xs: Ref, result: DType | None = None, wraps: bool = False, **attributes: Any
    ) -> Ref:
        """An elementwise operator on operands of any dtype, cast to one that it takes and back.
        `result`: the dtype of a result that is another (bool of comparisons)."""
        before = xs[0].dtype
        dtype = self.dtype_for(op, before, wraps)
        y = self.map(op, *(self.cast(x, dtype) for x in xs), dtype=result, **attributes)
        return y if result is not None else self.cast(y, before)

    def dtype_for(self, op: str, dtype: DType, wraps: bool = False) -> DType:
        """The dtype that an operator computes in for one of the program's."""
        found = computed_in(op, dtype, wraps)
        if found is None:
            raise Unsayable(f"ONNX's {op} does not take {dtype.name}")
        return found

    def cast(self, x: Ref, dtype: DType) -> Ref:
        """ONNX's Cast (integers keep their low bits); nothing where the dtype is the same."""
        return x if x.dtype is dtype else self.map("Cast", x, dtype=dtype, to=dtype)

    def whole(self, x: Ref) -> Ref:
        """A tensor that has the shape that it stands for."""
        if same_dims(x.held, x.shape):
            return x
        kept = (1,) * (x.ndim - len(x.held)) + x.held
        wanted = [1 if same_dim(h, n) else n for h, n in zip(kept, x.shape, strict=True)]
        dtype = self.dtype_for("Expand", x.dtype)
        y = self.op("Expand", [self.cast(x, dtype), self.sizes(wanted)], dtype, x.shape)
        return self.cast(y, x.dtype)

    def aligned(self, x: Ref) -> Ref:
        """A tensor of as many dimensions as it stands for, some of them of extent 1."""
        if len(x.held) == x.ndim:
            return x
        held = (1,) * (x.ndim - len(x.held)) + x.held
        y = self.reshape(Ref(x.name, x.dtype, x.held, x.held), held)
        return Ref(y.name, y.dtype, x.shape, held)

    def reshape(self, x: Ref, shape: Sequence[Any]) -> Ref:
        """The elements of a whole tensor under another shape."""
        if same_dims(x.shape, shape):
            return x
        allow, wanted = _short_shape(x.shape, shape)
        name = self.sizes(shape) if wanted is None else self.ints(wanted)
        more: dict[str, Any] = {"allowzero": 1} if allow else {}
        return self.op("Reshape", [x, name], x.dtype, shape, **more)

    # -- subgraphs ------------------------------------------------------------------------------------

    @contextmanager
    def subgraph(self) -> Iterator[Callable[[str, Sequence[Ref], Sequence[Ref]], OnnxGraph]]:
        """Nodes that are written inside of this go into a graph of their own, which may use all that
        there is around it. The result makes the graph, of its inputs and outputs."""
        nodes: list[OnnxNode] = []
        self._open.append(nodes)

        def made(name: str, inputs: Sequence[Ref], outputs: Sequence[Ref]) -> OnnxGraph:
            given = [self.named(x.name, x) for x in inputs]
            found = [self.named(y.name, y) for y in outputs]
            return OnnxGraph(name, given, found, nodes)

        try:
            yield made
        finally:
            self._open.pop()

    def named(self, name: str, x: Ref) -> Named:
        """A tensor as a graph's input or output."""
        return Named(name, x.dtype, tuple(self.dims.text(n) for n in x.shape))

    def input(self, stem: str, dtype: DType, shape: Sequence[Any]) -> Ref:
        """A new input of a subgraph."""
        return full_ref(self.name(stem), dtype, tuple(shape))

    def own(self, x: Ref) -> Ref:
        """A tensor that the open graph computes itself, as the outputs of graphs must be."""
        y = self.whole(x)
        if any(y.name in n.outputs for n in self._open[-1]):
            return y
        return self.op("Identity", [y], y.dtype, y.shape)

    @property
    def written(self) -> list[OnnxNode]:
        """All nodes of the outermost graph."""
        return [*self._beginning, *self._open[0]]

    @contextmanager
    def at(self, node: Node) -> Iterator[None]:
        """Where the program asks for what is written inside of this; errors name it."""
        before = self.origin
        self.origin = node.origin or before
        try:
            yield
        except Unsayable as error:
            if type(error) is not Unsayable:
                raise
            raise Refused(node, self.origin, str(error)) from None
        finally:
            self.origin = before


class Refused(Unsayable):
    """What ONNX can't say, with the operation and the user's line."""

    def __init__(self, node: Node, origin: Origin | None, why: str):
        where = f" (called at {origin.place}: {origin.called})" if origin is not None else ""
        what = f"{node.primitive.name!r} can't be said in ONNX{where}: {why}"
        super().__init__(message("to_onnx", what, hint="leaving this part out of what is exported"))


def _short_shape(before: Sequence[Any], after: Sequence[Any]) -> tuple[bool, list[int] | None]:
    """A shape for Reshape without computed sizes, if there is one: 0 keeps a dimension, one -1 follows
    from the others. And whether zeros are meant as such."""
    if any(is_number(n, 0) for n in (*before, *after)):
        return True, None
    wanted = []
    for d, n in enumerate(after):
        if type(n) is int:
            wanted.append(n)
        elif d < len(before) and same_dim(before[d], n):
            wanted.append(0)
        else:
            wanted.append(-1)
    return False, wanted if wanted.count(-1) <= 1 else None
