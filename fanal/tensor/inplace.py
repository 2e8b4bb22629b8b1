"""Writing into existing memory: in-place functions, with the version counter and the tape.

An in-place call computes the function straight into its first argument. Where a gradient is
recorded it is computed apart and copied, since what the tape saves must not be overwritten; a write
through a view becomes a write to the view's base.
"""

from __future__ import annotations

from typing import Any

from fanal.autograd.mode import mode
from fanal.autograd.tape import PythonNode
from fanal.backends.native.executable import Executable, compile_graph, launch
from fanal.backends.native.loops.expression import Load
from fanal.backends.native.program import Access
from fanal.core.cache import BoundedCache
from fanal.core.dispatch import Fused, bind, call_eager, fused, state
from fanal.core.dtypes import category
from fanal.core.errors import message
from fanal.core.watching import unwatched
from fanal.graph.ir import Builder, Graph, Value
from fanal.ops.arithmetic import cast_p
from fanal.ops.layout import expand_to
from fanal.ops.promotion import cast, constant
from fanal.tensor.keys import NUMBERS, NumpyNumber, key_part, plain
from fanal.tensor.launching import number_bits, raise_status
from fanal.tensor.layout import Layout
from fanal.tensor.recording import edge_for
from fanal.tensor.tensor import Tensor
from fanal.tensor.tracing import Arguments

programs = BoundedCache(20_000)
_SAME = object()  # in a key: this operand lies in the target's memory


def apply(function: Fused, self: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """`self = function(self, *args)`, in self's own memory."""
    tracer = state.tracer
    if tracer is not None and tracer.lazy:
        tracer.write(function, self, plain(args), plain(kwargs))
        return self
    where = self._layout
    storage = self._storage
    grad = where.grad
    operands: list[Any] = [self]
    key: list[Any] = [function, where]
    try:
        for i, a in enumerate(args):
            if isinstance(a, Tensor):
                grad = grad or a._layout.grad
                operands.append(a)
                key.append(a._layout)
                if a._storage is storage:
                    key.append(_SAME)
            else:
                key.append(key_part(a, operands, function, i + 1))
        for name, a in kwargs.items():
            key.append(name)
            key.append(key_part(a, operands, function, name))
            if isinstance(a, Tensor):
                grad = grad or a._layout.grad
                if a._storage is storage:
                    key.append(_SAME)
    except NumpyNumber:
        return apply(function, self, plain(args), plain(kwargs))
    recorded = grad and mode.enabled
    if where.overlaps or recorded:
        check_writable(self, function.name, recorded)
        if recorded:
            recorded_write(function, self, args, kwargs)
            return self
    if _SAME in key:
        for a in (*args, *kwargs.values()):
            if isinstance(a, Tensor) and a is not self and _apart(a, self) is not a:
                args = tuple(_apart(x, self) for x in args)
                kwargs = {k: _apart(x, self) for k, x in kwargs.items()}
                return apply(function, self, args, kwargs)
    program = programs.get(tuple(key))
    if program is None:
        program = programs[tuple(key)] = _compile(function, (self, *args), kwargs)
    pointers = [t._ptr if isinstance(t, Tensor) else number_bits(t) for t in operands]
    code = launch(program.address, *pointers, self._ptr)
    storage.version += 1
    if code:
        raise_status(function.name, code)
    return self


def write_key(
    function: Fused, self: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, list[Any]]:
    """The key of a write that is taken down, and what it reads (the target first)."""
    operands: list[Any] = [self]
    key: list[Any] = [function, self._layout]
    key += [key_part(a, operands, function, i + 1) for i, a in enumerate(args)]
    for name, a in kwargs.items():
        key += (name, key_part(a, operands, function, name))
    return tuple(key), operands


def check_writable(t: Tensor, name: str, recorded: bool) -> None:
    """Raise where an in-place write to `t` is not allowed."""
    layout = t._layout
    if layout.overlaps:
        raise RuntimeError(
            message(
                f"{name}_", "a write to an expanded tensor, whose elements share memory",
                tuple(layout.shape), hint="clone() first",
            )
        )
    if not recorded or not layout.grad:
        return
    if t._current_node() is None:
        raise RuntimeError(
            message(
                f"{name}_", "a leaf that requires grad was used in an in-place operation",
                hint="no_grad() around it, or an operation that makes a new tensor",
            )
        )
    base = t._base
    if base is not None and base.requires_grad and base._current_node() is None:
        raise RuntimeError(
            message(
                f"{name}_", "a view of a leaf that requires grad was used in an in-place operation",
                hint="no_grad() around it, or clone() of the leaf first",
            )
        )


def _apart(a: Any, self: Tensor) -> Any:
    """An operand that overlaps the target, other than being it, is copied first."""
    if isinstance(a, Tensor) and a._storage is self._storage:
        same = a._ptr == self._ptr and a._layout.twin in (self._layout, self._layout.twin)
        same = same or (a._ptr == self._ptr and a._layout is self._layout)
        return a if same else a.detach().clone()
    return a


def _compile(function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Executable:
    self = args[0]
    graph, inputs = write_graph(function, args, kwargs)
    loads = []
    # The target and operands with the same memory are one buffer, so that the schedule sees it.
    first: Access | None = None
    operand_tensors = [a for a in _flat((*args, *kwargs.values())) if isinstance(a, Tensor)]
    position = 0
    for number, (v, where) in enumerate(zip(graph.inputs, inputs, strict=True)):
        if isinstance(where, Layout):
            t = operand_tensors[position]
            position += 1
            shared = first is not None and t._storage is self._storage
            access = Access(0 if shared else number, where.dtype, where.shape, where.strides)
            first = first or access
            loads.append(Load(where.dtype, where.shape, access))
        else:
            loads.append(Load(v.dtype, (), Access(number, v.dtype, (), ()), True))
    assert first is not None
    return compile_graph(graph, loads, [first], f"{function.label}_")


@unwatched
def write_graph(
    function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Graph, list[Any]]:
    """The graph of the first argument's new value, and its inputs (layouts or dtypes)."""
    self = args[0]
    builder = Builder()
    given = Arguments(builder, function, args, kwargs)

    def body() -> Value:
        result = function.body(*given.traced, **given.named)
        check_result(function.name, result, self)
        result = expand_to(result, self._layout.shape)
        if result.dtype is self.dtype:
            return result
        return bind(cast_p, result, dtype=self.dtype)

    return builder.graph([builder.trace(body)]), given.inputs


def _flat(items: Any) -> list[Any]:
    return [
        x for a in items for x in (_flat(a) if isinstance(a, tuple | list) else [a])
    ]


def check_result(name: str, result: Any, self: Tensor) -> None:
    """Raise where a result does not fit into the tensor that it is to be written to."""
    wide = len(result.shape) > self.ndim or any(
        n not in (1, m)
        for n, m in zip(result.shape[::-1], self._layout.shape[::-1], strict=False)
    )
    if wide:
        raise RuntimeError(
            message(
                f"{name}_", "the result's shape differs from the tensor's",
                tuple(result.shape), str(tuple(self.shape)),
            )
        )
    if category(result.dtype) > category(self.dtype):
        raise RuntimeError(
            message(
                f"{name}_", "the result's dtype can't be stored in the tensor",
                f"{result.dtype!r} into {self.dtype!r}",
                hint="an operation that makes a new tensor",
            )
        )


def recorded_write(
    function: Fused, self: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """The same with a gradient: computed apart, copied, and put on the tape."""
    # What the tape keeps of the old value must survive the write.
    old = self._alias(self._current_node(), self._index)
    if not self._layout.grad:
        old._layout = old._layout.wanting(False)
    old = old.clone()
    args = tuple(old if a is self else a for a in args)
    _put(self, call_eager(function, (old, *args), kwargs), function.name)


def assign(self: Tensor, compute: Any, name: str) -> Tensor:
    """`self = compute(self)` for a function of any kind: what it returns is copied into `self`."""
    grad = mode.enabled and self._layout.grad
    check_writable(self, name, grad)
    result = compute(self._alias(self._current_node(), self._index).clone() if grad else self)
    if mode.enabled and (grad or result._layout.grad):
        _put(self, result, name)
        return self
    check_result(name, result, self)
    return apply(copy_source.fused, self, (result,), {})


def _put(self: Tensor, result: Tensor, name: str) -> None:
    """Make a recorded result the value of `self`."""
    check_result(name, result, self)
    if result.dtype is not self.dtype:
        result = result.to(self.dtype)
    if result._layout.shape != self._layout.shape:
        result = result.expand(self._layout.shape)
    with_grad = result._layout.grad
    replace = getattr(state.tracer, "replace", None)
    if replace is not None:  # a function is being traced
        replace(self, result)
    else:
        mode.enabled = False
        try:
            apply(copy_source.fused, self.detach(), (result.detach(),), {})
        finally:
            mode.enabled = True
    if with_grad or self._layout.grad:
        rebase(self, result)


def rebase(self: Tensor, result: Tensor) -> None:
    """Make `self`, whose memory now holds `result`'s values, the output of result's node."""
    rare = self._rare
    node = result._current_node()
    if rare is None or rare.base is None:
        self._node, self._index = node, result._index
        self._layout = self._layout.wanting(node is not None or result._layout.grad)
        return
    base = rare.base

    # A view by strides alone means the same elements only in a gradient that lies as the base does.
    by_strides = any(step.name == "as_strided" for step in rare.steps)

    def pull(grad: Any) -> tuple[Any, Any]:
        grad = grad.contiguous() if by_strides else grad
        kept = grad.clone()
        zero_part = rare.again(kept)
        zero_part.zero_()
        return kept, rare.again(grad)

    edges = [edge_for(base) if base.requires_grad else None, (node, result._index)]
    if node is None:
        edges[1] = result if result.requires_grad else None
    base._node = PythonNode("copy_slices", edges, pull)
    base._index = 0
    base._layout = base._layout.wanting(True)
    # Views of the base, this one too, take their view anew when their node is asked for.
    self._layout = self._layout.wanting(True)
    rare.version = -1


@fused
def copy_source(input: Any, source: Any) -> Any:
    """The source in the shape and dtype of the input (the body of `copy_`)."""
    return expand_to(cast(source, input.dtype), input.shape)


@fused(scalars=("value",))
def fill_source(input: Any, value: Any) -> Any:
    """A number in the shape and dtype of the input (the body of `fill_`)."""
    if isinstance(value, Value):
        return expand_to(cast(value, input.dtype), input.shape)
    return constant(value, input.dtype, input.shape)


copy_source.fused.label, fill_source.fused.label = "copy", "fill"


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Copy the elements of `src` (broadcast, converted) into this tensor."""
    if not isinstance(src, Tensor):
        from fanal.tensor.creation import tensor

        src = tensor(src)
    try:
        return apply(copy_source.fused, self, (src,), {})
    except (ValueError, RuntimeError) as error:
        if "expand" in str(error):
            raise RuntimeError(
                message("copy_", "shapes differ", f"{tuple(src.shape)}", str(tuple(self.shape)))
            ) from None
        raise


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element to one number (or to a 0-d tensor's)."""
    program = programs.get((fill_source.fused, self._layout, type(value)))
    if program is None or self._layout.grad or type(value) not in NUMBERS or state.tracer is not None:
        return apply(fill_source.fused, self, (value,), {})
    launch(program.address, self._ptr, number_bits(value), self._ptr)
    self._storage.version += 1
    return self


def zero_(self: Tensor) -> Tensor:
    """Set every element to zero."""
    return fill_(self, 0)
