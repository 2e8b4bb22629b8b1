"""Graphs, sizes and structures as plain data for JSON, and back.

A number that follows from symbols is a polynomial: a list of [coefficient, [atoms…]]. Atoms are numbered: the
program's dimensions first, then those of a table, each made of earlier ones (a quotient rounded down, the
largest or the least of some). Reading checks form only; what a graph means is checked in `checking`.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Sequence
from typing import Any

from fanal.core import pytree
from fanal.core.dtypes import BY_NAME, DType
from fanal.core.symbols import Extent, Ratio, Symbols, largest, least
from fanal.core.symbols.numbers import RATIOS
from fanal.core.symbols.polynomials import Terms
from fanal.export.errors import damaged
from fanal.graph.ir import Graph, Node, SubGraph, Value
from fanal.graph.origin import Origin
from fanal.ops.primitive import TABLE

_EXTREMES: dict[str, Callable[..., Any]] = {"max": max, "min": min}
_FLOATS = ("nan", "inf", "-inf")
DEPTH = 64  # graphs in graphs, structures in structures


class Unwritable(Exception):
    """Something that has no form in a file."""


# -- writing ------------------------------------------------------------------------------------------


class Writer:
    """Writes parts of one program: `atoms` and `origins` are the tables that they refer to."""

    def __init__(self, symbols: Symbols):
        self.symbols = symbols
        self._numbers = {n: i for i, n in enumerate(i for i, a in enumerate(symbols.atoms) if a.name)}
        self.atoms: list[Any] = []
        self.origins: list[Any] = []
        self._origins: dict[Origin, int] = {}

    def terms(self, terms: Terms) -> list[Any]:
        return [[factor, [self._atom(a) for a in monomial]] for monomial, factor in terms]

    def _atom(self, number: int) -> int:
        found = self._numbers.get(number)
        if found is None:
            atom = self.symbols.atoms[number]
            if atom.found is None:
                record: Any = {"quotient": [self.terms(atom.over), self.terms(atom.by)]}
            else:
                function, given, _ = atom.found
                name = next((n for n, f in _EXTREMES.items() if f is function), None)
                if name is None:
                    raise Unwritable(f"a size that {function.__name__} decides")
                record = {name: [self.value(x) for x in given]}
            found = self._numbers[number] = len(self._numbers)
            self.atoms.append(record)
        return found

    def value(self, x: Any) -> Any:
        """An attribute, a size, a constant."""
        kind = type(x)
        if x is None or kind in (bool, int, str):
            return x
        if kind is float:
            return x if math.isfinite(x) else {"float": repr(x)}
        if kind is Extent:
            return {"size": self.terms(x.terms)}
        if kind is Ratio:
            return {"ratio": [x.op, self.value(x.left), self.value(x.right)]}
        if kind is DType:
            return {"dtype": x.name}
        if isinstance(x, tuple):
            return [self.value(y) for y in x]
        if isinstance(x, SubGraph):
            return {"graph": self.graph(x)}
        raise Unwritable(f"a {kind.__name__}")

    def typed(self, v: Any) -> list[Any]:
        return [v.dtype.name, [self.value(n) for n in v.shape]]

    def graph(self, graph: Graph) -> dict[str, Any]:
        numbers = {v: i for i, v in enumerate(graph.inputs)}
        nodes = []
        for node in graph.nodes:
            try:
                attributes = {k: self.value(v) for k, v in node.attributes.items()}
            except Unwritable as why:
                raise Unwritable(f"{node.primitive.name} has {why} as an attribute{at_line(node)}") from None
            nodes.append(
                [
                    node.primitive.name, [numbers[v] for v in node.inputs], attributes,
                    [self.typed(v) for v in node.outputs], self._origin(node.origin),
                ]
            )  # fmt: skip
            for v in node.outputs:
                numbers[v] = len(numbers)
        return {
            "inputs": [self.typed(v) for v in graph.inputs], "nodes": nodes,
            "outputs": [numbers[v] for v in graph.outputs],
        }  # fmt: skip

    def _origin(self, origin: Origin | None) -> int | None:
        if origin is None:
            return None
        if origin not in self._origins:
            self._origins[origin] = len(self.origins)
            file = origin.file.replace("\\", "/").rsplit("/", 1)[-1]  # no folders of whoever exported it
            self.origins.append([file, origin.line, origin.function, origin.operation, origin.backward])
        return self._origins[origin]


def at_line(node: Node) -> str:
    """` (model.py:12)`, where the line is known."""
    return f" ({node.origin.place})" if node.origin is not None else ""


# -- structures ---------------------------------------------------------------------------------------

_KINDS = {"tuple": tuple, "list": list, "dict": dict}


def structure_to(s: pytree.Structure) -> Any:
    """A structure; named tuples and dataclasses become dicts, since a file knows no classes."""
    if s.kind is None:
        return "*"
    children = [structure_to(c) for c in s.children]
    if s.kind in (tuple, list):
        return [s.kind.__name__, children]
    if s.kind is collections.deque:
        return ["list", children]
    fields = getattr(s.kind, "_fields", ())
    keys = s.keys or fields
    if any(not isinstance(k, str | int) or isinstance(k, bool) for k in keys) or len(keys) != len(children):
        raise Unwritable(f"a {s.kind.__name__} with keys that are no strings or integers")
    return ["dict", list(keys), children]


def structure_from(x: Any, depth: int = DEPTH) -> pytree.Structure:
    """The structure, of built-in containers only."""
    if x == "*":
        return pytree.LEAF
    if depth == 0 or not isinstance(x, list) or len(x) not in (2, 3) or not isinstance(x[0], str) or x[0] not in _KINDS:
        raise damaged("a structure", x if depth else "too deep")
    children = x[-1]
    if not isinstance(children, list) or (x[0] == "dict") is not (len(x) == 3):
        raise damaged("a structure", x[0])
    keys = x[1] if len(x) == 3 else []
    good = isinstance(keys, list) and all(type(k) in (str, int) for k in keys) and len(set(keys)) == len(keys)
    if not good or (len(x) == 3 and len(keys) != len(children)):
        raise damaged("keys of a structure")
    return pytree.Structure(_KINDS[x[0]], tuple(keys), tuple(structure_from(c, depth - 1) for c in children))


# -- reading ------------------------------------------------------------------------------------------


class Reader:
    """Reads parts of one program, whose symbols are there already."""

    def __init__(self, symbols: Symbols, dims: Sequence[Extent], atoms: Any, origins: Any):
        self.symbols = symbols
        self._atoms: list[Any] = list(dims)
        self.origins = [self._origin(o) for o in listed(origins, "origins")]
        for record in listed(atoms, "atoms"):
            if not isinstance(record, dict) or len(record) != 1:
                raise damaged("an atom")
            ((name, parts),) = record.items()
            parts = listed(parts, "an atom")
            if name == "quotient" and len(parts) == 2:
                over, by = (self.terms(p) for p in parts)
                if by == 0:
                    raise damaged("a quotient by zero")
                self._atoms.append(over // by)
            elif name in _EXTREMES and len(parts) >= 1:
                numbers = [self.size(p) for p in parts]
                self._atoms.append((largest if name == "max" else least)(*numbers))
            else:
                raise damaged("an atom", name)

    @staticmethod
    def _origin(o: Any) -> Origin:
        if not (isinstance(o, list) and [type(x) for x in o] == [str, int, str, str, bool]):
            raise damaged("an origin")
        return Origin(*o)

    def terms(self, x: Any) -> Any:
        total: Any = 0
        for term in listed(x, "a polynomial"):
            if not isinstance(term, list) or len(term) != 2 or type(term[0]) is not int:
                raise damaged("a polynomial")
            product: Any = term[0]
            for a in listed(term[1], "a polynomial"):
                if type(a) is not int or not 0 <= a < len(self._atoms):
                    raise damaged("an atom that is not defined before it is used")
                product = product * self._atoms[a]
            total = total + product
        return total

    def size(self, x: Any) -> Any:
        """A number of elements or of positions."""
        if type(x) is int:
            if not -(2**62) < x < 2**62:
                raise damaged("a size", x)
            return x
        if isinstance(x, dict) and list(x) == ["size"]:
            return self.terms(x["size"])
        raise damaged("a size")

    def value(self, x: Any, depth: int = DEPTH) -> Any:
        if depth == 0:
            raise damaged("an attribute that is too deep")
        if x is None or type(x) in (bool, float, str):
            return x
        if type(x) is int:
            if not -(2**63) <= x < 2**64:
                raise damaged("an integer", x)
            return x
        if isinstance(x, list):
            return tuple([self.value(y, depth - 1) for y in x])
        if isinstance(x, dict) and len(x) == 1:
            ((name, inner),) = x.items()
            if name == "size":
                return self.terms(inner)
            if name == "float" and inner in _FLOATS:
                return float(inner)
            if name == "dtype":
                return dtype_from(inner)
            if name == "ratio" and isinstance(inner, list) and len(inner) == 3 and isinstance(inner[0], str) and inner[0] in RATIOS:
                return self._ratio(inner, depth)
            if name == "graph":
                g = self.graph(inner, depth - 1)
                return SubGraph(g.inputs, g.nodes, g.outputs)
        raise damaged("an attribute", type(x).__name__)

    def _ratio(self, x: list[Any], depth: int) -> Any:
        op, *sides = x
        a, b = (self.value(y, depth - 1) for y in sides)
        if not all(type(y) in (int, float, Extent, Ratio) for y in (a, b)) or not {type(a), type(b)} & {Extent, Ratio}:
            raise damaged("a ratio")
        return Ratio(self.symbols, op, a, b)

    def typed(self, x: Any) -> tuple[DType, tuple[Any, ...]]:
        if not isinstance(x, list) or len(x) != 2:
            raise damaged("a type")
        return dtype_from(x[0]), tuple([self.size(n) for n in listed(x[1], "a shape")])

    def graph(self, x: Any, depth: int = DEPTH) -> Graph:
        """A graph of which nothing is known but its form: each value is defined before it is used."""
        if depth <= 0 or not isinstance(x, dict) or set(x) != {"inputs", "nodes", "outputs"}:
            raise damaged("a graph")
        values = [Value(*self.typed(t), None) for t in listed(x["inputs"], "a graph's inputs")]
        inputs, nodes = list(values), []

        def numbered(given: Any) -> list[Value]:
            found = listed(given, "numbers of values")
            if not all(type(i) is int and 0 <= i < len(values) for i in found):
                raise damaged("a value that is not defined before it is used")
            return [values[i] for i in found]

        for record in listed(x["nodes"], "a graph's nodes"):
            if not isinstance(record, list) or len(record) != 5:
                raise damaged("a node")
            name, takes, attributes, types, origin = record
            primitive = TABLE.get(name) if isinstance(name, str) else None
            if primitive is None or primitive.kind == "composed":
                raise damaged("an operation that is not known", name, "one of this version's")
            if not isinstance(attributes, dict):
                raise damaged(f"attributes of {name}")
            node = Node(primitive, tuple(numbered(takes)), {k: self.value(v, depth - 1) for k, v in attributes.items()})
            if origin is not None:
                if type(origin) is not int or not 0 <= origin < len(self.origins):
                    raise damaged("an origin")
                node.origin = self.origins[origin]
            made = [self.typed(t) for t in listed(types, f"results of {name}")]
            node.outputs = tuple(Value(d, s, node, i) for i, (d, s) in enumerate(made))
            values += node.outputs
            nodes.append(node)
        return Graph(inputs, nodes, numbered(x["outputs"]))


def dtype_from(name: Any) -> DType:
    """A dtype by its name."""
    found = BY_NAME.get(name) if isinstance(name, str) else None
    if found is None or found.name != name:
        raise damaged("a dtype", name)
    return found


def listed(x: Any, what: str) -> list[Any]:
    """Something that has to be a list."""
    if not isinstance(x, list):
        raise damaged(what, type(x).__name__)
    return x
