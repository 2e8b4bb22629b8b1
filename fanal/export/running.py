"""Programs run here: each signature as one native program for each combination of sizes."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from fanal.backends.native.pages import Pages
from fanal.backends.native.saved import name_of
from fanal.compiler.rounding import EXACT, Rounding
from fanal.compiler.segments import Segment
from fanal.core import pytree
from fanal.core.cache import BoundedCache
from fanal.core.errors import message
from fanal.export.checking import check_graph, check_type
from fanal.export.program import Program, Signature
from fanal.export.sizing import Sizes
from fanal.graph.digest import Unnamed, digest
from fanal.graph.ir import Graph, Type, Value
from fanal.graph.sizes import sized
from fanal.tensor.layout import Layout, layout
from fanal.tensor.tensor import Tensor, new_tensor

SIZES = 256  # programs of one signature that are kept


class Runner:
    """One signature of a program, ready to be called: checks what it is given, and gives what the function
    gave. State that it writes changes in the program's tensors. Calls of several threads are safe as long
    as the signature writes no state."""

    def __init__(self, program: Program, signature: Signature, rounding: Rounding = EXACT):
        self.program, self.signature = program, signature
        self._rounding = rounding
        self._made: BoundedCache = BoundedCache(SIZES)
        self._making = threading.Lock()
        self._sizes = Sizes(program, signature)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """A call as of the function that was exported; what was no tensor then is not looked at."""
        s = self.signature
        given = self._named(args, kwargs)
        found = self.run(given)
        leaves = iter(found.values())
        count = s.structure_out.leaf_count
        return s.structure_out.unflatten([s.constants[i] if i in s.constants else next(leaves) for i in range(count)])

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name, for inputs by name."""
        s = self.signature
        given = self._checked(inputs)
        sizes = self._sizes({name: t.shape for name, t in given.items()})
        segment = self._made.get(sizes)
        if segment is None:
            with self._making:
                segment = self._made.get(sizes) or self._segment(sizes)
                self._made[sizes] = segment
        state = self.program.state
        tensors = [given[p.name] if p.kind == "input" else state[p.name] for p in s.takes]
        written = [state[n] for n in s.writes]
        memories = segment.run(tensors, written)
        for t in written:
            t._storage.version += 1
        fresh = segment.fresh
        return {
            t.name: new_tensor(memory, l, memory.ptr)
            for t, memory, l in zip(s.outputs, memories, fresh, strict=True)
        }

    def sizes(self, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        """The sizes of the program's dimensions that inputs have; ValueError where they don't fit."""
        return self._sizes({name: t.shape for name, t in self._checked(inputs).items()})

    def share_kept(self, pages: Pages) -> None:
        """Hold what the programs of all sizes so far keep between calls (packed weights) in pages that are
        there once. Not while another thread calls."""
        for segment in self._made.values():
            segment.share_kept(pages)

    # -- what is given -------------------------------------------------------------------------------

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Tensor]:
        s = self.signature
        leaves, structure = pytree.flatten((args, kwargs))
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        wanted = [t.name for t in s.inputs]
        if len(tensors) == len(wanted) and structure == s.structure_in:
            return dict(zip(wanted, tensors, strict=True))
        if args and len(args) <= len(wanted) and all(isinstance(x, Tensor) for x in args):
            # Some by position and the others by their names.
            found = {**dict(zip(wanted, args, strict=False)), **kwargs}
            if len(found) == len(args) + len(kwargs):
                return found
        if not args:
            return kwargs
        raise TypeError(
            message(s.name, "arguments are others than in the example", str(structure), str(s.structure_in))
        )

    def _checked(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """The inputs, each of its dtype and rank, in order in memory."""
        s = self.signature
        wanted = [t.name for t in s.inputs]
        if set(inputs) != set(wanted):
            raise TypeError(message(s.name, "inputs are others than the signature's", ", ".join(inputs), ", ".join(wanted)))
        found = {}
        for spec in s.inputs:
            t = inputs[spec.name]
            if not isinstance(t, Tensor):
                raise TypeError(message(s.name, f"input {spec.name!r} is no tensor", type(t).__name__, hint="fanal.tensor(...)"))
            if t.dtype is not spec.dtype:
                raise TypeError(message(s.name, f"input {spec.name!r} has another dtype", repr(t.dtype), repr(spec.dtype), f".to({spec.dtype!r})"))
            if t.ndim != len(spec.shape):
                raise ValueError(message(s.name, f"input {spec.name!r} has another number of dimensions", tuple(t.shape), self.program.symbols.shape(spec.shape)))
            found[spec.name] = t.detach().contiguous()
        return found

    # -- the program ---------------------------------------------------------------------------------

    def graph(self, sizes: Sequence[int]) -> Graph:
        """The signature's graph at these sizes of the program's dimensions; DataError where none is possible."""
        graph = sized(self.signature.graph, self.program.symbols.at(sizes))
        check_graph(graph)
        return graph

    def _segment(self, sizes: tuple[int, ...]) -> Segment:
        """The program for these sizes. Where it is on disk under a name that needs no graph, none is made."""
        s, value = self.signature, self.program.symbols.at(sizes)

        def placed(v: Value) -> Layout:
            found = Type(v.dtype, tuple([value(n) for n in v.shape]))
            check_type(found, "an input or output")
            return layout(*found)

        kinds = [placed(v) for v in s.graph.inputs]
        count = len(s.outputs)
        fresh = [placed(v) for v in s.graph.outputs[:count]]
        at = {p: i for i, p in enumerate(s.takes)}
        targets = [at.get(p, placed(v)) for p, v in zip(s.gives[count:], s.graph.outputs[count:], strict=True)]
        steady = tuple(i for i, p in enumerate(s.takes) if p.kind == "state" and p.name not in s.writes)
        graph = functools.cache(lambda: self.graph(sizes))
        try:
            which = repr((s.identity, sizes)) if s.identity else digest(graph())
            place = name_of([which, repr((kinds, fresh, targets, steady, self._rounding))])
        except Unnamed:
            place = None
        return Segment(graph, place, kinds, fresh, targets, steady, self._rounding).named(f"{self.program.name}.{s.name}")
