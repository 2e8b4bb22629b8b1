"""A call taken down once more with sizes that are symbols, so that its program serves other sizes too.

When a call is known to compute only (there is a replay of it), its Python can run again without anybody
noticing: on tensors whose sizes are `Extent`s, with a recorder that runs nothing. What it looks at on the
way become conditions on the sizes. Everything that the second run touches is put back. Where it comes
upon something that it can't do, or does something else than the first one did, there is no such program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fanal.autograd.tape import sequence
from fanal.compiler.builtin import builtins_for_symbols
from fanal.compiler.gradient import CapturedGradient, NotOne, differentiated
from fanal.compiler.notes import Notes
from fanal.compiler.observer.guards import same
from fanal.compiler.recorder import Recorder
from fanal.compiler.regions import base_of
from fanal.compiler.replay import Replay
from fanal.compiler.results import Result, Unknown
from fanal.compiler.segments import inputs_of
from fanal.compiler.steps import Step, built
from fanal.core import pytree
from fanal.core.dispatch import LiveNumber, tracing
from fanal.core.dtypes import DType
from fanal.core.symbols import Symbols, example_of, is_symbolic
from fanal.graph.ir import Graph
from fanal.tensor.layout import Layout
from fanal.tensor.layout import layout as layout_of
from fanal.tensor.lazy import Cell, place
from fanal.tensor.tensor import Tensor, new_tensor

# The bounds of a dimension of an argument as a symbol; None where it is none.
Dims = Callable[[int, int], tuple[int, int | None] | None]


class Unable(BaseException):
    """Why a call can't be taken down with symbols; no code of the user's catches it."""


class SizeRecorder(Recorder):
    """A recorder whose steps are never run, and that leaves everything as it was."""

    def __init__(self) -> None:
        self.grads: list[tuple[Tensor, Any]] = []  # as they were before
        self.bumped: list[Any] = []  # storages whose version was counted up
        self.streams: dict[int, list[Any]] = {}  # generator, where its stream was, how far it moved
        super().__init__(Step(None, 0, None), Notes())

    def settle(self) -> Any:
        raise Unable("the call asks for the value of a tensor")

    def answer(self, t: Tensor, read: Any, convert: Any) -> Any:
        self.settle()

    def put_back(self) -> None:
        """Undo what the call changed. (Of what other threads changed meanwhile, nothing is undone.)"""
        for p, grad in reversed(self.grads):
            p._grad = grad
        for storage in self.bumped:
            storage.version -= 1
        for generator, begun, count in self.streams.values():
            if generator._stream == begun + count:
                generator._stream = begun

    def keep_gradient(self, p: Tensor) -> None:
        """Remember a tensor's gradient, to put it back."""
        self.grads.append((p, p._grad))

    def grad_read(self, p: Tensor) -> None:
        self.keep_gradient(p)
        super().grad_read(p)

    def grad_set(self, p: Tensor) -> None:
        self.keep_gradient(p)
        super().grad_set(p)

    def drawn(self, generator: Any, key: Tensor) -> None:
        moved = self.streams.setdefault(id(generator), [generator, generator._stream - 1, 0])
        moved[2] += 1
        super().drawn(generator, key)

    def _stored(self, t: Tensor, number: int) -> bool:
        storage = t._storage
        before = storage.version
        stored = super()._stored(t, number)
        if type(storage) is not Cell and storage.version != before:
            self.bumped.append(storage)
        return stored


@dataclass(frozen=True, slots=True)
class SymbolicCall:
    """What a call does, with sizes that follow from symbols. `numbers`: those among the program's inputs
    that do, by word; `offsets`: how far from an argument's beginning an input begins; `leaves`: layout and offset of each tensor of the result."""

    symbols: Symbols
    arguments: list[Layout]
    inputs: list[Layout | DType]
    graph: Graph
    fresh: list[Layout]
    targets: list[Any]
    numbers: dict[int, Any]
    offsets: dict[int, Any]
    leaves: list[tuple[Layout, Any]]
    result: Result
    gradient: CapturedGradient | None


def taken_again(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any],
    layouts: Sequence[Layout], tensors: Sequence[Tensor], symbols: Symbols, notes: Notes, replay: Replay,
) -> SymbolicCall:  # fmt: skip
    """A call that `replay` makes and that has just run (`notes`), with sizes as symbols: with `tensors`
    as if they had these layouts. Raises Unable.
    """
    if replay.events:
        raise Unable("the call does more than compute")
    stand_ins = {id(t): _stand_in(t, l) for t, l in zip(tensors, layouts, strict=True)}
    leaves, structure = pytree.flatten((args, kwargs))
    given, named = structure.unflatten([stand_ins.get(id(x), x) for x in leaves])
    recorder = SizeRecorder()
    try:
        for p, layout in replay.entry:
            recorder.keep_gradient(p)
            if layout is None:
                p._grad = None
        begun = next(sequence)
        with tracing(recorder), builtins_for_symbols():  # type: ignore[arg-type]
            result = function(*given, **named)
            arguments = [stand_ins[id(t)] for t in tensors]
            return _left(recorder, symbols, list(layouts), arguments, result, notes, replay, begun)
    except (NotOne, Unknown) as error:
        raise Unable(str(error)) from error
    finally:
        recorder.put_back()


def _stand_in(t: Tensor, layout: Layout) -> Tensor:
    """A tensor of the same memory, and at the same place of the tape."""
    made = new_tensor(t._storage, layout, t._ptr)
    made._node, made._index = t._node, t._index
    return made


def symbolic_layouts(symbols: Symbols, tensors: Sequence[Tensor], dims: Dims) -> list[Layout]:
    """Arguments' layouts with new symbols: of argument n, in those dimensions d for which `dims(n, d)`
    says within which bounds. Dimensions of one size share one."""
    return [_symbolic(symbols, n, t, dims) for n, t in enumerate(tensors)]


def _symbolic(symbols: Symbols, number: int, t: Tensor, dims: Dims) -> Layout:
    before = t._layout
    if type(t) is not Tensor or t._grad is not None or (not before.dense and base_of(t) is not None):
        return before
    known = {symbols.examples[i]: i for i, a in enumerate(symbols.atoms) if a.name}
    shape: list[Any] = []
    for d, n in enumerate(before.shape):
        bounds = dims(number, d)
        if n < 2 or bounds is None:
            shape.append(n)
        elif n in known:
            shape.append(symbols.number((((known[n],), 1),)))
        else:
            shape.append(symbols.symbol(n, *bounds))
            known = {symbols.examples[i]: i for i, a in enumerate(symbols.atoms) if a.name}
    if not any(map(is_symbolic, shape)):
        return before
    return layout_of(before.dtype, tuple(shape), _strides(before, shape)).wanting(before.grad)


def _strides(before: Layout, shape: Sequence[Any]) -> tuple[Any, ...]:
    """Strides that follow from the sizes, in the order in which the dimensions lie in memory."""
    if not before.dense:
        return before.strides
    strides: list[Any] = list(before.strides)
    step = 1
    for d in sorted(range(before.ndim), key=lambda d: (before.strides[d], before.shape[d], -d)):
        if before.shape[d] != 1 or before.strides[d] == example_of(step):
            strides[d] = step
        step *= shape[d]
    return tuple(strides)


def _left(
    recorder: SizeRecorder, symbols: Symbols, arguments: list[Layout], given: Sequence[Tensor],
    result: Any, notes: Notes, replay: Replay, begun: int,
) -> SymbolicCall:  # fmt: skip
    """What the call leaves, if it is what the first one left."""
    tensors, shape = replay.result.tensors_like(result, given)
    pending = None
    if replay.gradient is not None:
        visible = sorted(
            (leaf[3], t) for t, leaf in zip(tensors, replay.leaves, strict=True) if type(leaf[3]) is int
        )
        pending = differentiated(recorder, [t for _, t in visible], begun)
        for t in tensors:
            t._node = None
    alive = [c for c in [ref() for ref in recorder.cells] if c is not None]
    alive = _held(alive, [*tensors, *(p._grad for p, i, _ in replay.gradients if i is not None)])
    writes = [(m, r) for m in recorder.known.values() for r in m.regions if r.written]
    key = (
        tuple([(c.regions[0].number, c.layout) for c in alive]),
        recorder._targets(writes),
    )
    cells = {id(c): i for i, c in enumerate(alive)}
    for p, cell, layout in replay.gradients:
        grad = p._grad
        now = None if grad is None else cells.get(id(grad._storage))
        if now != cell or (grad is not None and cell is not None and grad._layout is not layout):
            raise Unable("gradients are others than before")
    leaves = []
    for t, leaf in zip(tensors, replay.leaves, strict=True):
        if cells.get(id(t._storage)) != leaf[0]:
            raise Unable("results are others than before")
        leaves.append((t._layout.wanting(leaf[1].grad), place(t)))
    numbers, offsets = _inputs(recorder.inputs, given, notes, replay)
    gradient = None
    inputs: list[Layout | DType]
    if pending is None:
        builder, values = built(recorder.path)
        graph = builder.graph([values[n] for n, _ in (*key[0], *key[1])])
        fresh, targets = [l for _, l in key[0]], [t for _, t in key[1]]
        inputs = inputs_of(recorder.path)
    else:
        gradient = pending.gradient([n for n, _ in key[0]], [n for n, _ in key[1]])
        graph, fresh, targets = gradient.program(key)
        inputs = list(gradient.kinds)
    return SymbolicCall(
        symbols, arguments, inputs, graph, fresh, targets, numbers, offsets, leaves, shape, gradient
    )


def _held(alive: Sequence[Cell], tensors: Sequence[Any]) -> list[Cell]:
    """Cells that live on: those of the result and of gradients (others are held by what is going on)."""
    held = {id(t._storage) for t in tensors if t is not None}
    return [c for c in alive if id(c) in held]


def _inputs(
    now: Sequence[Any], given: Sequence[Tensor], notes: Notes, replay: Replay
) -> tuple[dict[int, Any], dict[int, Any]]:
    """The numbers among a program's inputs that follow from symbols, and offsets in arguments; raises
    Unable where inputs are others than those of the call before."""
    before = notes.runs[0].inputs
    if len(now) != len(before):
        raise Unable("the call takes other inputs than before")
    arguments = {word: (i, offset) for word, i, offset in replay.from_arguments}
    # Made anew at every call: keys of random draws, gradients, tensors of Python's data.
    fresh = {*replay.keys.values(), *(word for word, _ in replay.from_gradients)}
    fresh |= {word for word, y in enumerate(before) if id(y) in notes.adopted}
    found, offsets = {}, {}
    for word, (x, y) in enumerate(zip(now, before, strict=True)):
        if not isinstance(x, Tensor):
            live = isinstance(y, LiveNumber)
            if isinstance(x, LiveNumber) is not live or not (live or same(example_of(x), y)):
                raise Unable("the call takes other numbers than before")
            if is_symbolic(x):
                found[word] = x
        elif word in arguments:
            i, offset = arguments[word]
            offsets[word] = x._ptr - given[i]._ptr
            if x._storage is not given[i]._storage or example_of(offsets[word]) != offset:
                raise Unable("the call looks at other parts of its arguments than before")
        elif not isinstance(y, Tensor) or x._layout.wanting(False) is not y._layout.wanting(False) or (x._storage is not y._storage and word not in fresh):
            raise Unable("the call takes other tensors than before")
    return found, offsets
