"""Capturing for export: a function runs once on symbolic sizes, nothing is computed, nothing changes.

What the call does to tensors is taken down by the recorder of compiled functions, whole: where Python asks
for a tensor's value there is no program for it, and the error names the line. What the call reads from
outside becomes state with a name; so do gradients of moments, an optimiser's rates, the random stream.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NoReturn

from fanal.autograd.mode import no_grad
from fanal.compiler.builtin import builtins_for_symbols
from fanal.compiler.checked import process_state
from fanal.compiler.notes import UNREAD
from fanal.compiler.observer.package import Package
from fanal.compiler.observer.watch import Observer
from fanal.compiler.steps import Blank, built
from fanal.compiler.symbolic import SizeRecorder, Unable
from fanal.core import dtypes, pytree
from fanal.core.dispatch import LiveNumber, bind, tracing
from fanal.core.errors import message
from fanal.core.symbols import Extent, Ratio
from fanal.export.dims import DimSymbols
from fanal.export.expanding import expanded
from fanal.export.naming import Names
from fanal.export.program import Place, Signature, TensorSpec
from fanal.graph.ir import Builder, Graph, Value
from fanal.graph.origin import users_place
from fanal.nn import Module
from fanal.ops.create import full_p
from fanal.tensor.creation import tensor
from fanal.tensor.layout import Layout
from fanal.tensor.lazy import Cell
from fanal.tensor.tensor import Tensor, new_tensor

_NUMBERS = {bool: dtypes.bool_, int: dtypes.int64, float: dtypes.float64, Extent: dtypes.int64, Ratio: dtypes.float64}


class ExportError(RuntimeError):
    """A function that can't leave Python as it is; the message names the line and a way out."""


class ExportRecorder(SizeRecorder):
    """A recorder that runs nothing and says where a value was asked for."""

    def __init__(self, names: Names, given: Sequence[Tensor]):
        super().__init__()
        self.names = names
        self.outside = {id(t._storage) for t in given}  # the arguments' memory

    def settle(self) -> NoReturn:
        raise Unable(
            message(
                "export", f"the function asks for the value of a tensor at {line()}",
                hint="fanal.where or fanal.cond in the place of `if`, while_loop or scan for loops on data",
            )
        )

    def effect(self, action: Callable[[], Any]) -> NoReturn:
        """The function is about to do something that is no computation."""
        raise Unable(
            message(
                "export", f"a learning-rate schedule steps at {line()}",
                hint="stepping it outside; the exported program holds the rate as state",
            )
        )

    def refuse(self, why: str) -> NoReturn:
        raise Unable(message("export", why, hint="one step before exporting it"))

    def _look(self, t: Tensor, memory: Any, start: int, layout: Layout) -> int:
        """Parts of what the function holds are windows of the whole, whichever way they were taken."""
        inner = type(memory) is Cell or id(t._storage) in self.outside
        number = self._seen(memory, start, layout)
        if number is not None:
            return number
        if layout.numel == 0:  # a part of no elements is found in no whole
            return self._step((Blank, layout), lambda: Blank(layout), 1)
        if not inner:
            whole = self.names.around(t)
            if whole is not None and whole is not t:
                self.number(whole)
        return super()._look(t, memory, start, layout)

    def _store(self, targets: Sequence[Tensor], first: int) -> None:
        try:
            super()._store(targets, first)
        except Unable:
            raise Unable(
                message(
                    "export", f"a write in place at {line()} reaches memory in a way that no views describe",
                    hint="an operation that makes a new tensor",
                )
            ) from None


def line() -> str:
    """The user's line that is being carried out: model.py:12."""
    found = users_place(2)
    return "a line that is not known" if found is None else f"{os.path.basename(found[0].co_filename)}:{found[1]}"


def refused(what: str, got: object = None, expected: str = "", hint: str = "") -> ExportError:
    return ExportError(message("export", what, got, expected, hint))


def taken(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], name: str,
    symbols: DimSymbols, layouts: Sequence[Layout], names: Names, arguments: Sequence[str],
    results: Sequence[str] | None,
) -> tuple[Signature, dict[str, Tensor]]:  # fmt: skip
    """One signature, and the state that it reads or writes by name.

    `layouts` of the tensors among the leaves of (args, kwargs), in order, and their names, `arguments`;
    `results`: names of the results, if they are given.
    """
    leaves, structure = pytree.flatten((args, kwargs))
    tensors = [x for x in leaves if isinstance(x, Tensor)]
    stand_ins = {id(t): stand_in(t, l) for t, l in zip(tensors, layouts, strict=True)}
    given, named = structure.unflatten([stand_ins.get(id(x), x) for x in leaves])
    recorder = ExportRecorder(names, tensors)
    recorder.whole = {id(t) for t in stand_ins.values()}
    symbols.place = line
    package = Package()
    package.noted = recorder.effect
    observer = Observer(package, function)
    for x in (function, *leaves, *stand_ins.values()):
        observer.adopt(x)
    quiet = no_grad() if isinstance(function, Module) else nullcontext()
    try:
        with tracing(recorder), builtins_for_symbols(), quiet:  # type: ignore[arg-type]
            before = process_state()
            for t in stand_ins.values():
                recorder.number(t)
            observer.start()
            try:
                result = function(*given, **named)
            finally:
                observer.stop()
            if process_state() != before:
                raise refused("the function changes whether gradients are recorded, or the default dtype")
            _check_effects(recorder, observer)
            made = _Made(name, recorder, symbols, names, [stand_ins[id(t)] for t in tensors], arguments)
            return made.signature(structure, result, results)
    except Unable as why:
        raise ExportError(str(why)) from None
    finally:
        symbols.place = None
        recorder.put_back()


def stand_in(t: Tensor, layout: Layout) -> Tensor:
    """A leaf of the same memory with another layout."""
    return new_tensor(t._storage, layout.wanting(t._layout.grad), t._ptr)


def _check_effects(recorder: ExportRecorder, observer: Observer) -> None:
    """ExportError if the call did more than compute."""
    if observer.impure is not None:
        why, where = observer.impure
        place = f" at {os.path.basename(where[0])}:{where[1]}" if where else ""
        raise refused(f"the function does more than compute{place}: {why}",
                      hint="taking it out of the function that is exported")  # fmt: skip
    notes = recorder.notes
    assert notes is not None
    for p, grad in notes.grads.values():
        if grad is not UNREAD and p._grad is not grad:
            raise refused("gradients are added to those of the call before", tuple(p.shape),
                          hint="optimizer.zero_grad() at the beginning of the step")  # fmt: skip


class _Made:
    """What was taken down, as a signature."""

    def __init__(
        self, name: str, recorder: ExportRecorder, symbols: DimSymbols, names: Names,
        given: Sequence[Tensor], arguments: Sequence[str],
    ):  # fmt: skip
        self.name = name
        self.recorder, self.symbols, self.names = recorder, symbols, names
        self.given, self.arguments = given, arguments
        self.builder = Builder()
        self.places: dict[Place, Value] = {}
        self.state: dict[str, Tensor] = {}
        self.streams: dict[int, tuple[str, int]] = {}  # state and first draw of generators

    def signature(
        self, structure: pytree.Structure, result: Any, results: Sequence[str] | None
    ) -> tuple[Signature, dict[str, Tensor]]:  # fmt: skip
        recorder, b = self.recorder, self.builder
        leaves, structure_out = pytree.flatten(result)
        constants, returned = {}, []
        for i, x in enumerate(leaves):
            if isinstance(x, Tensor):
                returned.append(recorder.number(x))
            elif type(x) in (bool, int, float, str, type(None)):
                constants[i] = x
            else:
                raise refused("the function returns something that is no tensor", type(x).__name__,
                              "tensors, numbers, strings, None, in tuples, lists and dicts")  # fmt: skip
        written = [(m, r) for m in recorder.known.values() for r in m.regions if r.written]
        inner, values = built(recorder.path)
        graph = inner.graph([values[n] for n in (*returned, *(r.number for _, r in written))])
        by_value = {v: x for v, x in zip(inner.inputs, recorder.inputs, strict=True)}
        # Arguments first, in their order, also those that nothing reads.
        for argument, t in zip(self.arguments, self.given, strict=True):
            self._input(Place("input", argument), t._layout.dtype, t._layout.shape)
        used = set(graph.outputs) | {v for node in graph.nodes for v in node.inputs}
        blank = Value(dtypes.bool_, (), None)  # of inputs that nothing reads
        given = [b.trace(self._value, by_value[v]) if v in used else blank for v in graph.inputs]
        found = b.inlined(graph, given)
        gives = [*self._outputs(len(returned), structure_out, constants, results)]
        for _, region in written:
            assert region.tensor is not None
            gives.append(Place("state", self._state(region.tensor)))
        outputs = found[: len(gives)]
        for place, value in self._moved():
            gives.append(place)
            outputs.append(value)
        specs = tuple(
            TensorSpec(p.name, v.dtype, v.shape) for p, v in zip(gives, outputs, strict=True) if p.kind == "output"
        )
        inputs = tuple(
            TensorSpec(n, t._layout.dtype, t._layout.shape) for n, t in zip(self.arguments, self.given, strict=True)
        )
        whole = b.graph(outputs)
        kept = set(whole.outputs) | {v for node in whole.nodes for v in node.inputs}
        takes = {p: v for p, v in self.places.items() if p.kind == "input" or v in kept}
        whole = expanded(Graph(list(takes.values()), whole.nodes, whole.outputs))
        return (
            Signature(self.name, whole, tuple(takes), tuple(gives), inputs, specs, structure, structure_out, constants),
            {n: t for n, t in self.state.items() if Place("state", n) in takes or Place("state", n) in gives},
        )  # fmt: skip

    def _outputs(
        self, count: int, structure: pytree.Structure, constants: dict[int, Any], names: Sequence[str] | None
    ) -> list[Place]:
        if names is None:
            names = output_names(structure, constants)
        if len(names) != count or len(set(names)) != count:
            raise ValueError(message("export", "names of the results", ", ".join(names), f"{count} different ones"))
        return [Place("output", n) for n in names]

    # -- inputs --------------------------------------------------------------------------------------

    def _input(self, place: Place, dtype: Any, shape: Any) -> Value:
        found = self.places.get(place)
        if found is None:
            found = self.places[place] = self.builder.input(dtype, shape)
        return found

    def _state(self, t: Tensor) -> str:
        """The name of the state that a tensor from outside is; it is part of the program from now on."""
        if any(t._storage is a._storage for a in self.given):
            raise refused("the function writes to one of its arguments", self.symbols.shape(t._layout.shape), hint="returning the new value")
        name = self.names.of(t)
        self.state[name] = t
        return name

    def _value(self, x: Any) -> Value:
        """The value that stands for an input of what was taken down."""
        if isinstance(x, LiveNumber):
            entry, number = x.source
            name = self._option(entry, number)
            if name not in self.state:
                self.state[name] = tensor(float(x), dtype=dtypes.float64)
            return self._input(Place("state", name), dtypes.float64, ())
        if not isinstance(x, Tensor):
            return bind(full_p, value=x, shape=(), dtype=_NUMBERS[type(x)])
        notes = self.recorder.notes
        assert notes is not None
        if id(x) in notes.draws:
            return self._key(x)
        for name, t in zip(self.arguments, self.given, strict=True):
            if x is t:
                return self._input(Place("input", name), x._layout.dtype, x._layout.shape)
        if any(x._storage is a._storage for a in self.given):
            raise refused("the function looks at the memory of an argument by another way", self.symbols.shape(x._layout.shape),
                          hint="x.clone() before the call")  # fmt: skip
        if type(x._storage) is Cell:
            raise refused("a tensor of another function that is being captured is used")
        # What Python's data were made into during the call is named by the order of its use.
        made = list(notes.adopted).index(id(x)) if id(x) in notes.adopted else None
        name = self.names.of(x) if made is None else f"{self.name}.constant_{made}"
        self.state.setdefault(name, x)
        return self._input(Place("state", name), x._layout.dtype, x._layout.shape)

    def _option(self, entry: Any, number: int) -> str:
        """The state that an optimiser's number is: optimizer.lr, of further groups optimizer.1.lr."""
        owner = self.names.owner(entry.owner, "optimizer")
        group = next((i for i, g in enumerate(entry.owner.param_groups) if g is entry.group), 0)
        return f"{owner}.{group}.{entry.names[number]}" if group else f"{owner}.{entry.names[number]}"

    # -- the random stream -----------------------------------------------------------------------------

    def _key(self, x: Tensor) -> Any:
        """The key of a draw: the generator's state, so many draws on."""
        notes = self.recorder.notes
        assert notes is not None
        _, generator, seed, stream = notes.draws[id(x)]
        first_seed, first = notes.generators[id(generator)][1:]
        if seed != first_seed or stream < first:
            raise refused("the random generator is seeded inside of the function", hint="seeding it outside")
        if id(generator) not in self.streams:
            name = self.names.owner(generator, "random")
            self.state[name] = tensor([first_seed, first], dtype=dtypes.int64)
            self.streams[id(generator)] = (name, generator._stream - first)
        name, _ = self.streams[id(generator)]
        return self._further(self._input(Place("state", name), dtypes.int64, (2,)), stream - first)

    @staticmethod
    def _further(key: Any, draws: int) -> Any:
        return key if draws == 0 else key + _steps(draws)

    def _moved(self) -> list[tuple[Place, Any]]:
        """The streams' new states."""
        return [
            (Place("state", name), self.builder.trace(self._further, self.places[Place("state", name)], count))
            for name, count in self.streams.values()
        ]


def _steps(count: int) -> Any:
    """So many draws, to be added to a key (seed, stream)."""
    from fanal.ops.layout import concat_p

    zero, steps = (bind(full_p, value=n, shape=(1,), dtype=dtypes.int64) for n in (0, count))
    return bind(concat_p, zero, steps, dim=0)


def output_names(structure: pytree.Structure, constants: dict[int, Any]) -> list[str]:
    """Names of results: keys of dicts and fields where there are some, else output_0, output_1."""
    found: list[str] = []

    def visit(s: pytree.Structure, path: str) -> None:
        if s.kind is None:
            found.append(path)
            return
        keys = s.keys or (getattr(s.kind, "_fields", ()) or range(len(s.children)))
        for key, child in zip(keys, s.children, strict=True):
            visit(child, f"{path}_{key}" if path else str(key))

    visit(structure, "")
    names = [n for i, n in enumerate(found) if i not in constants]
    if names == [""]:
        return ["output"]
    return [f"output_{n}" if n[:1].isdigit() else n for n in names]


