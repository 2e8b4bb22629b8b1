"""Programs for many sizes: those of one call that were made with symbols, and the calls that they serve.

A *form* is the key of arguments without their sizes. When calls of one form come with different sizes (or
at once, with `dynamic=True`), a call is taken down again with symbols (`symbolic.py`). The *family* that
comes of it has a member for each size that fulfils its conditions: a replay whose program is the family's
with other numbers. A family is trusted when an independent capture of another size has given the very
program that it would have given.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from fanal.backends.native.executable import Sized, outline_of, same_program
from fanal.compiler.arguments import Arguments
from fanal.compiler.kept import Kept
from fanal.compiler.marks import is_marked, mark_of
from fanal.compiler.notes import Notes
from fanal.compiler.planned import Watched, is_quick, planned
from fanal.compiler.replay import Replay
from fanal.compiler.rounding import Rounding
from fanal.compiler.segments import Segment, frame, rounded
from fanal.compiler.symbolic import Dims, SymbolicCall, Unable, symbolic_layouts, taken_again
from fanal.core.collector import held_back
from fanal.core.symbols import Symbols, example_of
from fanal.graph.sizes import sized
from fanal.tensor.launching import number_bits
from fanal.tensor.layout import Layout
from fanal.tensor.layout import sized as sized_layout

# Families of one form; and how often in a row making one may fail before it is not tried any more.
FAMILIES, FAILURES = 32, 3

Value = Callable[[Any], Any]


class Family:
    """The program of one call for all sizes that fulfil its conditions."""

    def __init__(self, call: SymbolicCall, base: Replay, name: str, rounding: Rounding):
        self.call, self.base = call, base
        self.trusted = False
        self._rounding = rounding
        loads, outputs = frame(call.inputs, call.fresh, call.targets)
        steady = base.segment.steady
        with held_back():
            graph, _ = rounded(call.graph, steady, rounding)
            outline = outline_of(graph, loads, outputs, steady)
        if any(k.owner is not None for k in outline.kernels):
            raise Unable("the call runs code of others")
        self._program = Sized(outline, name)
        self._kept = base.kept if outline.keeps_alike else None

    def value_for(self, given: Arguments) -> Value | None:
        """What the family's numbers are for a call's arguments, if it serves them."""
        sizes: dict[str, int] = {}
        for t, wanted in zip(given.tensors, self.call.arguments, strict=True):
            now = t._layout
            if now is wanted:
                continue
            for n, symbol in zip(now.shape, wanted.shape, strict=True):
                if (n if type(symbol) is int else sizes.setdefault(repr(symbol), n)) != (
                    symbol if type(symbol) is int else n
                ):
                    return None
        symbols = self.call.symbols
        value = symbols.values([sizes[name] for name in symbols.names])
        if value is None:
            return None
        same = all(
            sized_layout(wanted, value) is t._layout
            for t, wanted in zip(given.tensors, self.call.arguments, strict=True)
        )
        return value if same else None

    def member(self, given: Arguments, value: Value) -> Replay:
        """The replay of calls with such arguments."""
        call, base = self.call, self.base
        inputs = [sized_layout(x, value) if isinstance(x, Layout) else x for x in call.inputs]
        fresh = [sized_layout(l, value) for l in call.fresh]
        steady = base.segment.steady
        segment = Segment(
            lambda: sized(call.graph, value), None, inputs, fresh, call.targets, steady, self._rounding,
            lambda loads, outputs, written: self._program.of(value, outputs, loads, written),
        )  # fmt: skip
        made = copy.copy(base)
        made.segment = segment.named(base.segment.executable.name)
        if call.gradient is not None:
            made.gradient = segment.gradient = call.gradient.sized(value)
        made.kept = self._kept or Kept(segment, base.kept.storages)
        made.words = list(base.words)
        made.operands = list(base.operands)
        made.from_arguments = [
            (word, i, value(call.offsets[word])) for word, i, _ in base.from_arguments
        ]
        for word, number in call.numbers.items():
            made.words[word] = number_bits(value(number))
            if made.operands:
                made.operands[word] = value(number)
        made.leaves = [
            (cell, sized_layout(layout, value), value(offset), node)
            for (cell, _, _, node), (layout, offset) in zip(base.leaves, call.leaves, strict=True)
        ]
        made.result = call.result.sized(value)
        made.objects = given.objects
        made.plan = planned(made, given)
        made.watched = Watched(made)
        made.quick = is_quick(given, bool(made.draws.generators))
        made.family = self
        return made

    @property
    def arguments(self) -> str:
        """Its calls' arguments, for people: float32[s0,64]."""
        names = {name: f"s{i}" for i, name in enumerate(self.call.symbols.names)}
        return self._described(lambda n: names.get(repr(n), n))

    @property
    def example(self) -> str:
        """The arguments of the call that it was made of."""
        return self._described(example_of)

    def _described(self, shown: Value) -> str:
        shapes = (
            f"{x.dtype.name}[{','.join(str(shown(n)) for n in x.shape)}]" for x in self.call.arguments
        )
        return ", ".join(shapes)


class Form:
    """Calls whose arguments differ in their sizes only."""

    __slots__ = ("changing", "failures", "families", "first")

    def __init__(self, given: Arguments) -> None:
        self.first = [t._layout.shape for t in given.tensors]
        self.changing: set[tuple[int, int]] = set()  # (argument, dimension) of sizes that were different
        self.families: list[Family] = []  # the newest first
        self.failures = 0

    def note(self, given: Arguments) -> None:
        """Another call: see which sizes are not those of the first."""
        for i, (t, shape) in enumerate(zip(given.tensors, self.first, strict=True)):
            self.changing.update((i, d) for d, n in enumerate(t._layout.shape) if n != shape[d])


class Forms:
    """All forms of a function. `dynamic`: whether sizes are symbols from the first call on (True), never
    (False), or where they have been seen to change (None)."""

    def __init__(self, dynamic: bool | None):
        self.dynamic = dynamic
        self._forms: dict[Any, Form] = {}

    def of(self, given: Arguments) -> Form | None:
        """The form of a call that no replay serves yet."""
        if self.dynamic is False or not given.tensors:
            return None
        key = tuple([(x.dtype, x.ndim, x.grad) if type(x) is Layout else x for x in given.key])
        form = self._forms.get(key)
        if form is None:
            form = self._forms[key] = Form(given)
        form.note(given)
        return form

    def member(self, form: Form, given: Arguments) -> Replay | None:
        """A replay for a call, of a family that is trusted and whose guards hold."""
        for family in list(form.families):
            value = family.value_for(given) if family.trusted else None
            if value is not None and family.base.changed(given) is None:
                if family is not form.families[0]:
                    form.families = [family, *(f for f in form.families if f is not family)]
                return family.member(given, value)
        return None

    def learn(
        self, form: Form, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], given: Arguments,
        notes: Notes, replay: Replay,
    ) -> str | None:  # fmt: skip
        """A call was captured: see which families it proves right or wrong, and make one of it if there
        is none for its sizes. Returns why that can't be done."""
        for family in list(form.families):
            value = family.value_for(given)
            if value is None or not family.base.is_like(replay):
                continue
            if _agrees(family, given, value, replay):
                family.trusted = True
                return None
            form.families.remove(family)
            form.failures = FAILURES
            return "a program for many sizes was not that of this size"

        def dims(number: int, dim: int) -> tuple[int, int | None] | None:
            mark = mark_of(given.tensors[number], dim)
            if mark is not None:
                return (max(mark.low or 2, 2), mark.high) if mark.dynamic else None
            return (2, None) if self.dynamic or (number, dim) in form.changing else None

        wanted = self.dynamic or form.changing or any(map(is_marked, given.tensors))
        if form.failures >= FAILURES or not wanted:
            return None
        try:
            family = self._made(function, args, kwargs, given, dims, notes, replay)
            value = family.value_for(given)
            if value is None or not _agrees(family, given, value, replay):
                raise Unable("with symbols, it is another program")
        except (Unable, Exception) as why:
            form.failures += 1
            return f"its sizes can't be symbols: {why}"
        form.failures = 0
        form.families.insert(0, family)
        del form.families[FAMILIES:]
        return None

    @staticmethod
    def _made(
        function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], given: Arguments,
        dims: Dims, notes: Notes, replay: Replay,
    ) -> Family:  # fmt: skip
        """A family of the call that was captured. Symbols that turn out to have but one number (the
        width of a layer, say) are numbers in the next attempt."""
        plain: set[tuple[int, int]] = set()
        fixed: dict[str, None] = {}  # the lines that did so

        def bounds(number: int, dim: int) -> tuple[int, int | None] | None:
            return None if (number, dim) in plain else dims(number, dim)

        while True:
            symbols = Symbols()
            layouts = symbolic_layouts(symbols, given.tensors, bounds)
            if not symbols.names:
                raise Unable(f"they are used as numbers at {', '.join(fixed)}" if fixed else "there are none")
            try:
                call = taken_again(
                    function.function, args, kwargs, layouts, given.tensors, symbols, notes, replay
                )
                if not symbols.pinned():
                    family = Family(call, replay, replay.segment.executable.name, function.rounding)
                    if not symbols.pinned():
                        return family
            except (Unable, Exception):
                if not symbols.pinned():
                    raise
            fixed.update(dict.fromkeys(symbols.fixed.values()))
            names = set(map(repr, symbols.pinned()))
            plain.update(
                (n, d)
                for n, layout in enumerate(layouts)
                for d, size in enumerate(layout.shape)
                if repr(size) in names
            )


def _agrees(family: Family, given: Arguments, value: Value, replay: Replay) -> bool:
    """Whether a family's member for a call is what was captured of it."""
    member = family.member(given, value)
    live = {word for word, *_ in replay.from_options}
    numbers = [
        n for n, x in enumerate(family.call.inputs) if not isinstance(x, Layout) and n not in live
    ]
    return (
        same_program(member.segment.executable, replay.segment.executable)
        and member.from_arguments == replay.from_arguments
        and [leaf[:3] for leaf in member.leaves] == [leaf[:3] for leaf in replay.leaves]
        and [member.words[n] for n in numbers] == [replay.words[n] for n in numbers]
        and member.segment.sizes == replay.segment.sizes
    )
