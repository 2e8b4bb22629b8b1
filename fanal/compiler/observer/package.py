"""What the observer knows of this package: modules, tensors, optimisers and which functions compute.

Functions of the package are not watched instruction by instruction. What they read of modules is
covered by the modules' epoch, what they do to tensors by the recorder; what has other effects is
listed here.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

from fanal.compiler.observer import frames
from fanal.compiler.observer.guards import MISSING
from fanal.core.epoch import Epoch, epoch
from fanal.tensor.layout import Layout
from fanal.tensor.tensor import Tensor

_PACKAGE = __name__.split(".", 1)[0] + "."
UNKNOWN = object()  # not this package's to judge
# Where functions only compute from tensors, shapes and numbers.
_COMPUTE = tuple(
    _PACKAGE + m
    for m in (
        "ops.", "tensor.", "nn.functional", "nn.modules.", "nn.utils.clip_grad", "nn.utils.convert", "nn.utils.rnn",
        "linalg", "special", "signal", "autograd.", "random.sampling", "compiler.", "func.", "utils.",
        "core.dtypes", "core.dispatch", "core.errors", "distributions.", "graph.", "profiler.ranges",
        "amp.autocast",
    )
)  # fmt: skip
_METHODS = {
    "__call__", "forward", "parameters", "named_parameters", "buffers", "named_buffers", "children",
    "named_children", "modules", "named_modules", "zero_grad", "__getattr__", "__iter__", "__len__",
    "__getitem__", "__contains__", "keys", "values", "items", "get_parameter", "get_buffer",
    "get_submodule", "extra_repr", "__dir__", "functional_call",
}  # fmt: skip
# Where functions of modules only compute.
_OF_MODULES = (_PACKAGE + "nn.modules", _PACKAGE + "utils.checkpoint")
_CHANGES = {
    "requires_grad_", "register_hook", "register_post_accumulate_grad_hook", "retain_grad", "detach_",
    "set_", "resize_", "resize_as_", "share_memory_", "apply_", "map_", "squeeze_", "unsqueeze_", "t_",
    "transpose_", "swapaxes_", "swapdims_", "as_strided_", "module_load",
}  # fmt: skip
_EFFECTS = (
    "tensor.saving", "tensor.printing", "tensor.threads", "tensor.memory", "tensor.from_numpy",
)  # fmt: skip
_OUTSIDE = {"from_numpy", "as_tensor", "asarray", "frombuffer", "from_dlpack", "manual_seed", "seed"}
_TENSOR_FACTS = {"_version", "grad_fn", "output_nr", "data_ptr", "untyped_storage", "storage_offset", "retains_grad"}


class Package:
    """The package's part of one observation. `effects`: calls to be made at each replay too."""

    def __init__(self, covered: frozenset[int] = frozenset()) -> None:
        self.modules: dict[int, Any] = {}
        self.tensors: dict[int, Tensor] = {}
        self.seen: dict[int, tuple[Tensor, Layout]] = {}  # tensors from outside, and what they were
        self.effects: list[Callable[[], Any]] = []
        self.noted: Callable[[Callable[[], Any]], None] = self.effects.append
        self._covered = covered  # containers whose contents are in the call's key

    # -- modules -----------------------------------------------------------------------------------------

    def entered(self, frame: types.FrameType) -> None:
        """A function of the package was called: if it is a module's, note the module."""
        if frame.f_code.co_argcount and (frame.f_globals.get("__name__") or "").startswith(
            _PACKAGE + "nn."
        ):
            self._note(frames.local(frame, 0))

    def _note(self, x: Any) -> bool:
        if is_module(x):
            if id(x) not in self.modules:
                self.modules[id(x)] = x
                for t in tensors_of(x):
                    self.seen.setdefault(id(t), (t, t._layout))
            return True
        return False

    def covers(self, x: Any) -> bool:
        """Whether the attributes of an object need no guard: those of modules count in the epoch."""
        if id(x) in self._covered:
            return True
        return self._note(x) and type(x).__setattr__ is _module_setattr(type(x))

    def covers_container(self, x: Any) -> bool:
        return id(x) in self._covered

    def owns(self, kind: type) -> bool:
        """Whether a class is the package's: it is not changed at run time."""
        return (kind.__module__ or "").startswith(_PACKAGE)

    def member(self, x: Any, name: str) -> Any:
        """A parameter, buffer or child of a module."""
        if self._note(x):
            for table in ("_parameters", "_modules", "_buffers"):
                found = x.__dict__.get(table)
                if found is not None and name in found:
                    return found[name]
        return MISSING

    # -- tensors -----------------------------------------------------------------------------------------

    def tensor(self, t: Tensor) -> None:
        """A tensor came from outside."""
        self.tensors[id(t)] = t
        self.seen.setdefault(id(t), (t, t._layout))

    def tensor_attribute(self, t: Tensor, name: str) -> str | None:
        """Why reading an attribute of a tensor from outside can't be replayed; None if it can."""
        if name in _TENSOR_FACTS:
            return f"{name} of a tensor from outside"
        if name == "grad":
            t.grad  # noqa: B018 - noted by the recorder
        return None

    # -- calls -------------------------------------------------------------------------------------------

    def judge(self, function: Any, args: list[Any]) -> Any:
        """Why a call can't be replayed, None if it can; UNKNOWN for what is not the package's."""
        kind = type(function)
        if kind is types.FunctionType:
            module = function.__module__ or ""
            if not module.startswith(_PACKAGE):
                return UNKNOWN
            return self._function(function, module, args)
        if isinstance(function, type):
            if not self.owns(function):
                return UNKNOWN
            return self._class(function)
        if is_module(function):
            self._note(function)
            return None
        if not (kind.__module__ or "").startswith(_PACKAGE):
            return UNKNOWN
        name = kind.__name__
        return None if name in ("CompiledFunction", "Fused") else f"a call of a {name}"

    def _function(self, function: Any, module: str, args: list[Any]) -> str | None:
        name = function.__name__
        text = f"{module.removeprefix(_PACKAGE)}.{name}()"
        if module.startswith(_PACKAGE + "optim"):
            return self._optimizer(function, name, args, text)
        if name in _OUTSIDE or module.removeprefix(_PACKAGE).startswith(_EFFECTS):
            return text
        if name in _CHANGES and args and id(args[0]) in self.tensors:
            return f"{name}() of a tensor from outside"
        if args and is_module(args[0]):
            self._note(args[0])
            return None if name in _METHODS or module.startswith(_OF_MODULES) else text
        if module.startswith(_COMPUTE):
            return None
        return text

    def _optimizer(self, function: Any, name: str, args: list[Any], text: str) -> str | None:
        if name == "zero_grad" or (name == "step" and hasattr(args[0], "rule")):
            return None
        if name == "step" and "lr_scheduler" in function.__module__:
            if any(isinstance(a, Tensor) for a in args):
                return text
            self.noted(lambda: function(*args))
            return None
        if name in ("get_last_lr", "add_param_group"):
            return text
        return text

    def _class(self, kind: type) -> str | None:
        module = kind.__module__.removeprefix(_PACKAGE)
        if module.startswith(
            ("autograd.mode", "ops.", "core.", "nn.parameter", "distributions.", "profiler.ranges",
             "amp.autocast")
        ):
            return None
        if issubclass(kind, Tensor) or issubclass(kind, BaseException) or issubclass(kind, tuple):
            return None
        return f"a new {kind.__name__}"


def tensors_of(module: Any) -> Iterator[Tensor]:
    """A module's own parameters and buffers."""
    for table in ("_parameters", "_buffers"):
        yield from (t for t in module.__dict__.get(table, {}).values() if t is not None)


def is_module(x: Any) -> bool:
    """Whether an object is a module: its class counts changes in the epoch."""
    return isinstance(getattr(type(x), "_epoch", None), Epoch)


def _module_setattr(kind: type) -> Any:
    """`Module.__setattr__`, found on the base that brings the epoch."""
    base = next(c for c in kind.__mro__ if "_epoch" in c.__dict__)
    return base.__setattr__


class ModuleFacts:
    """Plain attributes and parts of modules, to be compared when the epoch has moved on."""

    def __init__(self, modules: list[Any]):
        self.modules = modules
        self.facts = [_facts(m) for m in modules]
        self.count, self.hooks = epoch.count, epoch.hooks

    def hold(self) -> bool:
        """Whether nothing has changed since; cheap as long as no module anywhere did."""
        if epoch.hooks != self.hooks:
            return False
        if epoch.count == self.count:
            return True
        now = epoch.count
        for m, facts in zip(self.modules, self.facts, strict=True):
            found = _facts(m)
            if len(found) != len(facts) or not all(map(_same, found, facts)):
                return False
        self.count = now
        return True


_TABLES = ("_parameters", "_buffers", "_modules")


def _facts(m: Any) -> list[Any]:
    own = m.__dict__
    found = [x for pair in own.items() for x in pair]
    for table in _TABLES:
        for pair in own.get(table, {}).items():
            found += pair
    return found


def _same(a: Any, b: Any) -> bool:
    from fanal.compiler.observer.guards import same

    return a is b or same(a, b)
