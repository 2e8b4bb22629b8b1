"""Hooks of optimisers: functions called around `step`, `state_dict` and `load_state_dict`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

Hook = Callable[..., Any]
_numbers = itertools.count()


class RemovableHandle:
    """Takes a hook away again: `handle.remove()`, or at the end of a `with` block."""

    __slots__ = ("hooks", "id")

    def __init__(self, hooks: dict[int, Hook], hook: Hook, prepend: bool = False):
        self.hooks, self.id = hooks, next(_numbers)
        if prepend:
            earlier = dict(hooks)
            hooks.clear()
            hooks[self.id] = hook
            hooks.update(earlier)
        else:
            hooks[self.id] = hook

    def remove(self) -> None:
        """Forget the hook; doing it twice is no error."""
        self.hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


every_pre: dict[int, Hook] = {}
every_post: dict[int, Hook] = {}


def register_optimizer_step_pre_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` before each step of every optimiser."""
    return RemovableHandle(every_pre, hook)


def register_optimizer_step_post_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` after each step of every optimiser."""
    return RemovableHandle(every_post, hook)
