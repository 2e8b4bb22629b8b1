"""Many tensors written in place by one native program: what an optimiser's step is made of.

`update` computes a function of lists of tensors straight into the memory of some of its arguments.
All of it is one program: first what is shared or small (a schedule's numbers, a matrix product, a
norm), into temporaries; then one pass over each target in which all of its companions (a parameter
and its moments) are read and written together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from fanal.autograd.mode import mode
from fanal.backends.native.executable import Executable, launch
from fanal.backends.native.loops.elementwise import Store
from fanal.backends.native.loops.expression import Expression, Load, Op, leaves
from fanal.backends.native.lower.groups import ElementEntry, buffers_of
from fanal.backends.native.lower.lowering import Lowering
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.backends.native.target import host_target
from fanal.core import dtypes
from fanal.core.dispatch import Fused, bind
from fanal.core.errors import message
from fanal.graph.ir import Builder, Graph, Node, Value
from fanal.ops.arithmetic import cast_p
from fanal.tensor import inplace
from fanal.tensor.launching import raise_status
from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Tensor

Lists = Sequence[Sequence[Tensor]]
_programs: dict[Any, Executable] = {}
_functions: dict[Any, Fused] = {}


def update(
    function: Callable[..., Any],
    targets: Lists,
    operands: Lists = (),
    scalars: Sequence[float] = (),
    **static: Any,
) -> None:
    """`targets = function(*targets, *operands, *scalars, **static)`, in the targets' own memory.

    `function` gets lists of values (for scalars: 0-d float64 values, so that a new number needs no
    new program) and returns as many lists as there are targets, of the same lengths. It is traced
    once for each combination of layouts and static arguments. No tensor may overlap a target other
    than by being it. Nothing is recorded, unless gradients are enabled: then each target becomes
    the output of a recorded function, as after any write in place.
    """
    if mode.enabled:
        _recorded(function, targets, operands, scalars, static)
        return
    lists = (*targets, *operands)
    tensors = [*chain.from_iterable(lists)]
    key = (
        function, tuple([t._layout for t in tensors]), tuple(map(len, lists)), len(scalars),
        *static.items(),
    )  # fmt: skip
    program = _programs.get(key)
    if program is None:
        program = _programs[key] = _compile(function, targets, operands, len(scalars), static)
    code = launch(program.address, *[t._ptr for t in tensors], *scalars)
    for some in targets:
        for t in some:
            t._storage.version += 1
    if code:
        raise_status(function.__name__, code)


def _recorded(
    function: Any, targets: Lists, operands: Lists, scalars: Sequence[float], static: dict[str, Any]
) -> None:
    """The same as functions of the tape: for differentiating through an optimiser."""
    lists = (*targets, *operands)
    lengths = tuple(map(len, lists))
    layouts = [t._layout for some in targets for t in some]

    def body(*flat: Any) -> Any:
        values = iter(flat)
        given = [[next(values) for _ in range(n)] for n in lengths]
        numbers = [_wide(v) for v in values]
        found = [v for some in function(*given, *numbers, **static) for v in some]
        pairs = zip(found, layouts, strict=True)
        return tuple(_fitting(function.__name__, v, l) for v, l in pairs)

    key = (function, lengths, *layouts, *static.items())
    made = _functions.get(key)
    if made is None:
        made = _functions[key] = Fused(body, function.__name__, ("numbers",))
        count = sum(lengths)
        made.signature = frozenset(range(count, count + len(scalars)))
    # The old values are copied: the tape keeps them, and the write below must not reach them.
    old = [[t.clone() for t in some] for some in targets]
    flat = [t for some in (*old, *operands) for t in some]
    results = iter(made(*flat, *map(float, scalars)))
    for some in targets:
        for t in some:
            inplace.copy_(t, next(results))


def _wide(number: Value) -> Value:
    """A by-value number as a float64 value that promotes as a tensor does."""
    return bind(cast_p, number, dtype=dtypes.float64)


def _fitting(name: str, value: Value, target: Layout) -> Value:
    """A result in its target's shape and dtype."""
    if value.shape != target.shape:
        raise RuntimeError(
            message(name, "a result's shape differs from its target's", value.shape, str(target.shape))
        )
    return value if value.dtype is target.dtype else bind(cast_p, value, dtype=target.dtype)


def _compile(
    function: Any, targets: Lists, operands: Lists, scalars: int, static: dict[str, Any]
) -> Executable:
    name = function.__name__
    builder = Builder()
    loads: list[Load] = []

    def number(count: int) -> Value:
        value = builder.input(dtypes.float64, ())
        access = Access(count, dtypes.float64, (), ())
        loads.append(Load(dtypes.float64, (), access, True))
        value.weak = True
        return value

    def tensor(t: Tensor) -> Value:
        l = t._layout
        loads.append(Load(l.dtype, l.shape, Access(len(loads), l.dtype, l.shape, l.strides)))
        return builder.input(l.dtype, l.shape)

    for t in (t for some in targets for t in some):
        inplace.check_writable(t, name, False)
    lists = [[tensor(t) for t in some] for some in (*targets, *operands)]
    numbers = [number(len(loads)) for _ in range(scalars)]

    def body() -> list[Value]:
        found = function(*lists, *[_wide(v) for v in numbers], **static)
        if [len(some) for some in found] != [len(some) for some in targets]:
            raise TypeError(
                message(
                    name, "as many results as targets are needed", [len(x) for x in found],
                    str([len(x) for x in targets]),
                )
            )
        pairs = [p for s, x in zip(found, targets, strict=True) for p in zip(s, x, strict=True)]
        return [_fitting(name, value, t._layout) for value, t in pairs]

    results = builder.trace(body)
    graph = builder.graph(results)
    outputs = [l.access for l in loads[: len(results)]]
    program = UpdateLowering(graph, loads, outputs).run()
    return Executable(program, sum(math.prod(v.shape) for v in graph.inputs))


class UpdateLowering(Lowering):
    """Lowering of a graph whose outputs lie in inputs' memory.

    Targets are stored last, when all else has been read. Stores that read one another's targets are
    one pass, which reads each place before it writes it.
    """

    def __init__(self, graph: Graph, inputs: Sequence[Load], outputs: Sequence[Access]):
        super().__init__(graph, inputs, outputs, host_target())
        self.program = ProgramBuilder(self.target, len(inputs))
        self.final: list[ElementEntry] = []

    def node(self, node: Node) -> None:
        # What is computed small and used large is computed once, not at each place of use.
        name, value = node.primitive.name, node.inputs[0] if node.inputs else None
        single = name == "reshape" and value is not None and math.prod(value.shape) == 1
        seen = single or name in ("expand", "slice")
        if value is not None and seen and isinstance(self.values[value], Op):
            self.values[value] = self.in_memory(self.values[value])
        super().node(node)

    def run(self) -> ProgramBuilder:
        for node in self.graph.nodes:
            self.node(node)
        stores = [
            Store(self.values[value], access)
            for value, access in self.outputs
            if self.values[value] is not self.values.get(self._input(access))
        ]
        for family in families(stores):
            self._store_family(family)
        self.outputs = []
        self.graph = Graph(self.graph.inputs, [], [])
        self.schedule.entries += self.final
        return super().run()

    def _input(self, access: Access) -> Value:
        return self.graph.inputs[access.buffer]

    def _store_family(self, stores: list[Store]) -> None:
        """Append the passes of stores that depend on one another's targets, readers first."""
        written = {s.to.buffer: s.to for s in stores}
        passes: dict[tuple[int, ...], list[Store]] = {}
        for s in stores:
            if not reads_in_place(s.expression, written):
                s = Store(self.in_memory(replace(s.expression)), s.to)
            passes.setdefault(s.to.shape, []).append(s)
        waiting = list(passes.values())
        while waiting:
            ready = [one for one in waiting if not _read_elsewhere(one, waiting)]
            if ready:
                chosen = ready[0]
            else:  # two passes want one another's old values: one of them is computed apart
                chosen = min(waiting, key=lambda one: math.prod(one[0].to.shape))
                number = waiting.index(chosen)
                chosen = [Store(self.in_memory(s.expression), s.to) for s in chosen]
                waiting[number] = chosen
                if _read_elsewhere(chosen, waiting):
                    rest = [one for one in waiting if one is not chosen]
                    for one in rest:
                        one[:] = [Store(self.in_memory(s.expression), s.to) for s in one]
            waiting = [one for one in waiting if one is not chosen]
            reads = {b for s in chosen for b in buffers_of(s.expression)}
            self.final.append(ElementEntry(reads, {s.to.buffer for s in chosen}, chosen))


def families(stores: list[Store]) -> list[list[Store]]:
    """Stores in groups that are connected by reading one another's targets."""
    owner = {s.to.buffer: i for i, s in enumerate(stores)}
    parent = list(range(len(stores)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, s in enumerate(stores):
        for buffer in buffers_of(s.expression):
            if buffer in owner:
                parent[root(i)] = root(owner[buffer])
    groups: dict[int, list[Store]] = {}
    for i, s in enumerate(stores):
        groups.setdefault(root(i), []).append(s)
    return list(groups.values())


def reads_in_place(e: Expression, written: dict[int, Access]) -> bool:
    """Whether an expression reads the targets of one shape exactly at its own index, so that it
    can be computed in the pass that writes them (targets of other shapes it may read anyhow)."""
    for leaf in leaves(e):
        for buffer in buffers_of(leaf):
            to = written.get(buffer)
            if to is None or to.shape != e.shape:
                continue
            if not isinstance(leaf, Load) or leaf.access != to:
                return False
    return True


def _read_elsewhere(stores: list[Store], waiting: list[list[Store]]) -> bool:
    """Whether another pass that is still to come reads what these stores write."""
    writes = {s.to.buffer for s in stores}
    return any(
        buffers_of(s.expression) & writes for one in waiting if one is not stores for s in one
    )
