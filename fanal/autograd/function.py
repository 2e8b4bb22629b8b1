"""Operations with a backward of the user's own: `autograd.Function`."""

from __future__ import annotations

import weakref
from typing import Any

from fanal.autograd.mode import mode
from fanal.autograd.tape import Node, Saved, released
from fanal.core.dispatch import state
from fanal.core.errors import message


class FunctionCtx:
    """What `forward` leaves for `backward`."""

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._dirty: tuple[Any, ...] = ()
        self._constant: set[int] = set()
        # Weak, as the node holds this: a cycle would keep alive what the node leads to.
        self._node: weakref.ref[CustomNode] | None = None
        self._materialize = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep input or output tensors; read them in backward as `ctx.saved_tensors`."""
        for t in tensors:
            if t is not None and not hasattr(t, "_storage"):
                raise TypeError(
                    message("save_for_backward", "not a tensor", type(t).__name__, "tensors or None")
                )
        self._saved = tensors

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors that were saved; an error if they were changed in place or freed."""
        if self._node is None:
            return self._saved
        node = self._node()
        if node is None:
            raise released("the function")
        return node.unpack()

    def mark_dirty(self, *tensors: Any) -> None:
        """Name inputs that forward changed in place (and returns)."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Name outputs that have no gradient."""
        self._constant = {id(t) for t in tensors}

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing output gradients reach backward as zeros (the default) or None."""
        self._materialize = value


class CustomNode(Node):
    """The tape's node of a custom function."""

    __slots__ = ("ctx", "function", "name", "saved", "shapes")

    def __init__(self, function: type[Function], ctx: FunctionCtx, edges: list[Any], outputs: list[Any]):
        super().__init__(edges, len(outputs))
        self.name = function.__name__
        self.function, self.ctx = function, ctx
        self.shapes = [(o._layout.shape, o.dtype) if o is not None else None for o in outputs]
        self.saved: list[Any] | None = None

    def keep(self, outputs: list[Any]) -> None:
        """Take over what forward saved (outputs without the cycle through this node)."""
        numbers = {id(o): i for i, o in enumerate(outputs)}
        kept: list[Any] = []
        for t in self.ctx._saved:
            if t is None:
                kept.append(None)
            elif id(t) in numbers:
                kept.append(Saved(t._alias(None, 0), numbers[id(t)]))
            else:
                kept.append(Saved(t))
        self.saved = kept
        self.ctx._saved = ()
        self.ctx._node = weakref.ref(self)

    def unpack(self) -> tuple[Any, ...]:
        if self.saved is None:
            raise released(self.name)
        return tuple(None if s is None else s.unpack(self, True) for s in self.saved)

    def pull(self, grads: list[Any], create_graph: bool) -> Any:
        if self.ctx._materialize:
            from fanal.tensor.creation import zeros

            grads = [
                zeros(kind[0], dtype=kind[1]) if g is None and kind is not None else g
                for g, kind in zip(grads, self.shapes, strict=True)
            ]
        results = self.function.backward(self.ctx, *grads)
        results = results if isinstance(results, tuple) else (results,)
        results = results[: len(self.edges)] + (None,) * (len(self.edges) - len(results))
        if len(results) != len(self.edges):
            raise RuntimeError(
                message(
                    self.name, "backward returned another number of gradients than forward had inputs",
                    len(results), str(len(self.edges)),
                )
            )
        return results

    def release(self) -> None:
        self.saved = None


class Function:
    """Base class: give static `forward(ctx, *args)` and `backward(ctx, *grads)`, call `apply`.

    >>> class Exp(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         y = x.exp(); ctx.save_for_backward(y); return y
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (y,) = ctx.saved_tensors; return g * y
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(message("Function", "forward is not defined"))

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> None:
        """With this defined, `forward` takes no ctx."""
        raise NotImplementedError

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Any) -> Any:
        raise NotImplementedError(message("Function", "backward is not defined"))

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward and, where an input wants a gradient, record this function."""
        from fanal.tensor.tensor import Tensor

        ctx = FunctionCtx()
        wants = [isinstance(a, Tensor) and a.requires_grad for a in args]
        ctx.needs_input_grad = tuple(wants)
        before = mode.enabled
        recorded = before and any(wants)
        tracer = state.tracer
        traced = getattr(tracer, "custom", None) if before else None
        if traced is not None:
            both = zip(args, wants, strict=True)
            ctx.needs_input_grad = tuple([wanted or tracer.follows(a) for a, wanted in both])
        mode.enabled = False
        try:
            if cls.setup_context is not Function.setup_context:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args, **kwargs)
        finally:
            mode.enabled = before
        if not recorded and traced is None:
            return result
        single = not isinstance(result, tuple)
        outputs = [result] if single else list(result)
        if traced is not None:
            traced(cls, ctx, args, outputs)
            ctx.needs_input_grad = tuple(wants)
        made = _recorded(cls, ctx, args, outputs) if recorded else outputs
        return made[0] if single else tuple(made)


def _recorded(
    cls: type[Function], ctx: FunctionCtx, args: tuple[Any, ...], outputs: list[Any]
) -> list[Any]:
    from fanal.tensor.recording import edge_for
    from fanal.tensor.tensor import Tensor

    edges = [
        edge_for(a) if wanted else None for a, wanted in zip(args, ctx.needs_input_grad, strict=True)
    ]
    inputs = {id(a) for a in args}
    dirty = {id(t) for t in ctx._dirty}
    fresh: list[Any] = []
    for o in outputs:
        # An input handed through is another tensor afterwards; one changed in place is itself.
        passed = isinstance(o, Tensor) and id(o) in inputs and id(o) not in dirty
        fresh.append(o.detach() if passed else o)
    tensors = [o if isinstance(o, Tensor) else None for o in fresh]
    node = CustomNode(cls, ctx, edges, tensors)
    node.keep(fresh)
    for i, (o, original) in enumerate(zip(fresh, outputs, strict=True)):
        if isinstance(o, Tensor) and o.dtype.kind == "f" and id(original) not in ctx._constant:
            o._layout = o._layout.wanting(True)
            o._node, o._index = node, i
    return fresh


def once_differentiable(function: Any) -> Any:
    """Mark a backward whose result is a constant for further derivatives."""

    def wrapper(ctx: FunctionCtx, *grads: Any) -> Any:
        before, mode.enabled = mode.enabled, False
        try:
            return function(ctx, *grads)
        finally:
            mode.enabled = before

    return wrapper
