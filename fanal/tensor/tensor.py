"""The tensor: a view of a storage, with a place on the tape.

A tensor has a storage (memory, a version that counts writes), a layout (interned shape, strides,
dtype), the address of its first element and perhaps a gradient. Everything that is rare (hooks, what
it is a view of) lies in one record that most tensors don't have. Methods are attached by `methods`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, cast

from fanal.autograd.mode import mode
from fanal.autograd.tape import Node, RemovableHandle
from fanal.backends.native.executable import runtime
from fanal.core.device import CPU, device
from fanal.core.dispatch import state
from fanal.core.dtypes import DType
from fanal.core.epoch import epoch
from fanal.core.errors import OutOfMemoryError, message
from fanal.tensor.layout import Layout, Size

_empty = runtime.empty


class Rare:
    """The seldom needed part of a tensor. Defaults lie in the class, so a new one is cheap."""

    hooks: list[Callable[..., Any]] | None = None
    retains = False
    after_hooks: list[Callable[..., Any]] | None = None
    name: str | None = None
    # Of a view: what it is a view of, the steps from there, and the version its node was made at.
    base: Tensor | None = None
    steps: tuple[Any, ...] = ()
    version = 0

    def again(self, x: Any) -> Any:
        """The same view, of another tensor like the base."""
        for view in self.steps:
            x = view.again(x)
        return x


if TYPE_CHECKING:
    from fanal.tensor.declared import Methods  # a stub: what `methods` and `method_table` attach
else:
    Methods = object


class Tensor(Methods):
    """A multi-dimensional array of one dtype, as `torch.Tensor`.

    Made by `fanal.tensor`, `fanal.zeros`, `fanal.from_numpy` and all operations.
    """

    __slots__ = (
        "__weakref__", "_grad", "_index", "_layout", "_node", "_ptr", "_rare", "_storage",
    )  # fmt: skip

    _storage: Any
    _layout: Layout
    _ptr: int
    _node: Node | None
    _index: int
    _grad: Tensor | None
    _rare: Rare | None

    def __new__(cls, data: Any = None, *args: Any, **kwargs: Any) -> Self:
        from fanal.tensor.creation import legacy_tensor

        return cast("Self", legacy_tensor(cls, data, *args))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)

    # -- identity of the record ------------------------------------------------------------------

    def _extra(self) -> Rare:
        if self._rare is None:
            self._rare = Rare()
        return self._rare

    def _alias(self, node: Node | None, index: int) -> Tensor:
        """Another tensor of the same memory, on the tape where given."""
        out = new_tensor(self._storage, self._layout.wanting(node is not None), self._ptr)
        out._node = node
        out._index = index
        return out

    def _current_node(self) -> Node | None:
        """The node that made this tensor; a view of a base written to since takes its view anew."""
        rare = self._rare
        if rare is not None and rare.base is not None and rare.base._layout.grad:  # noqa: SIM102
            if rare.version != self._storage.version:
                _replay(self, rare)
        return self._node

    def _hooks(self) -> list[Callable[..., Any]] | None:
        return None if self._rare is None else self._rare.hooks

    # -- what it is ---------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return self._layout.size

    @property
    def dtype(self) -> DType:
        return self._layout.dtype

    @property
    def device(self) -> device:
        return CPU

    @property
    def ndim(self) -> int:
        return self._layout.ndim

    @property
    def requires_grad(self) -> bool:
        return self._layout.grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for a gradient (or not) of this leaf; returns the tensor itself."""
        if requires_grad and self._layout.dtype.kind != "f":
            raise RuntimeError(
                message(
                    "requires_grad_", "only floating tensors have gradients", repr(self.dtype),
                    "a floating dtype", ".float()",
                )
            )
        if not requires_grad and self._node is not None:
            raise RuntimeError(
                message(
                    "requires_grad_", "not a leaf: its requires_grad follows from its inputs",
                    hint="detach()",
                )
            )
        self._layout = self._layout.wanting(bool(requires_grad))
        return self

    @property
    def is_leaf(self) -> bool:
        return self._current_node() is None

    @property
    def grad_fn(self) -> Node | None:
        return self._current_node()

    @property
    def output_nr(self) -> int:
        return self._index

    @property
    def grad(self) -> Tensor | None:
        if state.tracer is not None and state.tracer.lazy:
            state.tracer.grad_read(self)
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(message("grad", "not a tensor", type(value).__name__))
            if value._layout.shape != self._layout.shape or value.dtype is not self.dtype:
                raise RuntimeError(
                    message(
                        "grad", "shape or dtype differ from the tensor's",
                        f"{value.dtype.name} {tuple(value.shape)}",
                        f"{self.dtype.name} {tuple(self.shape)}",
                    )
                )
        if state.tracer is not None and state.tracer.lazy:
            state.tracer.grad_set(self)
        self._grad = value

    @property
    def data(self) -> Tensor:
        return new_tensor(self._storage, self._layout.wanting(False), self._ptr)

    @data.setter
    def data(self, value: Tensor) -> None:
        pointer = value._ptr  # first: it may bring the memory into being
        self._storage, self._ptr = value._storage, pointer
        self._layout = value._layout.wanting(self._layout.grad)

    @property
    def _base(self) -> Tensor | None:
        return None if self._rare is None else self._rare.base

    @property
    def _version(self) -> int:
        return self._storage.version

    # -- gradients ------------------------------------------------------------------------------------

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradient of this tensor to `.grad` of the leaves that it depends on.

        A tensor with more than one element needs `gradient`, of its shape.
        """
        from fanal.autograd import functional

        functional.backward(
            (self,), None if gradient is None else (gradient,), retain_graph, create_graph, inputs
        )

    def _accumulate(self, grad: Tensor, create_graph: bool, own: bool) -> None:
        """Add to `.grad`, in place where a gradient of it is not wanted.

        `own`: nobody else holds the gradient's memory, so it may become `.grad` itself.
        """
        if state.tracer is not None and state.tracer.lazy:
            state.tracer.grad_read(self)
        before = self._grad
        if before is None:
            if not create_graph:
                grad = grad.detach()
                if not own or not grad._layout.dense:
                    grad = grad.clone()
            self._grad = grad
        elif create_graph or before._layout.grad:
            self._grad = before + grad
        else:
            before.add_(grad)

    def register_hook(self, hook: Callable[[Tensor], Any]) -> RemovableHandle:
        """Call `hook(grad)` when this tensor's gradient is known; what it returns replaces it."""
        if not self._layout.grad:
            raise RuntimeError(
                message("register_hook", "the tensor has no gradient", hint="requires_grad_()")
            )
        node = self._current_node()
        if node is None:
            epoch.hooks += 1
            extra = self._extra()
            extra.hooks = hooks = extra.hooks or []
        else:
            more = node.extra()
            more.pre_hooks = more.pre_hooks or {}
            hooks = more.pre_hooks.setdefault(self._index, [])
        hooks.append(hook)
        return RemovableHandle(hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], Any]) -> RemovableHandle:
        """Call `hook(tensor)` each time a gradient was added to this leaf's `.grad`."""
        if not self._layout.grad or self._current_node() is not None:
            raise RuntimeError(
                message("register_post_accumulate_grad_hook", "not a leaf that requires grad",
                        hint="register_hook()")
            )
        epoch.hooks += 1
        extra = self._extra()
        extra.after_hooks = hooks = extra.after_hooks or []
        hooks.append(hook)
        return RemovableHandle(hooks, hook)

    def retain_grad(self) -> None:
        """Keep `.grad` of a tensor that is not a leaf."""
        if not self._layout.grad:
            raise RuntimeError(
                message("retain_grad", "the tensor has no gradient", hint="requires_grad_()")
            )
        node = self._current_node()
        if node is not None:
            self._extra().retains = True
            more = node.extra()
            more.retained = more.retained or {}
            more.retained[self._index] = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        return self._rare is not None and self._rare.retains

    def detach(self) -> Tensor:
        """The same memory without a past: no gradient flows through it."""
        return new_tensor(self._storage, self._layout.wanting(False), self._ptr)


_new = object.__new__


def new_tensor(storage: Any, layout: Layout, pointer: int, cls: type = Tensor) -> Tensor:
    """A tensor of existing memory, off the tape."""
    t: Tensor = _new(cls)
    t._storage = storage
    t._layout = layout
    t._ptr = pointer
    t._node = None
    t._index = 0
    t._grad = None
    t._rare = None
    return t


def shared(t: Tensor, layout: Layout, cls: type = Tensor) -> Tensor:
    """A tensor of another layout (or class) at the place of `t`, off the tape."""
    pointer = t._ptr  # first: it may bring the memory into being
    return new_tensor(t._storage, layout, pointer, cls)


def allocate(layout: Layout) -> Tensor:
    """A tensor of fresh memory."""
    try:
        storage = _empty(layout.nbytes)
    except MemoryError as error:
        raise OutOfMemoryError(
            message(
                "empty", "not enough memory",
                f"a tensor of {layout.nbytes} bytes, {layout.dtype.name} {layout.shape}",
                hint="a smaller tensor or batch",
            )
        ) from error
    t: Tensor = _new(Tensor)
    t._storage = storage
    t._layout = layout
    t._ptr = storage.ptr
    t._node = None
    t._index = 0
    t._grad = None
    t._rare = None
    return t


def _replay(t: Tensor, rare: Rare) -> None:
    """The view of the base as it is now: another node for the same elements."""
    before = mode.enabled
    mode.enabled = True
    try:
        fresh = rare.again(rare.base)
    finally:
        mode.enabled = before
    t._node, t._index = fresh._node, fresh._index
    t._layout = t._layout.wanting(fresh._layout.grad)
    rare.version = t._storage.version
