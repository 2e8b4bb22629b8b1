"""The tape: a node for each recorded operation, linked to the nodes of its inputs.

A node keeps what its backward function needs and refuses saved tensors that were overwritten since.
Nodes are plain Python: what runs natively are the programs that they call.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fanal.core.epoch import epoch
from fanal.core.errors import message

if TYPE_CHECKING:
    pass

sequence = itertools.count()
anomaly = {"enabled": False, "check_nan": True}
# Where a gradient goes: (node, number of its output), a leaf tensor, or nowhere.
Edge = "tuple[Node, int] | Tensor | None"


class NodeExtras:
    """The seldom needed part of a node."""

    __slots__ = ("hooks", "metadata", "pre_hooks", "retained", "trace")

    def __init__(self) -> None:
        self.pre_hooks: dict[int, list[Callable[..., Any]]] | None = None
        self.hooks: list[Callable[..., Any]] | None = None
        self.retained: dict[int, Any] | None = None
        self.metadata: dict[Any, Any] = {}
        self.trace: list[str] | None = None


class Node:
    """One recorded operation. Subclasses give `name` and `pull`: gradients of outputs to those of
    inputs."""

    __slots__ = ("__weakref__", "edges", "extras", "outputs", "sequence")

    name: str

    def __init__(self, edges: Sequence[Any], outputs: int):
        self.edges = edges
        self.outputs = outputs
        self.sequence = next(sequence)
        self.extras: NodeExtras | None = None
        if anomaly["enabled"]:
            self.remember_trace()

    def extra(self) -> NodeExtras:
        """The seldom needed part, made on first use."""
        if self.extras is None:
            self.extras = NodeExtras()
        return self.extras

    def remember_trace(self) -> None:
        """Keep where the forward call was, for anomaly mode."""
        self.extra().trace = traceback.format_stack(limit=20)[:-4]

    @property
    def metadata(self) -> dict[Any, Any]:
        """A place for the user's own notes."""
        return self.extra().metadata

    def pull(self, grads: list[Any], create_graph: bool) -> Sequence[Any]:
        """Gradients of the inputs (None: none) from those of the outputs (None: zero)."""
        raise NotImplementedError

    def release(self) -> None:
        """Free what was saved; a second backward then is an error."""

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that this one's gradients go to, as PyTorch shows them."""
        found: list[tuple[Any, int]] = []
        for edge in self.edges:
            if edge is None:
                found.append((None, 0))
            elif isinstance(edge, tuple):
                found.append(edge)
            else:
                found.append((AccumulateGrad(edge), 0))
        return tuple(found)

    def register_hook(self, hook: Callable[..., Any]) -> Any:
        """Call `hook(grad_inputs, grad_outputs)` after this node's backward."""
        extra = self.extra()
        extra.hooks = hooks = extra.hooks or []
        hooks.append(hook)
        return RemovableHandle(hooks, hook)

    def __repr__(self) -> str:
        return f"<{self.name}Backward0 object at {id(self):#x}>"


class AccumulateGrad:
    """Stands for a leaf in `next_functions`."""

    __slots__ = ("variable",)

    def __init__(self, variable: Any):
        self.variable = variable

    @property
    def next_functions(self) -> tuple[()]:
        return ()


class RemovableHandle:
    """Takes a hook out again: `handle.remove()`, or a `with` block."""

    def __init__(self, hooks: list[Any], hook: Any):
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        epoch.hooks += 1
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class Saved:
    """A tensor kept for backward, with the version that it had.

    Outputs of the node itself are kept without their node (which would be a cycle) and get it back
    when they are unpacked.
    """

    __slots__ = ("number", "tensor", "version")

    def __init__(self, tensor: Any, number: int = -1):
        self.tensor = tensor
        self.number = number
        self.version = tensor._storage.version

    def unpack(self, node: Node, create_graph: bool) -> Any:
        tensor = self.tensor
        if tensor._storage.version != self.version:
            raise overwritten(node, tensor, self.version)
        if self.number >= 0 and create_graph:
            tensor = tensor._alias(node, self.number)
        return tensor


def overwritten(node: Node, tensor: Any, version: int) -> RuntimeError:
    """The error of a backward whose saved tensor was written to since."""
    return RuntimeError(
        message(
            "backward",
            f"a tensor that the gradient of {node.name} needs was changed in place since",
            f"{tensor.dtype.name} {tuple(tensor.shape)} at version {tensor._storage.version}",
            f"version {version}",
            "clone() before the change, or an operation that makes a new tensor",
        )
    )


def released(name: str) -> RuntimeError:
    """The error of a second backward through freed values."""
    return RuntimeError(
        message(
            "backward", f"a second time through {name}, whose saved values are freed already",
            hint="backward(retain_graph=True) the first time",
        )
    )


class PythonNode(Node):
    """A node whose backward is a Python function of the output gradients (views, copies, …)."""

    __slots__ = ("function", "name")

    def __init__(
        self, name: str, edges: Sequence[Any], function: Callable[..., Any], outputs: int = 1
    ):
        super().__init__(edges, outputs)
        self.name = name
        self.function = function

    def pull(self, grads: list[Any], create_graph: bool) -> Sequence[Any]:
        result = self.function(*grads)
        return result if isinstance(result, tuple | list) else (result,)
