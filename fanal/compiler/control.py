"""Control flow that stays in one program: `cond`, `while_loop`, `scan`, with PyTorch's signatures.

Their functions are taken down as graphs (see `taking`), the attributes of one operation which runs
natively and is captured, batched and differentiated like any other. What the functions take from outside,
they may: those tensors get gradients too. Their Python runs once a call, whatever the number of steps,
with tensors that have shapes and dtypes and no elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanal.autograd.mode import mode
from fanal.compiler.taking import Taken, check_flag, check_same, check_tensors, returned, take
from fanal.core import dtypes, pytree
from fanal.core.cache import BoundedCache
from fanal.core.dispatch import Fused, bind, call_eager
from fanal.core.errors import Limit, message
from fanal.core.pytree import Structure
from fanal.graph.ir import SubGraph, Type
from fanal.ops.control import choose, loop, repeat
from fanal.ops.create import iota_p
from fanal.ops.layout import concat_p, flip_p, reshape_p
from fanal.ops.promotion import constant
from fanal.tensor.creation import tensor
from fanal.tensor.layout import Layout, layout
from fanal.tensor.tensor import Tensor

_functions: BoundedCache = BoundedCache(2000)  # that run the operations, by their graphs


def cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any = ()
) -> Any:
    """`true_fn(*operands)` if `pred` holds, else `false_fn(*operands)`; only one of them is computed.

    pred: a boolean tensor with one element (a Python bool chooses at once). operands: a tuple or list
    of tensors, or nested containers of them. Both functions must return the same structure of tensors,
    with the same shapes and dtypes. Random numbers are drawn for both.

    Errors: TypeError for a predicate that is no boolean and results that are no tensors; ValueError for
    a predicate of several elements and branches whose results differ.

    >>> x = fanal.tensor([1.0, 4.0])
    >>> fanal.cond(x.sum() > 0, lambda x: x.sqrt(), lambda x: x * 0, (x,))
    tensor([1., 2.])
    """
    if not isinstance(operands, tuple | list):
        got = type(operands).__name__
        raise TypeError(message("cond", "operands in no tuple", got, "a tuple or a list", "(x,)"))
    if isinstance(pred, bool):
        return (true_fn if pred else false_fn)(*operands)
    check_flag("cond", "the predicate", Type(pred.dtype, pred.shape) if isinstance(pred, Tensor) else pred)
    leaves, structure = pytree.flatten(operands)
    given = [x for x in leaves if isinstance(x, Tensor)]

    def arguments(tensors: list[Any]) -> Any:
        left = iter(tensors)
        return structure.unflatten([next(left) if isinstance(x, Tensor) else x for x in leaves])

    layouts = [layout(x.dtype, x._layout.shape).wanting(x._layout.grad) for x in given]
    true, false = (take(f, arguments, layouts, "cond") for f in (true_fn, false_fn))
    for taken, what in ((true, "true_fn"), (false, "false_fn")):
        check_tensors("cond", what, returned(taken), True)
    check_same(
        "cond", "the branches' results differ", true.structure, returned(true), false.structure,
        returned(false), "casting or reshaping in one of them",
    )  # fmt: skip
    results: Any = ()
    if true.types:
        arguments_ = (pred, *given, *true.captured, *false.captured)
        function = _function(
            "cond", _branches, len(arguments_), true.graph, false.graph, len(given), len(true.captured)
        )
        results = call_eager(function, arguments_, {})
    return _restored(true.structure, true.leaves, true.places, results)


def _branches(true: SubGraph, false: SubGraph, count: int, captured: int) -> Any:
    def body(flag: Any, *values: Any) -> Any:
        operands, own, rest = _cut(values, count, captured)
        return tuple(
            choose(
                bind(reshape_p, flag, shape=()),
                lambda: true.apply(operands + own, bind),
                lambda: false.apply(operands + rest, bind),
            )
        )

    return body


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: Any, *,
    max_steps: int | None = None,
) -> Any:  # fmt: skip
    """Repeat `carried = body_fn(*carried)` while `cond_fn(*carried)` holds; the last `carried`.

    carried_inputs: a tuple of tensors, numbers (which become tensors) or nested containers of them.
    cond_fn returns a boolean tensor with one element; body_fn a tuple like the one that it is given,
    of the same shapes and dtypes. max_steps: stop after so many steps in any case; only then there is a
    gradient (which takes memory for, and time of, all of them). Forward derivatives need no bound.

    Errors: TypeError and ValueError for a condition that is no boolean and a carry whose type changes;
    Limit for random numbers in the loop, and (in backward) where a gradient is wanted without `max_steps`.

    >>> n, x = fanal.while_loop(lambda n, x: n < 3, lambda n, x: (n + 1, x * 2), (0, fanal.ones(2)))
    >>> x
    tensor([8., 8.])
    """
    if not isinstance(carried_inputs, tuple | list) or not carried_inputs:
        got = repr(carried_inputs) if isinstance(carried_inputs, tuple | list) else type(carried_inputs).__name__
        raise TypeError(
            message("while_loop", "carried_inputs are no tuple of tensors", got, hint="(x,)")
        )
    if max_steps is not None and (type(max_steps) is not int or max_steps < 0):
        raise ValueError(message("while_loop", "max_steps is no number of steps", max_steps, "None or int ≥ 0"))
    state, structure = _carry("while_loop", "carried_inputs", tuple(carried_inputs))
    layouts = [_carried(x) for x in state]
    test, step = (
        take(f, structure.unflatten, layouts, "while_loop") for f in (cond_fn, _tupled(body_fn))
    )
    flags = returned(test)
    check_flag("while_loop", "what cond_fn returns", flags[0] if len(flags) == 1 else tuple(flags))
    _check_carry("while_loop", "body_fn", structure, state, step.structure, returned(step))
    for taken, what in ((test, "cond_fn"), (step, "body_fn")):
        if taken.moved:
            raise Limit(
                message(
                    "while_loop", f"{what} draws random numbers, which would be the same at every step",
                    hint="fanal.scan, or drawing them before the loop",
                )
            )  # fmt: skip
    values = (*state, *test.captured, *step.captured)
    function = _function(
        "while_loop", _repeated, len(values), test.graph, step.graph, len(state), len(test.captured),
        max_steps,
    )  # fmt: skip
    return structure.unflatten(list(call_eager(function, values, {})))


def _repeated(
    test: SubGraph, step: SubGraph, count: int, captured: int, limit: int | None
) -> Any:
    def body(*values: Any) -> Any:
        init, own, rest = _cut(values, count, captured)

        def holds(carry: list[Any]) -> Any:
            return bind(reshape_p, test.apply([*carry, *own], bind)[0], shape=())

        return tuple(repeat(holds, lambda carry: step.apply([*carry, *rest], bind), init, limit))

    return body


def scan(
    combine_fn: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any = None, *, dim: int = 0,
    reverse: bool = False, length: int | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Go through sequences: `carry, y = combine_fn(carry, x)` at each step; (last carry, stacked ys).

    init: the first carry, tensors in any containers; combine_fn must return one like it, with the same
    shapes and dtypes. xs: tensors in any containers, of the same length along `dim`; x is one step of
    each (`dim` removed). None: no sequence, `length` steps. ys: what combine_fn returned second, stacked
    along dimension 0 (None stays None). reverse: from the last step to the first; ys keep the order of
    xs. Gradients flow to init, xs and whatever combine_fn uses from outside. Random numbers are drawn at
    each step, as in a loop.

    Errors: TypeError for leaves that are no tensors; ValueError for lengths that differ, and for a carry
    whose structure, shape or dtype changes.

    >>> fanal.scan(lambda total, x: (total + x, total * x), fanal.tensor(0), fanal.arange(4))
    (tensor(6), tensor([0, 0, 2, 9]))
    """
    state, structure = _carry("scan", "init", init)
    sequences, along = _sequences(xs, dim)
    lengths = {x._layout.shape[0] for x in sequences} | ({length} - {None})
    if len(lengths) != 1 or (type(length) is int and length < 0):
        got = ", ".join(f"{x._layout.shape[0]}" for x in sequences) or "no xs"
        raise ValueError(
            message(
                "scan", f"the number of steps is not known (xs along dimension {dim}, length)",
                f"{got}; {length}", "one length", "" if lengths else "length=…",
            )
        )  # fmt: skip
    steps: int = lengths.pop()  # type: ignore[assignment]
    count = len(state)
    layouts = [_carried(x) for x in state]
    layouts += [layout(x.dtype, x._layout.shape[1:]).wanting(x._layout.grad) for x in sequences]

    def arguments(tensors: list[Any]) -> Any:
        slices = None if xs is None else along.unflatten(tensors[count:])
        return structure.unflatten(tensors[:count]), slices

    taken = take(_paired(combine_fn), arguments, layouts, "scan")
    carry, ys = taken.structure.children
    results = returned(taken)
    split = carry.leaf_count
    check_tensors("scan", "combine_fn", results[split:], True)
    _check_carry("scan", "combine_fn", structure, state, carry, results[:split])
    draws = _advanced(taken, steps)
    outputs: Any = ()
    if taken.types:
        values = (*state, *sequences, *taken.captured)
        function = _function(
            "scan", _stepped, len(values), taken.graph, count, len(sequences), steps, reverse, draws
        )
        outputs = call_eager(function, values, {})
    last = structure.unflatten(list(outputs[:count]))
    return last, _restored(ys, taken.leaves[split:], taken.places[split:], outputs[count:])


def _stepped(
    graph: SubGraph, count: int, sequences: int, steps: int, reverse: bool,
    draws: tuple[tuple[int, int], ...],
) -> Any:  # fmt: skip
    def body(*values: Any) -> Any:
        init, xs, captured = _cut(values, count, sequences)
        if draws:  # what number each step has
            order = bind(iota_p, shape=(steps,), dim=0, dtype=dtypes.int64)
            xs = [*xs, bind(flip_p, order, dims=(0,)) if reverse else order]

        def step(carry: list[Any], slices: list[Any]) -> Any:
            outside = list(captured)
            for i, each in draws:
                # A key is (seed, stream); each draw is a stream of its own.
                later = bind(reshape_p, slices[-1] * each, shape=(1,))
                zero = constant(0, dtypes.int64, (1,))
                outside[i] = outside[i] + bind(concat_p, zero, later, dim=0)
            out = graph.apply([*carry, *slices[:sequences], *outside], bind)
            return out[:count], out[count:]

        last, ys = loop(step, init, xs, steps, reverse)
        return (*last, *ys)

    return body


# -- arguments and results -----------------------------------------------------------------------------


def _function(name: str, make: Callable[..., Any], inputs: int, *static: Any) -> Fused:
    """The function that runs an operation with these graphs; the same one each time."""
    key = (name, *[x.key if isinstance(x, SubGraph) else x for x in static])
    found: Fused | None = _functions.get(key)
    if found is None:
        found = _functions[key] = Fused(make(*static), name, ("numbers",))
        found.signature = frozenset(range(inputs))  # captured Python numbers are run-time inputs
    return found


def _cut(values: Any, *counts: int) -> tuple[list[Any], ...]:
    """The first so many values, the next so many, and the rest."""
    parts, at = [], 0
    for n in counts:
        parts.append(list(values[at : at + n]))
        at += n
    return (*parts, list(values[at:]))


def _restored(structure: Structure, leaves: list[Any], places: list[bool], tensors: Any) -> Any:
    """A structure with tensors in their places among the other leaves."""
    left = iter(tensors)
    return structure.unflatten([next(left) if p else x for x, p in zip(leaves, places, strict=True)])


def _carry(name: str, what: str, tree: Any) -> tuple[list[Tensor], Structure]:
    """The tensors of a carry; numbers become tensors."""
    leaves, structure = pytree.flatten(tree)
    state = []
    for x in leaves:
        if not isinstance(x, Tensor | bool | int | float):
            raise TypeError(
                message(name, f"something in {what} is no tensor", type(x).__name__, "tensors or numbers")
            )
        state.append(x if isinstance(x, Tensor) else tensor(x))
    return state, structure


def _carried(x: Tensor) -> Layout:
    """A carry's layout inside. It may depend on whatever the loop uses, so it wants a gradient."""
    return layout(x.dtype, x._layout.shape).wanting(mode.enabled and x.dtype.kind == "f")


def _sequences(xs: Any, dim: int) -> tuple[list[Tensor], Structure]:
    """The sequences, time in front."""
    leaves, structure = pytree.flatten(xs)
    if xs is None:
        return [], structure
    found = []
    for x in leaves:
        if not isinstance(x, Tensor):
            raise TypeError(
                message("scan", "something in xs is no tensor", type(x).__name__, "tensors", "closing over it")
            )
        ndim = x._layout.ndim
        if not -ndim <= dim < ndim:
            shape = tuple(x._layout.shape)
            raise IndexError(message("scan", f"xs have no dimension {dim}", shape, "a dimension of each"))
        found.append(x if dim == 0 else x.movedim(dim, 0))
    return found, structure


def _tupled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose list, or single tensor, is taken for a tuple."""

    def wrapper(*args: Any) -> Any:
        result = function(*args)
        return tuple(result) if type(result) is list else (result,) if isinstance(result, Tensor) else result

    return wrapper


def _paired(function: Callable[..., Any]) -> Callable[..., Any]:
    """A step's function; TypeError unless it returns a pair."""

    def wrapper(*args: Any) -> Any:
        result = function(*args)
        if not isinstance(result, tuple | list) or len(result) != 2:
            got = type(result).__name__
            raise TypeError(message("scan", "combine_fn returns no pair", got, "(carry, y)", "(carry, None)"))
        return tuple(result)

    return wrapper


def _check_carry(
    name: str, what: str, wanted: Structure, state: list[Tensor], structure: Structure,
    leaves: list[Any],
) -> None:  # fmt: skip
    check_tensors(name, what, leaves)
    check_same(
        name, f"{what} changes the carry's type", structure, leaves, wanted,
        [Type(x.dtype, x._layout.shape) for x in state],
        "the same shapes and dtypes, .to(dtype) in it or at the beginning",
    )  # fmt: skip


def _advanced(taken: Taken, steps: int) -> tuple[tuple[int, int], ...]:
    """Let generators go on by the draws of all steps; the captured keys, with the draws of a step."""
    for generator, each in taken.moved.items():
        generator._stream += (steps - 1) * each
    return tuple((i, taken.moved[generator]) for i, generator in taken.keys)
