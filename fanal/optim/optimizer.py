"""The base of all optimisers: parameter groups, state, hooks, saving and loading.

An optimiser holds groups of parameters with options, and a dictionary of state for each parameter.
What a step computes is written in the subclasses; see `rule.py` for how it becomes one program.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from fanal.autograd.mode import mode
from fanal.core.dispatch import recorder
from fanal.core.errors import message
from fanal.optim import hooks as hooks_of_all
from fanal.optim.hooks import Hook, RemovableHandle
from fanal.optim.states import States, adapted
from fanal.tensor.tensor import Tensor

Group = dict[str, Any]
class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def _hook_names() -> list[str]:
    return [name for name in Optimizer.__annotations__ if name.endswith("_hooks")]


def hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """A `step` method with the hooks around it (only around the one that the user called)."""

    @functools.wraps(step)
    def wrapper(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if self._stepping:
            return step(self, *args, **kwargs)
        self._stepping = self._opt_called = True
        try:
            if not (
                self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks
                or hooks_of_all.every_pre or hooks_of_all.every_post
            ):  # fmt: skip
                return step(self, *args, **kwargs)
            return _step_with_hooks(self, step, args, kwargs)
        finally:
            self._stepping = False

    wrapper.hooked = True  # type: ignore[attr-defined]
    return wrapper


def _step_with_hooks(self: Optimizer, step: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    args = (self, *args)
    before = (*hooks_of_all.every_pre.values(), *self._optimizer_step_pre_hooks.values())
    for hook in before:
        found = hook(self, args, kwargs)
        if found is None:
            continue
        if not isinstance(found, tuple) or len(found) != 2:
            raise RuntimeError(
                message(
                    "step", "a pre hook returned something else", repr(found),
                    "None or a tuple of (new_args, new_kwargs)",
                )
            )
        args, kwargs = found
    result = step(*args, **kwargs)
    after = (*self._optimizer_step_post_hooks.values(), *hooks_of_all.every_post.values())
    for hook in after:
        hook(self, args, kwargs)
    return result


class Optimizer:
    """Base class of optimisers, as `torch.optim.Optimizer`.

    params: tensors, (name, tensor) pairs, or dicts {"params": …, option: value} for groups with
    options of their own. defaults: options of groups that don't give them.
    """

    _optimizer_step_pre_hooks: dict[int, Hook]
    _optimizer_step_post_hooks: dict[int, Hook]
    _optimizer_state_dict_pre_hooks: dict[int, Hook]
    _optimizer_state_dict_post_hooks: dict[int, Hook]
    _optimizer_load_state_dict_pre_hooks: dict[int, Hook]
    _optimizer_load_state_dict_post_hooks: dict[int, Hook]
    state: defaultdict[Any, Any]
    param_groups: list[Group]
    _stepping = False
    _opt_called = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        step = cls.__dict__.get("step")
        if step is not None and not getattr(step, "hooked", False):
            cls.step = hooked(step)  # type: ignore[method-assign]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        for name in _hook_names():
            setattr(self, name, {})
        if isinstance(params, Tensor):
            raise TypeError(
                message(
                    type(self).__name__,
                    "params argument given to the optimizer should be an iterable of Tensors or "
                    "dicts", type(params).__name__, hint="[tensor]",
                )
            )
        self.state = States()
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise ValueError(
                message(
                    type(self).__name__, "optimizer got an empty parameter list",
                    hint="list(model.parameters()), which an earlier loop may have used up",
                )
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    # -- groups ---------------------------------------------------------------------------------

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters, with options of its own: `{"params": [...], "lr": 0.1}`."""
        if not isinstance(param_group, dict):
            raise TypeError(
                message(
                    "add_param_group", "param_group must be a dict", type(param_group).__name__
                )
            )
        _normalise(param_group)
        for p in param_group["params"]:
            self._check_param(p)
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    message(
                        "add_param_group",
                        "parameter group didn't specify a value of required optimization "
                        f"parameter {name}",
                    )
                )
            param_group.setdefault(name, default)
        if len(set(map(id, param_group["params"]))) != len(param_group["params"]):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; each is "
                "stepped as often as it stands there",
                stacklevel=3,
            )
        self._check_against_others(param_group)
        self.param_groups.append(param_group)

    def _check_param(self, p: Any) -> None:
        if not isinstance(p, Tensor):
            raise TypeError(
                message(
                    "add_param_group", "optimizer can only optimize Tensors, but one of the params "
                    "is something else", type(p).__name__, "a Tensor",
                )
            )
        if not self.defaults.get("differentiable") and not (p.is_leaf or p.retains_grad):
            raise ValueError(
                message(
                    "add_param_group", "can't optimize a non-leaf Tensor", tuple(p.shape),
                    hint="the leaf itself, or detach().requires_grad_()",
                )
            )

    def _check_against_others(self, param_group: Group) -> None:
        known: set[int] = set()
        for group in self.param_groups:
            known.update(map(id, group["params"]))
            if ("param_names" in param_group) != ("param_names" in group):
                which = "with names" if "param_names" in param_group else "without names"
                raise ValueError(
                    message(
                        "add_param_group", "all optimizer param groups should be with/without "
                        f"names. cannot add param group {which} to the optimizer",
                    )
                )
        if not known.isdisjoint(map(id, param_group["params"])):
            raise ValueError(
                message("add_param_group", "some parameters appear in more than one parameter group")
            )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set them to zero."""
        listening = recorder()
        for group in self.param_groups:
            for p in group["params"]:
                if listening is not None and set_to_none:
                    listening.grad_set(p)  # whether there is one makes no difference
                if p.grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                    continue
                if p.grad.requires_grad:
                    p.grad = p.grad.detach()
                p.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; `closure` computes the loss anew, and its result is returned."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make the state of all parameters now, not at the first step (for capturing a step).

        `state` and `state_dict` don't show it before the first step, as in PyTorch.
        """

    # -- saving -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State and options: `{"state": {index: {...}}, "param_groups": [...]}`.

        Parameters are numbered in the order of the groups. Tensors are those in use, no copies.
        """
        for hook in self._hooks("state_dict_pre"):
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                numbers.setdefault(id(p), len(numbers))
            packed = {k: v for k, v in group.items() if k != "params"}
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {
            numbers[id(k)] if isinstance(k, Tensor) else k: v for k, v in self.state.items()
        }
        found: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._hooks("state_dict_post"):
            found = _or(hook(self, found), found)
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave: tensors are copied, options replace the present."""
        state_dict = state_dict.copy()
        for hook in self._hooks("load_state_dict_pre"):
            state_dict = _or(hook(self, state_dict), state_dict)
        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError(
                message(
                    "load_state_dict",
                    "loaded state dict has a different number of parameter groups", len(saved),
                    str(len(groups)),
                )
            )
        sizes = [(len(a["params"]), len(b["params"])) for a, b in zip(groups, saved, strict=True)]
        if any(mine != theirs for mine, theirs in sizes):
            raise ValueError(
                message(
                    "load_state_dict", "loaded state dict contains a parameter group that doesn't "
                    "match the size of optimizer's group", [b for _, b in sizes],
                    str([a for a, _ in sizes]),
                )
            )
        params = dict(
            zip(
                itertools.chain.from_iterable(g["params"] for g in saved),
                itertools.chain.from_iterable(g["params"] for g in groups),
                strict=True,
            )
        )
        state = States()
        for key, value in state_dict["state"].items():
            if key in params:
                state[params[key]] = adapted(params[key], value)
            else:
                state[key] = value
        for mine, theirs in zip(groups, saved, strict=True):
            theirs["params"] = mine["params"]
            if "param_names" in mine:
                theirs.setdefault("param_names", mine["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._hooks("load_state_dict_post"):
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "defaults": self.defaults, "state": self.state, "param_groups": self.param_groups
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in _hook_names():
            self.__dict__.setdefault(name, {})

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    # -- hooks ------------------------------------------------------------------------------------

    def _hooks(self, kind: str) -> list[Hook]:
        return list(getattr(self, f"_optimizer_{kind}_hooks").values())

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return new (args, kwargs)."""
        return RemovableHandle(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return RemovableHandle(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict`."""
        return RemovableHandle(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after `state_dict`; it may return another dict."""
        return RemovableHandle(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before loading; it may return another dict."""
        return RemovableHandle(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Hook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer)` after loading."""
        return RemovableHandle(self._optimizer_load_state_dict_post_hooks, hook, prepend)


def _or(found: Any, otherwise: Any) -> Any:
    return otherwise if found is None else found


def _normalise(group: Group) -> None:
    """Make `params` a list of tensors, and `param_names` of their names where they have any."""
    params = group["params"]
    if isinstance(params, set | frozenset):
        raise TypeError(
            message(
                "add_param_group", "optimizer parameters need to be organized in ordered "
                "collections, but the ordering of tensors in sets will change between runs",
                "a set", "a list",
            )
        )
    given = [params] if isinstance(params, Tensor) else list(params)
    names = [p[0] for p in given if isinstance(p, tuple)]
    group["params"] = [p[1] if isinstance(p, tuple) else p for p in given]
    if names:
        if len(names) != len(given):
            raise ValueError(
                message(
                    "add_param_group", "all optimizer params should be with/without names. Some "
                    "param names are missing", f"{len(names)} names for {len(given)} parameters",
                )
            )
        group["param_names"] = names


def with_closure(closure: Callable[[], Any] | None) -> Any:
    """The loss that a closure computes, with gradients on; None without a closure."""
    if closure is None:
        return None
    before = mode.enabled
    mode.enabled = True
    try:
        return closure()
    finally:
        mode.enabled = before
