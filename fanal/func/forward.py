"""Forward derivatives of functions: `jvp`, `linearize`. They transform the function's graph.

The function is taken down once; in its graph every value then travels with its tangent, and both are
computed by one native program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fanal.core import pytree
from fanal.core.dispatch import Fused, call_eager, tracing
from fanal.core.errors import message
from fanal.func.capture import Capture, write_back
from fanal.func.structure import (
    Function,
    check_aux,
    check_results,
    transforming,
    with_aux,
)
from fanal.graph.ir import Builder, Graph, Node, Value
from fanal.ops.derive import jvp as pushed
from fanal.ops.layout import zeros_like_type
from fanal.tensor.plans import graph_function
from fanal.tensor.tensor import Tensor

_JVP = "jvp(f, primals, tangents)"


class Taken(NamedTuple):
    """A function taken down for a forward derivative: numbers of its results and of what it wrote."""

    capture: Capture
    inputs: list[Tensor]  # what the derivative is by
    outputs: list[int]
    structure: pytree.Structure
    aux: list[int]
    aux_structure: pytree.Structure
    writes: list[Any]

    def values(self) -> tuple[int, ...]:
        return (*self.outputs, *self.aux, *(w.number for w in self.writes))


def taken(
    name: str, func: Function, args: tuple[Any, ...], which: Sequence[int], has_aux: bool, kwargs: Any
) -> Taken:
    """Call `func`, with the tensors of the arguments `which` for inputs."""
    capture = Capture(name)
    given = list(args)
    inputs: list[Tensor] = []
    for i in which:
        leaves, structure = pytree.flatten(args[i])
        inputs += leaves
        given[i] = structure.unflatten([capture.input(x, tuple(x.shape), True, True) for x in leaves])
    with transforming(), capture.running():
        result = func(*given, **kwargs)
        output, aux = with_aux(_JVP, result) if has_aux else (result, ())
        leaves, structure = pytree.flatten(output)
        check_results(_JVP, leaves)
        others, around = pytree.flatten(aux)
        check_aux(others)
        numbers = [capture.number(x) for x in leaves]
        more = [capture.number(x) for x in others]
        writes = capture.writes(inputs)
    return Taken(capture, inputs, numbers, structure, more, around, writes)


class Pushed(NamedTuple):
    """The program of values and tangents; `moved`: which values depend on the inputs."""

    function: Fused
    moved: tuple[bool, ...]


def _program(name: str, graph: Graph, count: int, outputs: int) -> Pushed:
    """A graph with the tangents of its first inputs behind its inputs, of its first outputs behind
    its outputs."""
    b = Builder()
    inputs = copied_inputs(b, graph)
    tangents: list[Value | None] = [b.input(v.dtype, v.shape) for v in inputs[:count]]
    rest: list[Value | None] = [None] * (len(inputs) - count)
    with tracing(b):
        values, moved = pushed(graph, inputs, [*tangents, *rest])
        pairs = list(zip(values, moved, strict=True))[:outputs]
        ends = [zeros_like_type(v) if t is None else t for v, t in pairs]
    made = graph_function(name, b.graph([*values, *ends]))
    return Pushed(made, tuple(t is not None for t in moved))


def copied_inputs(b: Builder, graph: Graph) -> list[Value]:
    """Inputs of a new graph like those of another."""
    inputs = []
    for v in graph.inputs:
        inputs.append(b.input(v.dtype, v.shape))
        inputs[-1].weak = v.weak
    return inputs


def check_tensors(leaves: Sequence[Any], what: str) -> None:
    """RuntimeError unless there are tensors, and nothing else."""
    if not leaves:
        raise RuntimeError(f"{_JVP}: Expected {what} to contain at least one Tensor.")
    for x in leaves:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"{_JVP}: Expected {what} to only contain Tensors, got {type(x)}")


def check_tangents(primals: Sequence[Tensor], tangents: Sequence[Tensor]) -> None:
    """Errors for tangents that don't fit."""
    for x, t in zip(primals, tangents, strict=True):
        if x.dtype.kind != "f":
            raise ValueError(f"Expected primal to be floating point or complex, but got: {x.dtype!r}")
        if tuple(x.shape) != tuple(t.shape):
            raise RuntimeError(
                "Trying to set a forward gradient that has a different size than that of the original "
                f"Tensor, this is not supported. Tensor is of size {list(x.shape)} while the given "
                f"forward gradient is of size {list(t.shape)}."
            )
        if x.dtype is not t.dtype:
            raise RuntimeError(
                message("jvp", "a tangent has another dtype than its primal", repr(t.dtype),
                        repr(x.dtype), ".to(primal.dtype)")
            )  # fmt: skip


def jvp(
    func: Function, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> Any:
    """The function's result, and its derivative in the direction of the tangents.

    Returns (output, tangent of the output), with `has_aux` (output, tangent, aux). `primals` is the
    tuple of arguments, `tangents` of the same structure. strict: RuntimeError where an output does not
    depend on the arguments.

    >>> jvp(fanal.sin, (x,), (v,))  # sin x, v cos x
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(
            f"{_JVP}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals)."
        )
    which = range(len(primals))
    output, moved, aux = jvp_with_argnums(func, primals, which, tangents, strict, has_aux)
    return (output, moved, aux) if has_aux else (output, moved)


def jvp_with_argnums(
    func: Function, args: tuple[Any, ...], which: Sequence[int], tangents: Any, strict: bool,
    has_aux: bool, kwargs: Any = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """`jvp` by some of the arguments: output, tangent, aux."""
    primals, structure = pytree.flatten(tuple(args[i] for i in which))
    given, found = pytree.flatten(tangents)
    if structure != found:
        raise RuntimeError(
            f"{_JVP}: Expected primals and tangents to have the same python structure. For example, if "
            "primals is a tuple of 3 tensors, tangents also must be. Got primals with structure "
            f"{structure} and tangents with structure {found}"
        )
    check_tensors(primals, "primals")
    check_tensors(given, "tangents")
    check_tangents(primals, given)
    t = taken("jvp", func, args, which, has_aux, kwargs or {})
    values, count, outputs = t.values(), len(primals), len(t.outputs)
    program: Pushed = t.capture.program(
        ("jvp", values, outputs, count),
        lambda: _program("jvp", t.capture.graph(values), count, outputs),
    )
    if strict and not all(program.moved[:outputs]):
        raise RuntimeError(
            "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This "
            "is not allowed with strict=True."
        )
    for write, moved in zip(t.writes, program.moved[len(values) - len(t.writes) :], strict=True):
        if write.position is None and moved:
            raise RuntimeError(
                message("jvp", "a tensor from outside is written to, whose new value has a tangent",
                        tuple(write.target.shape), hint="returning the new value")
            )  # fmt: skip
    results = t.capture.run(program.function, [*primals, *t.capture.captured(), *given], values)
    t.capture.close()
    middle = outputs + len(t.aux)
    write_back(t.writes, results[middle : len(values)])
    return (
        t.structure.unflatten(results[:outputs]),
        t.structure.unflatten(results[len(values) :]),
        t.aux_structure.unflatten(results[outputs:middle]),
    )


# -- linearize -------------------------------------------------------------------------------------------


class Linear(NamedTuple):
    """A function's value with what its tangents need, and the tangents of it."""

    value: Fused
    tangents: Fused


def linearize(func: Function, *primals: Any) -> tuple[Any, Function]:
    """The function's result, and a function that takes tangents of the arguments to its tangent.

    As `jvp` for many tangents at one point: what depends on the point alone is computed once.

    >>> out, push = linearize(fanal.sin, x)
    >>> push(v)  # v cos x
    """
    leaves, structure = pytree.flatten(primals)
    check_tensors(leaves, "primals")
    check_tangents(leaves, leaves)
    t = taken("linearize", func, primals, range(len(primals)), False, {})
    values, count, outputs = t.values(), len(leaves), len(t.outputs)
    program: Linear = t.capture.program(
        ("linearize", values, outputs, count), lambda: _linear(t.capture.graph(values), count, outputs)
    )
    results = t.capture.run(program.value, [*leaves, *t.capture.captured()], values)
    t.capture.close()
    write_back(t.writes, results[outputs : len(values)])
    kept = results[len(values) :]

    def push(*tangents: Any) -> Any:
        given, found = pytree.flatten(tangents)
        if found != structure:
            raise RuntimeError(
                f"Expected the tangents {found} to have the same argspec as the primals {structure}"
            )
        for i, (x, v) in enumerate(zip(leaves, given, strict=True)):
            for what, mine, its in (
                ("shape", tuple(x.shape), tuple(v.shape)), ("dtype", x.dtype, v.dtype)
            ):  # fmt: skip
                if mine != its:
                    raise RuntimeError(
                        f"tangent:{i} with {what} {its} in flattened pytree doesn't match the {what} "
                        f"{mine} of the corresponding primal."
                    )
        return t.structure.unflatten(call_eager(program.tangents, (*kept, *given), {}))

    return t.structure.unflatten(results[:outputs]), push


def _linear(graph: Graph, count: int, outputs: int) -> Linear:
    b = Builder()
    inputs = copied_inputs(b, graph)
    directions = [b.input(v.dtype, v.shape) for v in inputs[:count]]
    tangents: list[Value | None] = [*directions, *[None] * (len(inputs) - count)]
    with tracing(b):
        values, moved = pushed(graph, inputs, tangents)
        pairs = list(zip(values, moved, strict=True))[:outputs]
        ends = [zeros_like_type(v) if t is None else t for v, t in pairs]
    late = _depending(b.nodes, directions)
    whole = b.graph(ends).nodes
    behind = [n for n in whole if n in late]
    needed = {v for n in behind for v in n.inputs} | set(ends)
    kept = [v for v in needed if v not in directions and (v.node is None or v.node not in late)]
    order = {v: i for i, v in enumerate((*b.inputs, *(v for n in b.nodes for v in n.outputs)))}
    kept.sort(key=order.__getitem__)
    value = Graph(inputs, b.nodes, [*values, *kept]).pruned()
    return Linear(
        graph_function("linearize", value),
        graph_function("jvp_fn", Graph([*kept, *directions], behind, ends)),
    )


def _depending(nodes: Sequence[Node], roots: Sequence[Value]) -> set[Node]:
    """The nodes that depend on the roots."""
    found, late = set(roots), set()
    for node in nodes:
        if any(v in found for v in node.inputs):
            found.update(node.outputs)
            late.add(node)
    return late
