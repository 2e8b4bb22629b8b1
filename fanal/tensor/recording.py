"""Calls on the tape: the node that a recorded call leaves, and what it keeps for the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.autograd.tape import Node, anomaly, overwritten, released, sequence
from fanal.core.dispatch import call_eager
from fanal.tensor.lazy import Cell, kept_again, place
from fanal.tensor.plans import GradPlan
from fanal.tensor.tensor import new_tensor

_new_node = object.__new__
_NOTHING: tuple[Any, ...] = ()


class OpNode(Node):
    """A recorded call of a compiled function.

    `kept` holds what the gradient needs: inputs (tensors or numbers), then outputs as (storage,
    pointer), since an output itself would make a cycle; `versions` what each was at then.
    """

    __slots__ = ("kept", "plan", "versions")

    plan: GradPlan
    kept: Sequence[Any] | None
    versions: Sequence[Any]

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.plan.name

    def pull(self, grads: list[Any], create_graph: bool) -> Sequence[Any]:
        plan, kept = self.plan, self.kept
        if kept is None:
            raise released(plan.name)
        mask = tuple([g is not None for g in grads])
        found = plan.backward.get(mask)
        function, places, passed, gradients = plan.backward_for(mask) if found is None else found
        args = [self.unpack(kept[p], p, create_graph) for p in places]
        args += [g for g in grads if g is not None]
        if passed is not None:
            return [None if n is None else args[passed[n]] for n in gradients]
        results = call_eager(function, tuple(args), {})
        return [None if n is None else results[n] for n in gradients]

    def unpack(self, kept: Any, number: int, create_graph: bool) -> Any:
        """A saved value, if it was not written to since."""
        plan, version = self.plan, self.versions[number]
        if version is None:
            return kept
        inputs = len(plan.saved_inputs)
        if number < inputs:
            storage = kept._storage
        else:
            storage, pointer = kept
            layout = plan.layouts[plan.saved_outputs[number - inputs]]
            if type(storage) is Cell:
                kept = kept_again(storage, layout, pointer)
                storage = kept._storage
            else:
                kept = new_tensor(storage, layout, pointer)
            if create_graph:
                kept = kept._alias(self, plan.saved_outputs[number - inputs])
        if storage.version != version:
            raise overwritten(self, kept, version)
        return kept

    def release(self) -> None:
        self.kept = None


def record(grad: GradPlan, tensors: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Put a node on the tape for outputs just computed."""
    # Written out for speed: this runs once for each operation of a training step.
    node = _new_node(OpNode)
    node.plan = grad
    node.outputs = grad.count
    node.sequence = next(sequence)
    node.extras = None
    edges: list[Any] = []
    for t, wanted in zip(tensors, grad.needs):
        if wanted:
            rare = t._rare
            before = t._node if rare is None or rare.base is None else t._current_node()
            edges.append(t if before is None else (before, t._index))
        else:
            edges.append(None)
    node.edges = edges
    if grad.saves:
        kept: list[Any] = []
        versions: list[Any] = []
        for i, is_tensor in zip(grad.saved_inputs, grad.tensors):
            t = tensors[i]
            kept.append(t)
            versions.append(t._storage.version if is_tensor else None)
        for i in grad.saved_outputs:
            storage = outputs[i]._storage
            lazy = type(storage) is Cell
            kept.append((storage, place(outputs[i]) if lazy else outputs[i]._ptr))
            versions.append(storage.version)
        node.kept = kept
        node.versions = versions
    else:
        node.kept = node.versions = _NOTHING
    if anomaly["enabled"]:
        node.remember_trace()
    if grad.count == 1:
        if grad.differentiable[0]:
            outputs[0]._node = node
        return
    for i, (output, tracked) in enumerate(zip(outputs, grad.differentiable)):
        if tracked:
            output._node = node
            output._index = i


def edge_for(t: Any) -> Any:
    """Where the gradient of an input goes."""
    node = t._current_node()
    if node is not None:
        return (node, t._index)
    return t
