"""A function of tensors as a graph, without running it: what transforms and control flow are made of.

`trace` calls the function once with tensors that have layouts but no elements. All that it computes
from them, with derivatives, views and writes to tensors of its own, becomes one graph; tensors that
it takes from outside become further inputs. Its Python runs at tracing only, so asking for an
element's value, or writing to a tensor from outside, is an error at the user's line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fanal.compiler.recorder import Recorder
from fanal.compiler.steps import Step, TensorInput, built
from fanal.core import pytree
from fanal.core.dispatch import tracing
from fanal.core.errors import message
from fanal.graph.ir import Graph
from fanal.tensor.layout import Layout
from fanal.tensor.lazy import Cell, lazy_tensor
from fanal.tensor.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced function. The graph's inputs are the given tensors, then `captured`: tensors and
    Python numbers that the function took from outside, in the order of their first use."""

    graph: Graph
    captured: list[Any]
    structure: pytree.Structure  # of what it returned
    constants: dict[int, Any]  # returned leaves that are no tensors, by position

    def result(self, outputs: Sequence[Any]) -> Any:
        """What the function returns, from the graph's outputs."""
        found = iter(outputs)
        count = self.structure.leaf_count
        leaves = [self.constants[i] if i in self.constants else next(found) for i in range(count)]
        return self.structure.unflatten(leaves)


class TraceRecorder(Recorder):
    """A recorder whose steps are never run."""

    def __init__(self, name: str):
        super().__init__(Step(None, 0, None))
        self.name = name

    def given(self, layout: Layout) -> Tensor:
        """An input: a tensor of this layout (it requires grad if the layout does)."""
        plain = layout.wanting(False)
        number = self._step((TensorInput, plain), lambda: TensorInput(plain), 1)
        self.inputs.append(None)
        return lazy_tensor(self._cell(plain, number), layout, 0)

    def settle(self) -> None:
        raise RuntimeError(
            message(
                self.name, "the function asks for the value of a tensor that is being traced",
                hint="fanal.where or fanal.cond in the place of `if`, while_loop or scan for loops",
            )
        )  # fmt: skip

    def _stored(self, t: Tensor, number: int) -> bool:
        if type(t._storage) is not Cell or t._storage.recorder is not self:
            raise RuntimeError(
                message(
                    self.name, "the function writes to a tensor from outside", tuple(t.shape),
                    hint="returning the new value",
                )
            )  # fmt: skip
        return super()._stored(t, number)


def trace(function: Callable[..., Any], inputs: Sequence[Layout], name: str) -> Traced:
    """Trace `function(*tensors)` for tensors of these layouts; `name` stands in error messages."""
    recorder = TraceRecorder(name)
    recorder.thread = threading.get_ident()
    with tracing(recorder):
        result = function(*[recorder.given(l) for l in inputs])
        leaves, structure = pytree.flatten(result)
        numbers: list[int] = []
        constants: dict[int, Any] = {}
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                numbers.append(recorder.number(leaf))
            else:
                constants[i] = leaf
    builder, values, _ = built(recorder.path)
    graph = builder.graph([values[n] for n in numbers])
    return Traced(graph, recorder.inputs[len(inputs) :], structure, constants)
