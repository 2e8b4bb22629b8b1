"""Programs as text: dimensions and conditions by the names that a program gives its symbols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core.symbols import Extent, Ratio
from fanal.core.symbols.polynomials import Terms
from fanal.core.symbols.scope import Condition
from fanal.export.program import Program, Signature
from fanal.graph.ir import Graph, Node, SubGraph, Type, Value


class Dims:
    """How sizes read. A size is a number, or a polynomial of named symbols."""

    def __init__(self, program: Program):
        self.symbols = program.symbols
        self._names: dict[int, str] = {}
        given = iter(program.dims)
        for number, atom in enumerate(program.symbols.atoms):
            if atom.name:
                found = next(given, None)
                self._names[number] = atom.name if found is None else found.name

    def text(self, n: Any) -> int | str:
        """A size: a number as it is, others as text."""
        if type(n) is Extent:
            return self._terms(n.terms)
        if type(n) is Ratio:
            return f"({self.text(n.left)} {n.op} {self.text(n.right)})"
        return n if isinstance(n, int) else str(n)

    def shape(self, shape: tuple[Any, ...]) -> str:
        """A shape: (batch, 3, 8, 8)."""
        inner = ", ".join(str(self.text(n)) for n in shape)
        return f"({inner},)" if len(shape) == 1 else f"({inner})"

    def type(self, t: Type) -> str:
        """A dtype and a shape: float32[batch, 3, 8, 8]."""
        return f"{t.dtype.name}[{', '.join(str(self.text(n)) for n in t.shape)}]"

    def nested(self, x: Any) -> str:
        """An attribute: numbers, tuples of them, or whatever reads as itself."""
        if isinstance(x, tuple):
            inner = ", ".join(self.nested(y) for y in x)
            return f"({inner},)" if len(x) == 1 else f"({inner})"
        return str(self.text(x)) if type(x) in (Extent, Ratio) else repr(x)

    def _terms(self, terms: Terms) -> str:
        parts = []
        for monomial, factor in sorted(terms, key=lambda t: (-len(t[0]), -t[1], t[0])):
            names = [self._atom(a) for a in monomial]
            if factor != 1 or not names:
                names.insert(0, str(factor))
            parts.append("-" + "*".join(names[1:]) if names[0] == "-1" and monomial else "*".join(names))
        return " + ".join(parts).replace("+ -", "- ") or "0"

    def _atom(self, number: int) -> str:
        atom = self.symbols.atoms[number]
        if atom.name:
            return self._names[number]
        if atom.found is not None:
            function, given, name = atom.found
            inner = ", ".join(str(self.text(g)) for g in flat(given))
            return f"{function.__name__}({inner}){'.' + name if name else ''}"
        over, by = (f"({t})" if " " in t else t for t in map(self._terms, (atom.over, atom.by)))
        return f"({over} // {by})"

    def condition(self, one: Condition) -> str:
        """What has to be true of the sizes, as a line."""
        if one.op == "asked":
            inner = ", ".join(str(self.text(g)) for g in flat(one.right))
            return f"{one.left.__name__}({inner}) is {one.answer!r}"
        if one.right is None:  # constants to the right
            left = tuple(t for t in one.left if t[0])
            a, b = self._terms(left), str(-sum(c for m, c in one.left if not m))
            if left and all(c < 0 for _, c in left):
                a, b = str(sum(c for m, c in one.left if not m)), self._terms(tuple((m, -c) for m, c in left))
        else:
            a, b = str(self.text(one.left)), str(self.text(one.right))
        sign = {("==", True): "==", ("==", False): "!=", ("<", True): "<", ("<", False): ">="}
        return f"{a} {sign[one.op, bool(one.answer)]} {b}"

    def conditions(self) -> list[str]:
        """What has to hold of sizes besides their ranges, each once."""
        return list(dict.fromkeys(map(self.condition, self.symbols.relations)))


def flat(x: Any) -> list[Any]:
    """What tuples and lists hold, at any depth."""
    return [z for y in x for z in flat(y)] if isinstance(x, tuple | list) else [x]


def graph_text(signature: Signature, dims: Dims) -> str:
    """A function's graph, one operation a line, with the names of inputs, outputs and state, and the
    user's lines. Graphs inside of operations follow them, indented."""
    lines = GraphLines(signature, dims)
    graph = signature.graph
    pairs = list(zip(signature.takes, graph.inputs, strict=True))
    taken = [f"{p.name}: {dims.type(v.type)}" for p, v in pairs if p.kind == "input"]
    gives = [f"{p.name}{' (new)' * (p.kind == 'state')}" for p in signature.gives]
    results = [f"  return {n} = {lines.name(v)}" for n, v in zip(gives, graph.outputs, strict=True)]
    body = lines.of(graph, "  ")
    return "\n".join([f"{signature.name}({', '.join(taken)})", *body, *results])


class GraphLines:
    """Lines of text for the operations of a function: values have the names of inputs and state, others
    are numbered in order."""

    def __init__(self, signature: Signature, dims: Dims):
        self._dims = dims
        self._names = {v: p.name for p, v in zip(signature.takes, signature.graph.inputs, strict=True)}
        self._number(signature.graph)

    def _number(self, graph: Graph) -> None:
        for v in graph.inputs:
            self._names.setdefault(v, f"%{len(self._names)}")
        for node in graph.nodes:
            for v in node.outputs:
                self._names[v] = f"%{len(self._names)}"
            for a in node.attributes.values():
                if isinstance(a, SubGraph):
                    self._number(a)

    def name(self, v: Value) -> str:
        """What a value is called."""
        return self._names[v]

    def of(self, graph: Graph, indent: str) -> list[str]:
        """A graph's lines; the user's lines stand as comments before what comes from them."""
        found = []
        place = ""
        for node in graph.nodes:
            here = "" if node.origin is None else f"{node.origin.place}  {node.origin.called}"
            if here and here != place:
                found.append(f"{indent}# {here}")
            place = here or place
            found += self.node(node, indent)
        return found

    def node(self, node: Node, indent: str = "") -> list[str]:
        """One operation, with the graphs inside of it."""
        given = [self._names[v] for v in node.inputs]
        inner = {k: a for k, a in node.attributes.items() if isinstance(a, SubGraph)}
        given += [f"{k}={self._dims.nested(a)}" for k, a in node.attributes.items() if k not in inner]
        found = [f"{indent}{self.typed(node.outputs)} = {node.primitive.name}({', '.join(given)})"]
        for key, graph in inner.items():
            found.append(f"{indent}  {key}({self.typed(graph.inputs)})")
            found += self.of(graph, indent + "    ")
            found.append(f"{indent}    return {', '.join(self._names[v] for v in graph.outputs)}")
        return found

    def typed(self, values: Sequence[Value]) -> str:
        """Names of values with their types."""
        return ", ".join(f"{self._names[v]}: {self._dims.type(v.type)}" for v in values)
