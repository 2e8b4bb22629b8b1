"""What is drawn as one box: an operation, a call of the user's, or a part of the model.

Operations stand in a graph in the order in which they were called. Neighbours that come from one call of
the user's are a box; so a box never leads back to one before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fanal.export.program import Signature
from fanal.graph.ir import Graph, Node, SubGraph, Value


@dataclass(eq=False)
class Block:
    """Neighbouring nodes, with what they are to be called."""

    title: str
    detail: str
    nodes: list[Node]
    module: str = ""
    inner: list[Block] = field(default_factory=list)  # calls, of a part of the model

    @property
    def backward(self) -> bool:
        """Whether it is the gradient of a call."""
        return any(n.origin is not None and n.origin.backward for n in self.nodes)


class State:
    """Which tensors of the program values are, and which part of the model these belong to."""

    def __init__(self, signature: Signature):
        pairs = zip(signature.takes, signature.graph.inputs, strict=True)
        self.names: dict[Value, str] = {v: p.name for p, v in pairs if p.kind == "state"}
        self._common = _common(list(self.names.values()))

    def read(self, nodes: Sequence[Node]) -> list[Value]:
        """The tensors that nodes read, each once."""
        return list(dict.fromkeys(v for n in nodes for v in n.inputs if v in self.names))

    def module(self, node: Node) -> str:
        """The part of the model that a node reads a tensor of; nothing where it reads none."""
        for v in node.inputs:
            if v in self.names:
                return self.names[v][self._common :].rpartition(".")[0]
        return ""


def _common(names: Sequence[str]) -> int:
    """How many letters of a path all names begin with: `model.` of a step that trains one."""
    paths = [n.split(".")[:-1] for n in names]
    shared = 0
    while paths and all(len(p) > shared and p[shared] == paths[0][shared] and len(p) > 1 for p in paths):
        shared += 1
    return sum(len(part) + 1 for part in paths[0][:shared]) if paths and shared else 0


def constants(graph: Graph) -> set[Value]:
    """The values that follow from nothing: drawn, they would join what has nothing to do with one another."""
    found: set[Value] = set()
    for node in graph.nodes:
        if node.primitive.kind == "create" or (node.inputs and all(v in found for v in node.inputs)):
            found.update(node.outputs)
        for a in node.attributes.values():
            if isinstance(a, SubGraph):
                found |= constants(a)
    return found


def operations(graph: Graph, fixed: set[Value]) -> list[Block]:
    """Each operation by itself; constants go without a box, unless they are all that there is."""
    shown = [n for n in graph.nodes if not all(v in fixed for v in n.outputs) or n.primitive.kind == "control"]
    return [
        Block(n.primitive.name, "" if n.origin is None else n.origin.called, [n])
        for n in shown or graph.nodes
    ]


def calls(graph: Graph, state: State) -> list[Block]:
    """Operations that one call of the user's made: its line, what was called, and whose tensors."""
    found: list[Block] = []
    place: Any = None
    for node in graph.nodes:
        module = state.module(node)
        origin = node.origin
        same = found and (origin is None or origin == place)
        if same and _akin(module, found[-1].module):
            found[-1].nodes.append(node)
            found[-1].module = min(filter(None, (found[-1].module, module)), key=len, default="")
        else:
            name = node.primitive.name if origin is None else origin.called
            found.append(Block(name, "", [node], module))
        place = origin or place
    for block in found:
        block.detail = block.module or (_primitives(block.nodes) if len(block.nodes) < 4 else "")
    return found


def _akin(a: str, b: str) -> bool:
    """Whether two parts of a model are one, or one is in the other; no part goes with any."""
    return not a or not b or f"{a}.".startswith(f"{b}.") or f"{b}.".startswith(f"{a}.")


def _primitives(nodes: Sequence[Node]) -> str:
    names = dict.fromkeys(n.primitive.name for n in nodes if n.primitive.kind != "create")
    return ", ".join(names)


def modules(blocks: Sequence[Block]) -> list[Block]:
    """Calls of one part of the model as a box; a part is named down to its number: `layers.0`."""
    found: list[Block] = []
    for block in blocks:
        part = _part(block.module)
        last = found[-1] if found else None
        if last is not None and last.backward == block.backward and (not part or not last.title or last.title == part):
            last.title = last.title or part
            last.nodes += block.nodes
            last.inner.append(block)
        else:
            found.append(Block(part, "", list(block.nodes), part, [block]))
    for block in found:
        names = list(dict.fromkeys(b.title for b in block.inner))
        block.detail = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        if block.title.isdigit():  # of a Sequential: its place alone says little
            block.title = f"{block.title}: {block.inner[0].title}" if len(names) == 1 else f"part {block.title}"
        if not block.title:
            block.title, block.detail = block.inner[0].title, block.detail if len(names) > 1 else ""
    return found


def _part(module: str) -> str:
    path = module.split(".")
    for i, name in enumerate(path[:3]):
        if name.isdigit():
            return ".".join(path[: i + 1])
    return path[0]


def links(
    blocks: Sequence[Block], inputs: Sequence[Value], outputs: Sequence[Sequence[Value]], fixed: set[Value]
) -> Iterator[tuple[int, int]]:
    """From which box to which a value goes: numbers of those in front (inputs), of blocks, and of those
    behind (outputs, each of some values). Constants (`fixed`) go from block to block unseen."""
    at: dict[Value, int] = {v: i for i, v in enumerate(inputs)}
    first = len(inputs)
    for i, block in enumerate(blocks):
        for node in block.nodes:
            at.update((v, first + i) for v in node.outputs if v not in fixed)
    seen = set()
    for i, values in [
        *((first + i, [v for n in b.nodes for v in n.inputs]) for i, b in enumerate(blocks)),
        *((first + len(blocks) + i, list(values)) for i, values in enumerate(outputs)),
    ]:
        for v in values:
            a = at.get(v)
            if a is not None and a != i and (a, i) not in seen:
                seen.add((a, i))
                yield a, i


def subgraphs(nodes: Sequence[Node]) -> list[tuple[str, SubGraph, list[str]]]:
    """The graphs inside of nodes, each with what it is there, and what its inputs are."""
    return [
        (f"{n.primitive.name}: {key}", a, _roles(n, a))
        for n in nodes
        for key, a in n.attributes.items()
        if isinstance(a, SubGraph)
    ]


def _roles(node: Node, graph: SubGraph) -> list[str]:
    consts = node.attributes.get("consts")
    if consts is None:  # a branch
        return ["from outside"] * len(graph.inputs)
    carries = node.attributes.get("carries", len(graph.inputs) - consts)
    slices = len(graph.inputs) - consts - carries
    return ["the same at each step"] * consts + ["from step to step"] * carries + ["of this step"] * slices

