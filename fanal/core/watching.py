"""Whoever watches this thread's Python, and how to be left alone by them.

A watched thread runs at half of its speed, functions that nobody looks at included. What only computes
and may take long (tracing, deriving, compiling) is marked `@unwatched`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Watcher(Protocol):
    """Somebody who can look away."""

    def pause(self) -> None:
        """Watch nothing until `resume`."""

    def resume(self) -> None:
        """Watch again."""


class _Active(threading.local):
    watcher: Watcher | None = None


active = _Active()


def unwatched(function: F) -> F:
    """A function that runs without being watched."""

    @functools.wraps(function)
    def alone(*args: Any, **kwargs: Any) -> Any:
        watcher = active.watcher
        if watcher is None:
            return function(*args, **kwargs)
        active.watcher = None
        watcher.pause()
        try:
            return function(*args, **kwargs)
        finally:
            active.watcher = watcher
            watcher.resume()

    return alone  # type: ignore[return-value]
