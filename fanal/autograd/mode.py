"""Whether operations are recorded: `no_grad`, `enable_grad`, `inference_mode`, per thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class _Mode(threading.local):
    enabled = True
    inference = False
    transforms = 0  # how many transforms of `fanal.func` are running


mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether gradients are being recorded in this thread."""
    return mode.enabled


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return mode.inference


class _Switch:
    """A context manager and decorator that sets the mode and puts it back."""

    def __init__(self, enabled: bool, inference: bool | None = None):
        self._enabled, self._inference = enabled, inference
        self._before: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self._before.append((mode.enabled, mode.inference))
        mode.enabled = self._enabled
        if self._inference is not None:
            mode.inference = self._inference

    def __exit__(self, *exc: object) -> None:
        mode.enabled, mode.inference = self._before.pop()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]

    def clone(self) -> _Switch:
        return _Switch(self._enabled, self._inference)


class no_grad(_Switch):
    """Nothing inside is recorded for gradients: `with no_grad():` or `@no_grad()`."""

    def __new__(cls, function: Any = None) -> Any:
        self = super().__new__(cls)
        if callable(function):  # used as `@no_grad` without parentheses
            self.__init__()  # type: ignore[misc]
            return self(function)
        return self

    def __init__(self, function: Any = None) -> None:
        super().__init__(False)


class enable_grad(_Switch):
    """Recording inside, also within `no_grad`."""

    def __new__(cls, function: Any = None) -> Any:
        self = super().__new__(cls)
        if callable(function):
            self.__init__()  # type: ignore[misc]
            return self(function)
        return self

    def __init__(self, function: Any = None) -> None:
        super().__init__(True)


class inference_mode(_Switch):
    """As `no_grad`; the results can't be used in recorded computations later."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not mode, mode)


class set_grad_enabled(_Switch):
    """Switch recording on or off at once; as a context manager, puts it back at the end."""

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self._earlier = (globals()["mode"].enabled, globals()["mode"].inference)
        globals()["mode"].enabled = bool(mode)

    def __enter__(self) -> None:
        self._before.append(self._earlier)
        mode.enabled = self._enabled
