"""One call to be exported, captured at sizes of our choice: its program must be that of all sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fanal.core.errors import message
from fanal.core.symbols.scope import Condition
from fanal.export.dims import Dim, DimSymbols, samples, typical
from fanal.export.naming import Names
from fanal.export.program import Relation, Signature
from fanal.export.sameness import same_meaning
from fanal.export.taking import ExportError, taken
from fanal.graph.sizes import sized
from fanal.tensor.layout import Layout
from fanal.tensor.layout import layout as layout_of
from fanal.tensor.layout import sized as sized_layout
from fanal.tensor.tensor import Tensor

PROBES = 16  # sizes at most at which a function is looked at again
Taken = tuple[Signature, dict[str, Tensor]]
Dims = Mapping[int, Mapping[int, Dim]]  # the open dimensions of tensors, by the tensors' identity


class Call:
    """A function with an example of its arguments. `names` are those of the tensors among their leaves,
    `results` those of what it returns, if they are given."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], signature: str,
        names: Sequence[str], results: Sequence[str] | None,
    ):  # fmt: skip
        self.function, self.args, self.kwargs, self.signature = function, args, kwargs, signature
        self.names, self.results = names, results

    def captured(self, tensors: Sequence[Tensor], dims: Dims, symbols: DimSymbols, names: Names) -> Taken:
        """The signature with sizes that follow from a program's symbols.

        First with sizes that are like most others, so that what holds of the example alone (it is even, it
        is the width of a layer) is not taken for granted; then, where that fails, with the example's.
        """
        given = sizes_of(tensors, dims)
        for examples in (typical_sizes(given), {n: size for n, (_, size) in given.items()}):
            own = DimSymbols()
            for name, (dim, _) in given.items():
                own.dim(name, examples[name], dim.min, dim.max)
            layouts = [_layout(t, dims.get(id(t), {}), own) for t in tensors]
            try:
                made = self._taken(own, layouts, names)
                for sizes in _unsure(own):
                    self._probe(made[0], own, layouts, sizes, names)
                break
            except Exception:
                if all(examples[n] == size for n, (_, size) in given.items()):
                    raise
        return _moved(made, own, symbols, examples)

    def _taken(self, symbols: DimSymbols, layouts: Sequence[Layout], names: Names) -> Taken:
        return taken(
            self.function, self.args, self.kwargs, self.signature, symbols, layouts, names, self.names, self.results
        )

    def _probe(
        self, made: Signature, symbols: DimSymbols, layouts: Sequence[Layout], sizes: Sequence[int], names: Names
    ) -> None:  # fmt: skip
        """ExportError unless the function does at other sizes what it did in the example."""
        value = symbols.at(sizes)
        shown = ", ".join(f"{n}={s}" for n, s in zip(symbols.by_name, sizes, strict=True))
        try:
            again, _ = self._taken(DimSymbols(), [sized_layout(l, value) for l in layouts], names)
        except Exception as error:
            raise ExportError(
                message("export", f"the function fails at sizes that its Dims allow ({error})", shown,
                        hint="a Dim with min and max where it works")
            ) from error  # fmt: skip
        same = (again.takes, again.gives, again.structure_out, again.constants) == (
            made.takes, made.gives, made.structure_out, made.constants
        )  # fmt: skip
        if not same or not same_meaning(again.graph, sized(made.graph, value)):
            raise ExportError(
                message("export", "the function does something else at sizes that its Dims allow", shown,
                        "what it does in the example", "a Dim with min and max where it does the same")
            )  # fmt: skip


def sizes_of(tensors: Sequence[Tensor], dims: Dims) -> dict[str, tuple[Dim, int]]:
    """The dimensions that stay open, by name, each with its size in the example."""
    found: dict[str, tuple[Dim, int]] = {}
    for t in tensors:
        for d, dim in dims.get(id(t), {}).items():
            n, root = t.shape[d], dim.root
            size, rest = divmod(n - dim.offset, dim.factor)
            if rest or size < root.min or (root.max is not None and size > root.max):
                raise ValueError(
                    message("export", f"the example's size in dimension {d} is none of {dim!r}", n,
                            f"{dim.min} to {'any size' if dim.max is None else dim.max}")
                )  # fmt: skip
            before = found.setdefault(root.name, (root, size))
            if before[1] != size:
                raise ValueError(message("export", f"{root.name!r} has several sizes in the example", f"{before[1]} and {size}", "one"))
            if (before[0].min, before[0].max) != (root.min, root.max):
                raise ValueError(message("export", f"{root.name!r} has several ranges", f"{before[0]!r} and {root!r}", "one"))
    return found


def typical_sizes(given: Mapping[str, tuple[Dim, int]]) -> dict[str, int]:
    """Sizes like most others, each another one; the example's where a range has none."""
    found: dict[str, int] = {}
    for name, (dim, size) in given.items():
        found[name] = typical(max(dim.min, 2), dim.max, list(found.values())) or size
    return found


def _layout(t: Tensor, dims: Mapping[int, Dim], symbols: DimSymbols) -> Layout:
    """An argument's layout: contiguous, with symbols where its dimensions stay open."""
    shape: list[Any] = list(t._layout.shape)
    for d, dim in dims.items():
        shape[d] = symbols.by_name[dim.root.name] * dim.factor + dim.offset
    return layout_of(t.dtype, tuple(shape)).wanting(t._layout.grad)


def _unsure(symbols: DimSymbols) -> list[tuple[int, ...]]:
    """Sizes at which a rule of an operation answers a question otherwise than in the example. ExportError
    where a user's own does, or where a dimension that was declared open can't be."""
    ranges = [symbols.range_of(n) for n in symbols.by_name]
    relations = dict.fromkeys(symbols.relations)
    for e in symbols.pinned():
        where = next((p for c, p in symbols.places.items() if c in relations), "")
        raise ExportError(
            message("export", f"the size {symbols.named(e.terms)!r} is used as a number{f' at {where}' if where else ''}",
                    f"a dimension that is to stay open ({e.example} in the example)",
                    hint="sizes as they are (x.shape[0], -1 in reshape) rather than numbers, or no Dim there")
        )  # fmt: skip
    looked = samples(ranges) if ranges else []
    related = [s for s in looked if all(symbols.fulfils(c, s) for c in relations)]
    found: dict[tuple[int, ...], None] = {}
    for condition in list(symbols.conditions):
        if condition in relations:
            continue  # checked at each call
        others = [sizes for sizes in related if not symbols.fulfils(condition, sizes)]
        if others and condition in symbols.users:
            shown = ", ".join(f"{n}={s}" for n, s in zip(symbols.by_name, others[0], strict=True))
            where = symbols.places.get(condition) or "a line that is not known"
            raise ExportError(
                message("export", f"the function does something else at other sizes ({where}: {_described(symbols, condition)})",
                        f"a range with {shown}", hint="a Dim with min and max where the answer is one")
            )  # fmt: skip
        found.update(dict.fromkeys(others[:1] + others[-1:]))
    for terms in symbols.differences:
        number = symbols.number(terms)
        found.update(dict.fromkeys([s for s in related if symbols.at(s)(number) == 0][:1]))
    return list(found)[:PROBES]


def _described(symbols: DimSymbols, condition: Condition) -> str:
    """A condition for people: `batch < 8`, or that it is not so."""
    op, left, right, answer = condition
    if op == "asked":
        return getattr(left, "__name__", "a question")
    found = f"{symbols.named(left)} {op} {'0' if right is None else symbols.named(right)}"
    return found if answer else f"not {found}"


def _moved(made: Taken, own: DimSymbols, symbols: DimSymbols, examples: Mapping[str, int]) -> Taken:
    """The same with the symbols of a program, which gets those that it has not yet."""
    s, state = made
    for name in own.by_name:
        bounds = own.range_of(name)
        if name in symbols.by_name and symbols.range_of(name) != bounds:
            raise ValueError(message("export", f"{name!r} has another range in another signature", bounds, repr(symbols.range_of(name))))
        symbols.dim(name, examples[name], *bounds)
    to: list[Any] = [symbols.by_name[n] for n in own.by_name]
    value = own.at(to)

    relations = tuple(Relation(own.number(c.left), own.places.get(c, "")) for c in own.relations)
    return replace(s, relations=relations).sized(value), state
