"""Hooks of modules: handles, the hooks of all modules, and the call of a module that has some.

A module without hooks never comes here (see `Module.__call__`). Backward hooks stand on two nodes of
the tape that pass gradients on unchanged: one before the module's inputs, one behind its outputs.
"""

from __future__ import annotations

import itertools
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fanal.autograd.mode import mode
from fanal.autograd.tape import PythonNode
from fanal.core.epoch import epoch
from fanal.core.errors import message
from fanal.tensor.recording import edge_for
from fanal.tensor.tensor import Tensor

if TYPE_CHECKING:
    from fanal.nn.module import Module

Hook = Callable[..., Any]
_ids = itertools.count()


class RemovableHandle:
    """Takes a hook out of its table again: `handle.remove()`, or a `with` block."""

    def __init__(self, hooks: dict[int, Any], extra: tuple[dict[int, Any], ...] = ()):
        self.id = next(_ids)
        self._tables = (hooks, *extra)

    def remove(self) -> None:
        """Remove the hook; removing it twice is fine."""
        epoch.hooks += 1
        for table in self._tables:
            table.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class Everywhere:
    """The hooks of all modules at once."""

    forward_pre: OrderedDict[int, Hook] = OrderedDict()
    forward: OrderedDict[int, Hook] = OrderedDict()
    forward_with_kwargs: dict[int, bool] = {}
    forward_always: dict[int, bool] = {}
    backward_pre: OrderedDict[int, Hook] = OrderedDict()
    backward: OrderedDict[int, Hook] = OrderedDict()
    full_backward: bool | None = None
    module_registration: OrderedDict[int, Hook] = OrderedDict()
    parameter_registration: OrderedDict[int, Hook] = OrderedDict()
    buffer_registration: OrderedDict[int, Hook] = OrderedDict()


def add_hook(
    table: OrderedDict[int, Hook], hook: Hook, prepend: bool = False, **flags: dict[int, bool]
) -> RemovableHandle:
    """Enter a hook in a table, and its number in the given tables of flags."""
    epoch.hooks += 1
    handle = RemovableHandle(table, tuple(flags.values()))
    table[handle.id] = hook
    for flag in flags.values():
        flag[handle.id] = True
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """`hook(module, args)` before the forward of every module."""
    return add_hook(Everywhere.forward_pre, hook)


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """`hook(module, args, output)` after the forward of every module."""
    flags: dict[str, Any] = {}
    if with_kwargs:
        flags["kwargs"] = Everywhere.forward_with_kwargs
    if always_call:
        flags["always"] = Everywhere.forward_always
    return add_hook(Everywhere.forward, hook, **flags)


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """`hook(module, grad_output)` before the gradient passes through every module."""
    return add_hook(Everywhere.backward_pre, hook)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """`hook(module, grad_input, grad_output)` after the gradient passed through every module."""
    Everywhere.full_backward = _one_kind(Everywhere.full_backward, True)
    return add_hook(Everywhere.backward, hook)


def register_module_backward_hook(hook: Hook) -> RemovableHandle:
    """The old form of `register_module_full_backward_hook`: it sees the last operation only."""
    Everywhere.full_backward = _one_kind(Everywhere.full_backward, False)
    return add_hook(Everywhere.backward, hook)


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """`hook(module, name, submodule)` at every registration of a module; may replace it."""
    return add_hook(Everywhere.module_registration, hook)


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """`hook(module, name, parameter)` at every registration of a parameter; may replace it."""
    return add_hook(Everywhere.parameter_registration, hook)


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """`hook(module, name, buffer)` at every registration of a buffer; may replace it."""
    return add_hook(Everywhere.buffer_registration, hook)


def _one_kind(before: bool | None, full: bool) -> bool:
    if before is not None and before is not full:
        raise RuntimeError(
            message(
                "register_backward_hook", "a module can't have both kinds of backward hooks",
                hint="register_full_backward_hook() for all of them",
            )
        )
    return full


def registered(table: OrderedDict[int, Hook], module: Module, name: str, value: Any) -> Any:
    """What the registration hooks make of a value."""
    for hook in table.values():
        replaced = hook(module, name, value)
        if replaced is not None:
            value = replaced
    return value


# -- the call of a module that has hooks ---------------------------------------------------------------


class HookedCall:
    """One call: the arguments as the hooks change them, the result, which hooks have run."""

    def __init__(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]):
        self.module, self.args, self.kwargs = module, args, kwargs
        self.result: Any = None
        self.done: set[int] = set()

    def run(self) -> Any:
        """Pre-hooks, forward, hooks; `always_call` hooks also when something was raised."""
        try:
            return self._run()
        except Exception:
            self._always()
            raise

    def _run(self) -> Any:
        module = self.module
        self._pre_hooks()
        watch = None
        full, old = backward_hooks(module)
        before = [*Everywhere.backward_pre.values(), *module._backward_pre_hooks.values()]
        if full or before:
            watch = BackwardWatch(module, full, before)
            self.args = watch.inputs(self.args)
        self.result = module.forward(*self.args, **self.kwargs)
        self._hooks()
        if watch is not None:
            self.result = watch.outputs(self.result)
        for hook in old:
            _old_backward_hook(module, hook, self.result)
        return self.result

    def _pre_hooks(self) -> None:
        module = self.module
        for number, hook in (*Everywhere.forward_pre.items(), *module._forward_pre_hooks.items()):
            if number in module._forward_pre_hooks_with_kwargs:
                found = hook(module, self.args, self.kwargs)
                if found is None:
                    continue
                if not (isinstance(found, tuple) and len(found) == 2):
                    raise RuntimeError(
                        "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                        f"but got {found}."
                    )
                self.args, self.kwargs = found
            else:
                found = hook(module, self.args)
                if found is not None:
                    self.args = found if isinstance(found, tuple) else (found,)

    def _call(self, number: int, hook: Hook) -> None:
        module = self.module
        if (
            number in module._forward_hooks_with_kwargs
            or number in Everywhere.forward_with_kwargs
        ):
            found = hook(module, self.args, self.kwargs, self.result)
        else:
            found = hook(module, self.args, self.result)
        if found is not None:
            self.result = found

    def _hooks(self) -> None:
        for number, hook in (*Everywhere.forward.items(), *self.module._forward_hooks.items()):
            self.done.add(number)
            self._call(number, hook)

    def _always(self) -> None:
        always = {**Everywhere.forward_always, **self.module._forward_hooks_always_called}
        for number, hook in (*Everywhere.forward.items(), *self.module._forward_hooks.items()):
            if number in always and number not in self.done:
                try:
                    self._call(number, hook)
                except Exception as error:
                    warnings.warn(
                        "module forward hook with ``always_call=True`` raised an exception that "
                        f"was silenced as another error was raised in forward: {error}",
                        stacklevel=4,
                    )


def backward_hooks(module: Module) -> tuple[list[Hook], list[Hook]]:
    """The backward hooks of a call of the module: full ones, and those of the old form."""
    full: list[Hook] = []
    old: list[Hook] = []
    (full if Everywhere.full_backward else old).extend(Everywhere.backward.values())
    (full if module._is_full_backward_hook else old).extend(module._backward_hooks.values())
    return full, old


class BackwardWatch:
    """The two nodes around a module whose gradients are watched."""

    def __init__(self, module: Module, hooks: list[Hook], before: list[Hook]):
        self.module, self.hooks, self.before = module, hooks, before
        self.grad_outputs: tuple[Any, ...] | None = None
        self.watches_inputs = False
        self.inputs_count = 0

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, their tensors behind a node that ends the module's backward."""
        places, watched = _through_node("BackwardHook", args, self._ended)
        self.watches_inputs = bool(places)
        self.inputs_count = len(args)
        return watched

    def outputs(self, result: Any) -> Any:
        """The result, its tensors behind a node that begins the module's backward."""
        whole = result if isinstance(result, tuple) else (result,)
        if not isinstance(result, tuple | Tensor):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of "
                f"Tensors but received {type(result)}",
                stacklevel=5,
            )
        _, watched = _through_node("BackwardHook", whole, self._began)
        return watched if isinstance(result, tuple) else watched[0]

    def _began(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.before:
            found = hook(self.module, grads)
            if found is not None:
                grads = _same_length("Backward pre hook", "grad_output", found, grads)
        self.grad_outputs = grads
        if not self.watches_inputs:
            for hook in self.hooks:
                found = hook(self.module, (None,) * self.inputs_count, grads)
                if found is not None and any(g is not None for g in _tuple(found)):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always "
                        "return None or None for all gradients."
                    )
        return grads

    def _ended(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.grad_outputs is None:
            return grads
        for hook in self.hooks:
            found = hook(self.module, grads, self.grad_outputs)
            if found is not None:
                grads = _same_length("Backward hook", "grad_input", found, grads)
        self.grad_outputs = None
        return grads


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def _same_length(who: str, what: str, found: Any, before: tuple[Any, ...]) -> tuple[Any, ...]:
    found = _tuple(found)
    if len(found) != len(before):
        raise RuntimeError(
            f"{who} returned an invalid number of {what}, got {len(found)}, but expected "
            f"{len(before)}"
        )
    return found


def _through_node(
    name: str, values: tuple[Any, ...], seen: Callable[[tuple[Any, ...]], tuple[Any, ...]]
) -> tuple[list[int], tuple[Any, ...]]:
    """`values` with their tensors behind one identity node; `seen` gets (and may change) the
    gradients, placed as the values are, when they pass. Also the places of those tensors."""
    places = [i for i, v in enumerate(values) if isinstance(v, Tensor)]
    if not mode.enabled or not any(values[i].requires_grad for i in places):
        return [], values

    def pull(*grads: Any) -> tuple[Any, ...]:
        whole: list[Any] = [None] * len(values)
        for i, grad in zip(places, grads, strict=True):
            whole[i] = grad
        changed = seen(tuple(whole))
        return tuple(changed[i] if values_want[n] else None for n, i in enumerate(places))

    values_want = [values[i].requires_grad for i in places]
    edges = [edge_for(values[i]) if w else None for i, w in zip(places, values_want, strict=True)]
    node = PythonNode(name, edges, pull, len(places))
    out = list(values)
    for number, i in enumerate(places):
        if values_want[number]:
            out[i] = values[i]._alias(node, number)
    return places, tuple(out)


def _old_backward_hook(module: Module, hook: Hook, result: Any) -> None:
    found = result
    while not isinstance(found, Tensor):
        found = next(iter(found.values())) if isinstance(found, dict) else found[0]
    if found.grad_fn is not None:
        found.grad_fn.register_hook(lambda *grads: hook(module, *grads))
