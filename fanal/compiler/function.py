"""`fanal.compile`: a function whose calls are captured and run as native programs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fanal.compiler.recorder import Recorder
from fanal.compiler.steps import Step
from fanal.core.dispatch import state


class CompiledFunction:
    """A function (or module) whose calls run as native programs. Made by `fanal.compile`."""

    def __init__(self, function: Callable[..., Any]):
        functools.update_wrapper(self, function)
        self.function = function
        self.root = Step(None, 0, None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if state.tracer is not None:  # inside of another captured function: a part of it
            return self.function(*args, **kwargs)
        recorder = Recorder(self.root)
        state.tracer = recorder
        try:
            return self.function(*args, **kwargs)
        finally:
            try:
                recorder.settle()
            finally:
                state.tracer = None

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)


def compile(function: Any = None, **options: Any) -> Any:
    """Compile a function."""
    if function is None:
        return lambda f: compile(f, **options)
    return CompiledFunction(function)
