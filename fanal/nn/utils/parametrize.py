"""Parameters computed from others: `register_parametrization(module, "weight", f)`.

The module gets a class of its own, in which `weight` is a property that computes f(original); the
original lies in `module.parametrizations.weight`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fanal.autograd.mode import no_grad
from fanal.nn.module import Module
from fanal.nn.modules.container import ModuleDict, ModuleList
from fanal.nn.parameter import Parameter
from fanal.tensor.tensor import Tensor

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization",
    "remove_parametrizations", "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]  # fmt: skip


class _Cache:
    depth = 0
    tensors: dict[tuple[int, str], Any] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Inside, a parametrised tensor is computed the first time that it is read, and kept."""
    _Cache.depth += 1
    try:
        yield
    finally:
        _Cache.depth -= 1
        if not _Cache.depth:
            _Cache.tensors.clear()


def _register(module: Module, name: str, value: Any) -> None:
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


def _check_same(what: str, name: str, before: Any, after: Any) -> None:
    """ValueError unless dtype and shape are unchanged."""
    if not isinstance(after, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(after).__name__}.")
    for field in ("dtype", "shape"):
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            raise ValueError(
                f"Registering a parametrization may not change the {field} of the tensor, unless "
                f"`unsafe` flag is enabled.\n{name}{field}: {old}\n{what}{field}: {new}"
            )


class ParametrizationList(ModuleList):
    """The parametrisations of one tensor, applied in order, and what they begin from.

    `original`, or `original0`, `original1`, … where the first one's right inverse gives several.
    """

    original: Any

    def __init__(self, modules: Sequence[Module], original: Any, unsafe: bool = False) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        pass
        if not isinstance(new, Tensor | Sequence):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if isinstance(new, Tensor):
            if new.dtype is not dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            if new is not original:
                original.data = new.detach()
            _register(self, "original", original)
        else:
            for i, one in enumerate(new):
                if not isinstance(one, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, "
                        f"tuple...). Got element {i} of the sequence with type "
                        f"{type(one).__name__}."
                    )
                if isinstance(original, Parameter):
                    one = Parameter(one.detach(), original.requires_grad)
                _register(self, f"original{i}", one)
        if not unsafe:
            made = self()
            before = type("_", (), {"shape": shape, "dtype": dtype})
            _check_same("parametrized ", "unparametrized ", before, made)

    def right_inverse(self, value: Any) -> None:
        """Set the originals so that the parametrised tensor becomes `value`."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                value = module.right_inverse(value)
            values = [value] if self.is_tensor else value
            if len(values) != self.ntensors:
                raise ValueError(
                    "'right_inverse' must return a sequence of tensors of length "
                    f"{self.ntensors}. Got a sequence of length {len(values)}."
                )
            for i, one in enumerate(values):
                mine = self.original if self.is_tensor else getattr(self, f"original{i}")
                if not isinstance(one, Tensor) or one.dtype is not mine.dtype:
                    raise ValueError(
                        f"The tensor returned by `right_inverse` has dtype "
                        f"{getattr(one, 'dtype', type(one).__name__)} while `original` has dtype "
                        f"{mine.dtype}"
                    )
                mine.data = one.detach()

    def forward(self) -> Any:
        first, *rest = self
        if self.is_tensor:
            x = first(self.original)
        else:
            x = first(*(getattr(self, f"original{i}") for i in range(self.ntensors)))
        for module in rest:
            x = module(x)
        return x


class _Parametrized:
    """What the injected class adds: copying, and no pickling of what can't be found by name."""

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Any:
        found = memo.get(id(self))
        if found is None:
            found = memo[id(self)] = self.__new__(type(self))
            found.__dict__ = copy.deepcopy(self.__dict__, memo)
        return found

    def __getstate__(self) -> Any:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict()."
        )


def _inject_class(module: Module) -> None:
    cls = type(module)
    body = {"__getstate__": _Parametrized.__getstate__, "_parametrized_from": cls}
    if not hasattr(cls, "__deepcopy__"):
        body["__deepcopy__"] = _Parametrized.__deepcopy__
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), body)


def _inject_property(module: Module, name: str) -> None:
    def get(self: Any) -> Any:
        parametrization = self.parametrizations[name]
        if not _Cache.depth:
            return parametrization()
        key = (id(self), name)
        if key not in _Cache.tensors:
            _Cache.tensors[key] = parametrization()
        return _Cache.tensors[key]

    def put(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, put))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute `module.<tensor_name>` by a module, from what has been that parameter (or buffer).

    The parametrisation may have `right_inverse(value)`, which gives the originals for a value; with
    it the tensor can be assigned to. `unsafe`: dtype and shape may change, nothing is checked.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_addition(module, tensor_name, parametrization)
        listed: Any = module.parametrizations[tensor_name]
        listed.append(parametrization)
        listed.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        made = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _inject_class(module)
            module.parametrizations = ModuleDict()
        _inject_property(module, tensor_name)
        module.parametrizations[tensor_name] = made
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    return module


def _check_addition(module: Module, name: str, parametrization: Any) -> None:
    before = getattr(module, name)
    after = parametrization(before)
    _check_same(f"parametrization(module.{name}).", f"module.{name}.", before, after)
    if hasattr(parametrization, "right_inverse"):
        try:
            back = parametrization.right_inverse(after)
        except NotImplementedError:
            return
        if not isinstance(back, Tensor):
            raise ValueError(
                f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}"
            )
        _check_same("right_inverse ", f"module.{name}.", before, back)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has a parametrisation (of the tensor, if one is named)."""
    found = getattr(module, "parametrizations", None)
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make the tensor an ordinary one again: with its present value, or with the original's."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    listed: Any = module.parametrizations[tensor_name]
    if listed.is_tensor:
        original = listed.original
        if leave_parametrized:
            with no_grad():
                original.data = getattr(module, tensor_name).detach()
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value.detach()) if value.requires_grad else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type_of_parametrized(type(module))
    return module


def type_of_parametrized(cls: Any) -> type:
    """The class that a parametrised module's class was made from."""
    return cls._parametrized_from


def type_before_parametrizations(module: Module) -> type:
    """The module's class as it was before it was parametrised."""
    return type_of_parametrized(type(module)) if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Parametrise another module's tensors as the first one's, with the same originals."""
    if not is_parametrized(from_module):
        return to_module
    table: Any = from_module.parametrizations
    for name in [tensor_name] if tensor_name is not None else list(table):
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        for parametrization in table[name]:
            register_parametrization(to_module, name, parametrization)
        source, target = table[name], to_module.parametrizations[name]
        for key in [*source._parameters, *source._buffers]:
            setattr(target, key, getattr(source, key))
    return to_module
