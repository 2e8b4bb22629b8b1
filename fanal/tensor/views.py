"""Tensors that share another's memory, and how to take the same view again.

A view remembers its base and the steps from the base to itself: when the base (or another view of
it) is written to under recording, the base gets a new node, and the view takes its own anew.
"""

from __future__ import annotations

from collections.abc import Callable

from fanal.autograd.mode import mode
from fanal.autograd.tape import PythonNode, anomaly, sequence
from fanal.tensor.layout import Layout
from fanal.tensor.lazy import Cell, take_lazy
from fanal.tensor.tensor import Rare, Tensor

_new = object.__new__


class View:
    """One way to look at tensors of a certain layout. Made once, used for every such tensor.

    `again` takes the same view of another tensor of that shape, through the recorded path; `pull`
    brings a gradient of the view back to that shape (None: the caller records).
    """

    __slots__ = ("again", "layout", "name", "offset", "pull", "recorded")

    def __init__(
        self,
        layout: Layout,
        offset: int,
        name: str,
        again: Callable[[Tensor], Tensor],
        pull: Callable[[Tensor], Tensor] | None = None,
    ):
        self.layout, self.recorded = layout.wanting(False), layout.wanting(True)
        self.offset = offset * layout.dtype.itemsize  # bytes from the tensor's first element
        self.name, self.again, self.pull = name, again, pull


def take(t: Tensor, view: View) -> Tensor:
    """The view of a tensor, recorded where a gradient is wanted."""
    storage = t._storage
    rare = Rare()
    if type(storage) is Cell:
        out = take_lazy(t, view.layout, view.offset, rare)
    else:
        out = _new(Tensor)
        out._storage = storage
        out._ptr = t._ptr + view.offset
        out._grad = None
        out._rare = rare
    before = t._rare
    if before is None or before.base is None:
        rare.base = t
        rare.steps = (view,)
    else:
        rare.base = before.base
        rare.steps = (*before.steps, view)
    rare.version = storage.version
    out._index = 0
    if not t._layout.grad or not mode.enabled:
        out._layout = view.layout
        out._node = None
        return out
    out._layout = view.recorded
    if view.pull is None:
        out._node = None
        return out
    # A PythonNode, written out for speed.
    out._node = made = _new(PythonNode)
    node = t._node if before is None or before.base is None else t._current_node()
    made.edges = (t if node is None else (node, t._index),)
    made.outputs = 1
    made.sequence = next(sequence)
    made.extras = None
    made.name = view.name
    made.function = view.pull
    if anomaly["enabled"]:
        made.remember_trace()
    return out
