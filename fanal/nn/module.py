"""The base class of all models and layers.

A module holds parameters, buffers and other modules, which register themselves when they are
assigned to attributes. They live in three dictionaries, not in the instance's own, and attribute
access finds them there. Saving and loading stand in `state`, the call with hooks in `hooks`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from fanal.core.dispatch import recorder
from fanal.core.epoch import Epoch, Table, epoch
from fanal.nn.conversion import Conversion
from fanal.nn.hooks import Everywhere, HookedCall, RemovableHandle, add_hook, registered
from fanal.nn.hooks import _one_kind as one_kind
from fanal.nn.parameter import Buffer, Parameter
from fanal.nn.state import State
from fanal.nn.traversal import Traversal
from fanal.tensor.tensor import Tensor

__all__ = ["Epoch", "Module"]
P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class _Callable(Protocol[P, R]):
    """A module, as far as calling it goes."""

    @property
    def forward(self) -> Callable[P, R]: ...


def _unimplemented(self: Module, *input: Any) -> None:
    raise NotImplementedError(
        f'Module [{type(self).__name__}] is missing the required "forward" function'
    )


def type_name(x: Any) -> str:
    """An object's type as error messages name it."""
    kind = type(x)
    if kind.__module__ in ("", "builtins"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


_HOOKS = (
    "_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)  # fmt: skip


class Module(Traversal, Conversion, State):
    """Base class of models and layers: define `forward`, assign layers to attributes.

    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(784, 128)
    ...         self.out = nn.Linear(128, 10)
    ...     def forward(self, x):
    ...         return self.out(F.relu(self.hidden(x)))
    """

    dump_patches = False
    call_super_init = False
    _epoch = epoch
    training: bool
    _is_full_backward_hook: bool | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            if kwargs:
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                    f"'{next(iter(kwargs))}'"
                )
            if args:
                raise TypeError(
                    f"{type(self).__name__}.__init__() takes 1 positional argument but "
                    f"{len(args) + 1} were given"
                )
        self.__dict__.update(
            training=True,
            _parameters=Table(),
            _buffers=Table(),
            _non_persistent_buffers_set=set(),
            _modules=Table(),
            _is_full_backward_hook=None,
        )
        for name in _HOOKS:
            self.__dict__[name] = OrderedDict()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    forward: Callable[..., Any] = _unimplemented

    if TYPE_CHECKING:
        # A call has the parameters and the result of the class's own `forward`.
        def __call__(self: _Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...

    else:

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            if not (
                self._forward_hooks
                or self._forward_pre_hooks
                or self._backward_hooks
                or self._backward_pre_hooks
                or Everywhere.forward
                or Everywhere.forward_pre
                or Everywhere.backward
                or Everywhere.backward_pre
            ):
                return self.forward(*args, **kwargs)
            return HookedCall(self, args, kwargs).run()

    # -- registration --------------------------------------------------------------------------------

    def _check_name(self, what: str, name: Any, table: dict[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {type_name(name)}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if name not in table and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def _table(self, name: str, what: str) -> dict[str, Any]:
        table = self.__dict__.get(name)
        if table is None:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        return table

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a buffer: state that is not learned. `persistent`: it is saved in the state dict."""
        table = self._table("_buffers", "buffer")
        self._check_name("buffer", name, table)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type_name(tensor)}' object to buffer '{name}' "
                "(fanal.Tensor or None required)"
            )
        table[name] = registered(Everywhere.buffer_registration, self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)
        epoch.count += 1

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter (None: a place that is empty, and absent from the state dict)."""
        table = self._table("_parameters", "parameter")
        self._check_name("parameter", name, table)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{type_name(param)}' object to parameter '{name}' "
                    "(fanal.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    f"be created explicitly. To express '{name}' as a function of another Tensor, "
                    "compute the value in the forward() method."
                )
            param = registered(Everywhere.parameter_registration, self, name, param)
        table[name] = param
        epoch.count += 1

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child; it can be reached as an attribute of that name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type_name(module)} is not a Module subclass")
        table = self._table("_modules", "module")
        self._check_name("module", name, table)
        table[name] = registered(Everywhere.module_registration, self, name, module)
        epoch.count += 1

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    # -- attributes ----------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for table in ("_parameters", "_modules", "_buffers"):
            found = own.get(table)
            if found is not None and name in found:
                return found[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._table("_parameters", "parameters")
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._table("_modules", "module")
            self._forget(name, "_modules")
            value = registered(Everywhere.module_registration, self, name, value)
            own["_modules"][name] = value
            epoch.count += 1
        elif name in own.get("_parameters", ()):
            self._only_none(value, "parameter", name, "fanal.nn.Parameter or None expected")
            self.register_parameter(name, None)
        elif name in own.get("_modules", ()):
            self._only_none(value, "child module", name, "fanal.nn.Module or None expected")
            own["_modules"][name] = registered(Everywhere.module_registration, self, name, None)
            epoch.count += 1
        elif isinstance(value, Buffer) or name in own.get("_buffers", ()):
            self._set_buffer(name, value)
        else:
            epoch.count += 1
            object.__setattr__(self, name, value)

    def _set_buffer(self, name: str, value: Any) -> None:
        self._table("_buffers", "buffer")
        if value is not None and not isinstance(value, Tensor):
            self._only_none(
                value, "buffer", name, "fanal.nn.Buffer, fanal.Tensor or None expected"
            )
        if isinstance(value, Buffer):
            self._forget(name, "_buffers")
            persistent = value.persistent
        else:
            persistent = name not in self._non_persistent_buffers_set
        self.register_buffer(name, value, persistent)

    def _only_none(self, value: Any, what: str, name: str, expected: str) -> None:
        if value is not None:
            raise TypeError(f"cannot assign '{type_name(value)}' as {what} '{name}' ({expected})")

    def _forget(self, name: str, but: str) -> None:
        """Take a name out of wherever else it stands."""
        own = self.__dict__
        own.pop(name, None)
        for table in ("_parameters", "_buffers", "_modules"):
            if table != but:
                own[table].pop(name, None)
        if but != "_buffers":
            own["_non_persistent_buffers_set"].discard(name)

    def __delattr__(self, name: str) -> None:
        for table in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(table, ()):
                del self.__dict__[table][name]
                self._non_persistent_buffers_set.discard(name)
                epoch.count += 1
                return
        epoch.count += 1
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = [
            *dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers,
        ]  # fmt: skip
        return sorted(n for n in names if n and not n[0].isdigit())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in _HOOKS:
            self.__dict__.setdefault(name, OrderedDict())

    # -- hooks ---------------------------------------------------------------------------------------

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """`hook(module, args)` before forward; may return other arguments.

        With `with_kwargs`: `hook(module, args, kwargs)`, which may return (args, kwargs).
        """
        flags = {"kwargs": self._forward_pre_hooks_with_kwargs} if with_kwargs else {}
        return add_hook(self._forward_pre_hooks, hook, prepend, **flags)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """`hook(module, args, output)` after forward; what it returns replaces the output.

        With `with_kwargs`: `hook(module, args, kwargs, output)`. With `always_call` it runs also
        when forward raised.
        """
        flags = {"kwargs": self._forward_hooks_with_kwargs} if with_kwargs else {}
        if always_call:
            flags["always"] = self._forward_hooks_always_called
        return add_hook(self._forward_hooks, hook, prepend, **flags)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """`hook(module, grad_output)` before the gradient goes through the module."""
        return add_hook(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """`hook(module, grad_input, grad_output)` when the gradient went through the module; what
        it returns replaces grad_input."""
        self._is_full_backward_hook = one_kind(self._is_full_backward_hook, True)
        return add_hook(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """The old form of `register_full_backward_hook`: it sees the last operation only."""
        self._is_full_backward_hook = one_kind(self._is_full_backward_hook, False)
        return add_hook(self._backward_hooks, hook)

    # -- modes and gradients -------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Any:
        """Training mode (dropout, batch statistics) for this module and its children."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Any:
        """Evaluation mode; the same as `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Learn the parameters, or freeze them."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the parameters' gradients (or set them to zero)."""
        listening = recorder()
        for p in self.parameters():
            if listening is not None and set_to_none:
                listening.grad_set(p)  # whether there is one makes no difference
            if p.grad is not None:
                if set_to_none:
                    p.grad = None
                else:
                    p.grad = p.grad.detach()
                    p.grad.zero_()

    # -- text ----------------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the brackets of the module's text; override it in subclasses."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [
            f"({name}): {indented(repr(module))}" for name, module in self._modules.items()
        ]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({lines[0]})"
        if not lines and not children:
            return f"{self._get_name()}()"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines + children) + "\n)"


def indented(text: str, spaces: int = 2) -> str:
    """The lines of a text but the first moved to the right."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * spaces + line for line in rest)])


