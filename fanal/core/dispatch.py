"""One door for every operation: `bind`, and the functions built on it.

A public operation is an ordinary Python function over primitives, marked `@fused`. What a call
does depends on who is listening:

- while a graph is being built (tracing), the body runs and each primitive appends a node;
- while a function is being captured, the recorder takes the whole call down (`lazy`);
- otherwise the *eager* interpreter, registered by the tensor layer, is handed the whole function:
  it traces the body once for these layouts, compiles it into one native program (and its gradient
  into another), and replays that from then on.

This module sits low because derivative rules call operations; it knows no graph and no tensor.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from fanal.core.cache import BoundedCache
from fanal.core.dtypes import default_listeners

_SHAPES = 8192  # programs kept for one function
F = TypeVar("F", bound=Callable[..., Any])


class Tracer(Protocol):
    """Whoever listens: the graph builder, which records primitives while a function's body is
    traced, or a recorder (`lazy`), which takes down calls on tensors that are run later."""

    lazy: bool

    def call(self, function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Take a call of a whole function."""

    def append(self, primitive: Any, inputs: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
        """Record one primitive; returns its output value, or a tuple of them."""


class _State(threading.local):
    tracer: Any = None  # a Tracer


state = _State()


def _nobody(function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise RuntimeError("no eager interpreter is registered: import fanal, not its parts")


_eager: Callable[[Fused, tuple[Any, ...], dict[str, Any]], Any] = _nobody


def register_eager(call: Callable[[Fused, tuple[Any, ...], dict[str, Any]], Any]) -> None:
    """Install the interpreter for calls on tensors; done once, by the tensor layer."""
    global _eager
    _eager = call


class tracing:
    """`with tracing(builder):` sends every primitive of this thread to `builder`."""

    __slots__ = ("previous", "tracer")

    def __init__(self, tracer: Tracer | None):
        self.tracer = tracer

    def __enter__(self) -> None:
        self.previous = state.tracer
        state.tracer = self.tracer

    def __exit__(self, *exc: object) -> None:
        state.tracer = self.previous


def is_tracing() -> bool:
    """Whether this thread is recording a graph of values (not: capturing calls on tensors)."""
    return state.tracer is not None and not state.tracer.lazy


def recorder() -> Any:
    """Whoever captures this thread's calls on tensors; None mostly."""
    tracer = state.tracer
    return tracer if tracer is not None and tracer.lazy else None


class LiveNumber(float):
    """A number that a captured call looks up anew each time; `source` says where."""

    __slots__ = ("source",)

    source: Any

    @classmethod
    def of(cls, value: float, source: Any) -> LiveNumber:
        """The number with its source."""
        made = cls(value)
        made.source = source
        return made


def bind(primitive: Any, *inputs: Any, **attributes: Any) -> Any:
    """Apply a primitive: append a node when tracing, else run it as a function of its own."""
    tracer = state.tracer
    if tracer is not None and not tracer.lazy:
        return tracer.append(primitive, inputs, attributes)
    return call_eager(_as_function(primitive), inputs, attributes)


def call_eager(function: Fused, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Hand a call on tensors to the recorder if there is one, else to the eager interpreter."""
    tracer = state.tracer
    if tracer is not None:
        return tracer.call(function, args, kwargs)
    return _eager(function, args, kwargs)


_all: weakref.WeakSet[Fused] = weakref.WeakSet()


def _forget() -> None:
    """Drop what was compiled for another default dtype."""
    for function in list(_all):
        function.cache.clear()


default_listeners.append(_forget)


class Fused:
    """A function over primitives, with the eager interpreter's cache of its compiled forms.

    `scalars` names parameters whose Python numbers are run-time inputs of the compiled program
    (a learning rate), so that a new value makes no new program; all others are part of the key.
    `view`: where the body only moves elements and strides can express it, the result shares memory.
    `out`: whether callers may give the tensors that the results are written to (`out=`).
    `label`: what profiles call it.
    """

    __slots__ = ("__weakref__", "body", "cache", "label", "name", "out", "scalars", "signature", "view")

    def __init__(
        self,
        body: Callable[..., Any],
        name: str,
        scalars: tuple[str, ...] = (),
        view: bool = False,
    ):
        self.view = view
        self.out = False
        self.body = body
        self.name = self.label = name
        self.scalars = frozenset(scalars)
        self.cache = BoundedCache(_SHAPES)
        self.signature: Any = None
        _all.add(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return call_eager(self, args, kwargs)

    def __repr__(self) -> str:
        return f"<fused {self.name}>"


def fused(
    function: F | None = None, *, scalars: tuple[str, ...] = (), view: bool = False
) -> Any:
    """Mark a composite function: in eager mode it runs as one native program each way.

    The body may use Python freely on its static arguments and on shapes and dtypes, never on
    tensor values. The wrapped function keeps name, signature and docstring.
    """
    if function is None:
        return lambda f: fused(f, scalars=scalars, view=view)
    record = Fused(function, function.__name__, scalars, view)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tracer = state.tracer
        if tracer is not None:
            return tracer.call(record, args, kwargs)
        return _eager(record, args, kwargs)

    wrapper.fused = record  # type: ignore[attr-defined]
    return wrapper


_functions: dict[Any, Fused] = {}


def _as_function(primitive: Any) -> Fused:
    found = _functions.get(primitive)
    if found is None:

        def body(*inputs: Any, **attributes: Any) -> Any:
            return bind(primitive, *inputs, **attributes)

        found = _functions[primitive] = Fused(body, primitive.name)
    return found
