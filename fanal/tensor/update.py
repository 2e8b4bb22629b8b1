"""Many tensors written in place by one native program: what an optimiser's step is made of.

`update` computes a function of lists of tensors straight into the memory of some of its arguments.
All of it is one program: first what is shared or small (a schedule's numbers, a matrix product, a
norm), into temporaries; then one pass over each target in which all of its companions (a parameter
and its moments) are read and written together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from fanal.autograd.mode import mode
from fanal.backends.native.executable import Executable, compile_whole, launch
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.program import Access
from fanal.core import dtypes
from fanal.core.dispatch import Fused, bind, recorder
from fanal.core.errors import message
from fanal.core.watching import unwatched
from fanal.graph.ir import Builder, Graph, Value
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
    listening = recorder()
    if listening is not None:
        listening.update(function, targets, operands, scalars, static)
        return
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


@unwatched
def traced(
    function: Any, targets: Lists, operands: Lists, scalars: int, static: dict[str, Any]
) -> Graph:
    """The graph of an update: inputs are targets, operands and numbers, outputs new targets."""
    name = function.__name__
    builder = Builder()

    def number() -> Value:
        value = builder.input(dtypes.float64, ())
        value.weak = True
        return value

    for t in (t for some in targets for t in some):
        inplace.check_writable(t, name, False)
    lists = [
        [builder.input(t.dtype, t._layout.shape) for t in some] for some in (*targets, *operands)
    ]
    numbers = [number() for _ in range(scalars)]

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

    return builder.graph(builder.trace(body))


def _compile(
    function: Any, targets: Lists, operands: Lists, scalars: int, static: dict[str, Any]
) -> Executable:
    graph = traced(function, targets, operands, scalars, static)
    layouts = [t._layout for some in (*targets, *operands) for t in some]
    loads = [
        Load(l.dtype, l.shape, Access(i, l.dtype, l.shape, l.strides))
        for i, l in enumerate(layouts)
    ]
    for i in range(len(loads), len(graph.inputs)):
        loads.append(Load(dtypes.float64, (), Access(i, dtypes.float64, (), ()), True))
    outputs = [l.access for l in loads[: len(graph.outputs)]]
    return compile_whole(graph, loads, outputs, function.__name__)
