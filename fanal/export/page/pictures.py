"""The pictures of a program: each function as parts of the model, as calls, as operations, and what is
inside of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanal.backends.native.costs import multiply_adds
from fanal.export.page.blocks import (
    Block,
    State,
    calls,
    constants,
    links,
    modules,
    operations,
    subgraphs,
)
from fanal.export.page.drawing import Box, drawing
from fanal.export.program import Signature
from fanal.export.text import Dims, GraphLines
from fanal.graph.ir import Graph, Node, SubGraph, Value

_LINES = 24  # of operations that a click shows
FEW = 60  # boxes that a page shows at first, if there is such a picture
MOST = 400  # operations that are shown in one picture; of more, those of each call are
_PRODUCTS = frozenset(["dot", "conv", "attention"])
_SUMS = frozenset(["reduce", "arg_reduce", "cumulative", "window_sum", "sort"])
_MOVES = frozenset(["layout", "create", "gather", "scatter", "barrier"])


@dataclass
class Picture:
    """A drawing, its boxes for the script, and what it is called."""

    title: str
    svg: str
    boxes: list[dict[str, Any]]


@dataclass
class Views:
    """The pictures of one function: numbers by how much they show; `first` is shown at first."""

    name: str
    levels: list[tuple[str, int]]
    first: int


class Pictures:
    """Makes pictures and numbers them. `sized` gives a node at known sizes, for its multiply-adds."""

    def __init__(self, dims: Dims) -> None:
        self.made: list[Picture] = []
        self._dims = dims

    def function(self, signature: Signature, work: dict[Node, int]) -> Views:
        """All pictures of a function."""
        lines = GraphLines(signature, self._dims)
        maker = _Maker(self, signature, lines, self._dims, work)
        state = State(signature)
        by_call = calls(signature.graph, state)
        by_module = modules(by_call)
        levels = []
        if 1 < len(by_module) < len(by_call) * 0.8:
            levels.append(("parts", maker.picture(f"{signature.name}: parts", signature.graph, by_module, True)))
        levels.append(("calls", maker.picture(f"{signature.name}: calls", signature.graph, by_call, True)))
        single = operations(signature.graph, maker.fixed)
        if len(single) <= MOST:
            levels.append(("operations", maker.picture(f"{signature.name}: operations", signature.graph, single)))
        counts = [len(self.made[n].boxes) for _, n in levels]
        fitting = [n for (_, n), c in zip(levels, counts, strict=True) if c <= FEW]
        # Of the pictures with few boxes, that of calls if it is among them.
        by_name = {n: name for name, n in levels}
        first = next((n for n in fitting if by_name[n] == "calls"), fitting[0] if fitting else levels[0][1])
        return Views(signature.name, levels, first)

    def add(self, title: str, boxes: Sequence[Box], edges: Sequence[tuple[int, int]]) -> int:
        """Draw; the picture's number."""
        number = len(self.made)
        self.made.append(Picture(title, drawing(boxes, edges, number), [b.data() for b in boxes]))
        return number


class _Maker:
    """Pictures of the graphs of one function."""

    def __init__(
        self, pictures: Pictures, signature: Signature, lines: GraphLines, dims: Dims, work: dict[Node, int]
    ):
        self._pictures, self._signature = pictures, signature
        self._lines, self._dims, self._work = lines, dims, work
        self._state = State(signature)
        self._known: dict[Any, int] = {}
        self._roles: dict[Value, str] = {}  # of inputs of branches and loops
        self.fixed = constants(signature.graph)
        self._uses: dict[Value, set[Node]] = {}
        self._results: set[Value] = set()
        self._walk(signature.graph)

    def picture(self, title: str, graph: Graph, blocks: Sequence[Block], open_: bool = False) -> int:
        """A graph as blocks. `open_`: whether pictures of what is inside of them are made too."""
        top = graph is self._signature.graph
        inputs = [v for v in graph.inputs if v not in self._state.names]
        outputs, behind = self._outputs(graph, top)
        needed = {v for n in graph.nodes for v in n.inputs}
        inputs = [v for v in inputs if top or v in needed]
        blocks = [b for b in blocks if not self._is_fixed(b)] or blocks
        edges = list(links(blocks, inputs, outputs, self.fixed))
        fronts = [self._port(v) for v in inputs]
        middle = [self._box(b, open_) for b in blocks]
        return self._pictures.add(title, [*fronts, *middle, *behind], edges)

    def _is_fixed(self, block: Block) -> bool:
        return all(v in self.fixed for n in block.nodes for v in n.outputs)

    def _outputs(self, graph: Graph, top: bool) -> tuple[list[list[Value]], list[Box]]:
        """The values that boxes behind the graph take, and these boxes; new state has one together."""
        if not top:
            box = Box("results", result=self._type(graph.outputs[0]) if len(graph.outputs) == 1 else "", kind="port")
            return [list(graph.outputs)], [box]
        values, boxes, new = [], [], []
        for place, v in zip(self._signature.gives, graph.outputs, strict=True):
            if place.kind == "state":
                new.append((place.name, v))
            else:
                facts = [("type", [self._dims.type(v.type)])]
                boxes.append(Box(place.name, "output", self._type(v), "port", facts=facts))
                values.append([v])
        if new:
            rows = [f"{name}: {self._dims.type(v.type)}" for name, v in new]
            boxes.append(Box(f"{len(new)} tensors", "written", "", "port", facts=[("written", rows)]))
            values.append([v for _, v in new])
        return values, boxes

    def _port(self, v: Value) -> Box:
        facts = [("type", [self._dims.type(v.type)])]
        return Box(self._lines.name(v), self._roles.get(v, "input"), self._type(v), "port", facts=facts)

    def _type(self, v: Value) -> str:
        shape = "×".join(str(self._dims.text(n)) for n in v.shape)
        dtype = "" if v.dtype.name == "float32" and v.shape else f"{v.dtype.name} "
        return f"{dtype}{shape}".strip()

    def _box(self, block: Block, open_: bool) -> Box:
        leaving = self._leaving(block)
        result = self._type(leaving[0]) if len(leaving) == 1 else f"{len(leaving)} results" if leaving else ""
        opens = self._inside(block) if open_ or any(n.primitive.kind == "control" for n in block.nodes) else []
        return Box(
            block.title, block.detail, result, _kind(block.nodes), block.backward, self._facts(block, leaving), opens
        )

    def _leaving(self, block: Block) -> list[Value]:
        """The values of a block that others need; constants, if nothing else."""
        inside, none = set(block.nodes), set[Node]()
        needed = [
            v for n in block.nodes for v in n.outputs
            if v in self._results or not self._uses.get(v, none) <= inside
        ]  # fmt: skip
        return [v for v in needed if v not in self.fixed] or needed

    def _walk(self, graph: Graph) -> None:
        self._results.update(graph.outputs)
        for node in graph.nodes:
            for u in node.inputs:
                self._uses.setdefault(u, set()).add(node)
            for a in node.attributes.values():
                if isinstance(a, SubGraph):
                    self._walk(a)

    def _inside(self, block: Block) -> list[tuple[str, int]]:
        """Pictures of what a box holds: its calls or operations, and the graphs of branches and loops."""
        found = []
        if len(block.inner) > 1:
            found.append(("its calls", self._once(block, lambda: self._part(block, block.inner, True))))
        elif len(block.nodes) > 1:
            call = block.inner[0] if block.inner else block
            found.append(("its operations", self._once(tuple(block.nodes), lambda: self._part(call, None))))
        for name, graph, roles in subgraphs(block.nodes):
            self._roles.update(zip(graph.inputs, roles, strict=True))
            found.append((name, self._once(graph, lambda g=graph, n=name: self._graph(n, g))))
        return found

    def _graph(self, title: str, graph: SubGraph) -> int:
        return self.picture(title, graph, operations(graph, self.fixed), True)

    def _once(self, key: Any, make: Any) -> int:
        key = id(key) if isinstance(key, Block | SubGraph) else key
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def _part(self, block: Block, inner: list[Block] | None, open_: bool = False) -> int:
        """Neighbouring nodes by themselves: what they take and give are their borders."""
        made = {v for n in block.nodes for v in n.outputs}
        taken = list(dict.fromkeys(v for n in block.nodes for v in n.inputs if v not in made and v not in self.fixed))
        part = Graph(taken, block.nodes, self._leaving(block) or list(block.nodes[-1].outputs))
        title = " ".join(filter(None, (block.title, block.module)))
        return self.picture(title, part, operations(part, self.fixed) if inner is None else inner, open_)

    def _facts(self, block: Block, leaving: Sequence[Value]) -> list[tuple[str, list[str]]]:
        origins = list(dict.fromkeys(n.origin for n in block.nodes if n.origin is not None))
        state = self._state.read(block.nodes)
        rows = [row for n in block.nodes for row in self._lines.node(n)]
        more = [f"… and {len(rows) - _LINES} more"] if len(rows) > _LINES else []
        work = sum(self._work.get(n, 0) for n in block.nodes)
        places = list(dict.fromkeys(f"{o.place} in {o.function}()" for o in origins))
        facts = [
            ("line", places[:8] + ["…"] * (len(places) > 8)),
            ("gives", [f"{self._lines.name(v)}: {self._dims.type(v.type)}" for v in leaving[:12]]),
            ("tensors", [f"{self._state.names[v]}: {self._dims.type(v.type)}" for v in state[:24]]),
            ("multiply-adds", [f"{work:,}"] if work else []),
            ("operations", rows[:_LINES] + more),
        ]
        return [(name, lines) for name, lines in facts if lines]


def _kind(nodes: Sequence[Node]) -> str:
    """The colour of a box: of what takes longest in it."""
    kinds = {n.primitive.kind for n in nodes}
    if "control" in kinds:
        return "control"
    if kinds & _PRODUCTS:
        return "product"
    if kinds & _SUMS or any(n.primitive.name == "moments" for n in nodes):
        return "sum"
    return "move" if kinds <= _MOVES else "element"


def work_of(graph: Graph, at_sizes: Graph) -> dict[Node, int]:
    """Multiply-adds of each node of a graph, from the same graph at known sizes."""
    return {n: multiply_adds([m]) for n, m in zip(graph.nodes, at_sizes.nodes, strict=True)}
