"""`vmap`: a function of one sample as a function of a batch, in one native program.

The function is taken down once, for tensors without the batch dimension; in its graph every value then
gets one (`ops.derive.batching`). No loop over the samples is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from fanal.core import pytree
from fanal.core.dispatch import Fused, tracing
from fanal.core.errors import message
from fanal.func.axes import Axis, Batch, batch_of, check_out_dims, places_of
from fanal.func.capture import Capture, Write, write_back
from fanal.func.structure import Function, name_of, transforming, wraps
from fanal.graph.ir import Builder, Value
from fanal.ops.derive.batching import batched
from fanal.ops.joining import tensor_split
from fanal.ops.layout import in_front, move_axis
from fanal.ops.shape import cat
from fanal.random.generator import get_rng_state, set_rng_state
from fanal.tensor.plans import graph_function
from fanal.tensor.tensor import Tensor


class Program(NamedTuple):
    """A mapped function; `mapped` says of each output whether it differs between the samples."""

    function: Fused
    mapped: tuple[bool, ...]


def vmap(
    func: Function,
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Function:
    """`func`, a function of one sample, mapped over a dimension of its tensors.

    in_dims: the mapped dimension of each argument (None: the same for all samples), one for all or in
    the arguments' structure. out_dims: where it comes to lie in the results. randomness: what random
    functions do inside ("error", "different" or "same" numbers for each sample). chunk_size: samples
    computed at a time. Keyword arguments are the same for all samples.

    >>> dots = vmap(fanal.dot)  # (n, d), (n, d) → (n,)
    >>> vmap(grad(loss), in_dims=(None, 0, 0))(weights, x, y)  # a gradient of each sample
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. "
            f"Got {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        check_out_dims(out_dims, func)
        batch = batch_of(in_dims, args, func)
        if chunk_size is None or batch.size <= chunk_size:
            return _mapped(func, batch, out_dims, randomness, args, kwargs)
        return _in_chunks(func, batch, out_dims, randomness, chunk_size, args, kwargs)

    return mapped


# -- one call --------------------------------------------------------------------------------------------


def _mapped(
    func: Function, batch: Batch, out_dims: Any, randomness: str, args: Any, kwargs: dict[str, Any]
) -> Any:
    tensors = [x for x, a in zip(batch.leaves, batch.axes, strict=True) if a is not None]
    axes = [a for a in batch.axes if a is not None]
    capture = Capture("vmap", randomness)
    with transforming(), capture.running():
        result = func(*_samples(capture, batch, args), **kwargs)
        leaves, structure = pytree.flatten(result)
        places = places_of(leaves, structure, result, out_dims, func)
        numbers = {
            i: capture.number(x) for i, (x, d) in enumerate(zip(leaves, places, strict=True))
            if isinstance(x, Tensor) and (d is not None or _is_inner(x, capture))
        }  # fmt: skip
        writes = capture.writes(tensors)
    found = _run(capture, batch, axes, tensors, numbers, places, writes, leaves, func, randomness)
    capture.close()
    write_back(writes, found[len(numbers) :])
    for i, value in zip(numbers, found, strict=False):
        leaves[i] = value
    return structure.unflatten(leaves)


def _samples(capture: Capture, batch: Batch, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments with one sample in the place of each mapped tensor."""
    inner = []
    for x, axis in zip(batch.leaves, batch.axes, strict=True):
        if axis is None:
            inner.append(x)
        else:
            shape = tuple(x.shape)
            inner.append(capture.input(x, (*shape[:axis], *shape[axis + 1 :]), False, False))
    made = batch.structure.unflatten(inner)
    # What has nothing mapped in it is passed as it is.
    counts = iter(batch.axes)
    parts = [[next(counts) for _ in range(c.leaf_count)] for c in batch.structure.children]
    return tuple(
        a if all(axis is None for axis in part) else m
        for a, m, part in zip(args, made, parts, strict=True)
    )


def _is_inner(x: Tensor, capture: Capture) -> bool:
    return getattr(x._storage, "recorder", None) is capture


def _run(
    capture: Capture, batch: Batch, axes: list[int], tensors: list[Tensor], numbers: dict[int, int],
    places: list[Axis], writes: list[Write], leaves: list[Any], func: Function, randomness: str,
) -> Sequence[Tensor]:  # fmt: skip
    """The results that are tensors, then the values written."""
    values = (*numbers.values(), *(w.number for w in writes))
    if not values:
        return ()
    ends = [places[i] for i in numbers]
    ends += [None if w.position is None else axes[w.position] for w in writes]
    different = randomness == "different"
    key = ("vmap", batch.size, tuple(axes), values, tuple(ends), different)
    program: Program = capture.program(
        key, lambda: _program(capture, values, axes, ends, batch.size, different)
    )
    for i, mapped in zip(numbers, program.mapped, strict=False):
        if places[i] is None and mapped:
            name = name_of(func)
            raise ValueError(
                f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None"
            )
    for write, mapped in zip(writes, program.mapped[len(numbers) :], strict=True):
        if write.position is None and mapped:
            raise RuntimeError(
                message(
                    "vmap", "a value of each sample is written to a tensor that is one for all of them",
                    f"shape {tuple(write.target.shape)}, {batch.size} samples",
                    hint="giving the tensor to the function as a mapped argument",
                )
            )  # fmt: skip
    return capture.run(program.function, [*tensors, *capture.captured()], values)


def _program(
    capture: Capture, values: Sequence[int], axes: list[int], ends: list[Axis], size: int,
    different: bool,
) -> Program:  # fmt: skip
    """The graph with a batch dimension in all that depends on the samples."""
    graph = capture.graph(values)
    b = Builder()
    inputs: list[Value] = []
    where: list[Axis] = [*axes, *[None] * (len(graph.inputs) - len(axes))]
    for v, axis in zip(graph.inputs, where, strict=True):
        shape = v.shape if axis is None else (*v.shape[:axis], size, *v.shape[axis:])
        inputs.append(b.input(v.dtype, shape))
        inputs[-1].weak = v.weak
    with tracing(b):
        outputs, found = batched(graph, inputs, where, size, different)
        placed = [_placed(*row, size) for row in zip(outputs, found, ends, strict=True)]
    return Program(graph_function("vmap", b.graph(placed)), tuple(a is not None for a in found))


def _placed(y: Value, axis: Axis, end: Axis, size: int) -> Value:
    """An output with its batch dimension where it is wanted."""
    if end is None:
        return y
    return move_axis(in_front(y, None, size), 0, end) if axis is None else move_axis(y, axis, end)


# -- chunks --------------------------------------------------------------------------------------------------


def _in_chunks(
    func: Function, batch: Batch, out_dims: Any, randomness: str, chunk: int, args: Any,
    kwargs: dict[str, Any],
) -> Any:  # fmt: skip
    """The same, some samples at a time."""
    state = get_rng_state() if randomness == "same" else None
    results = []
    for leaves, count in _chunks(batch, chunk):
        if state is not None:
            set_rng_state(state)
        part = batch._replace(leaves=leaves, size=count)
        results.append(_mapped(func, part, out_dims, randomness, args, kwargs))
    columns, structure = zip(*map(pytree.flatten, results), strict=True)
    places = structure[0].broadcast(out_dims)
    assert places is not None
    rows = zip(zip(*columns, strict=True), places, strict=True)
    return structure[0].unflatten(
        [parts[0] if dim is None else cat(parts, dim) for parts, dim in rows]
    )


def _chunks(batch: Batch, chunk: int) -> Iterator[tuple[list[Any], int]]:
    bounds = [*range(0, batch.size, chunk), batch.size]
    parts = [
        [x] * (len(bounds) - 1) if axis is None else tensor_split(x, bounds[1:-1], axis)
        for x, axis in zip(batch.leaves, batch.axes, strict=True)
    ]
    for leaves, (start, stop) in zip(zip(*parts, strict=True), pairwise(bounds), strict=True):
        yield list(leaves), stop - start
