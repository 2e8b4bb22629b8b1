"""`fanal.compile` and what stands around it, with PyTorch's names (`torch.compile`, `torch.compiler`)."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

from fanal.compiler.function import CompiledFunction
from fanal.compiler.observer.package import is_module
from fanal.compiler.rounding import Rounding
from fanal.core.dispatch import recorder, tracing
from fanal.core.errors import message

BACKENDS = ("native", "inductor", "eager")
_MODES = (None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str = "native",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """A function, method or module whose calls run as native programs; also a decorator.

    The first call of a kind (shapes, dtypes, modes) captures everything that the function does:
    forward, `loss.backward()`, `optimizer.step()`, buffers, random numbers. Later calls give the same
    bits as eager mode. A function that only computes is replayed without its Python; one with other
    effects runs its Python at every call, and what it computes is run as whole programs.

    dynamic: whether one program is to serve many sizes: at once (True), when a size has been seen to
    change (None), or never (False); see also `fanal.compiler.mark_dynamic`. fullgraph: an error where the
    function asks for a tensor's elements (`.item()`, `if x > 0`), which cuts its program in two. backend:
    "native" (also called "inductor"), or "eager" for none. options: {"exact": True} leaves out the rewrites
    that change a rounding (grade B, which `explain()` names), {"winograd": True} adds one that must be
    asked for, and so excludes it: 3×3 convolutions by Winograd's algorithm; all others, and mode, are
    accepted for PyTorch's sake. disable: return the function itself.

    >>> @fanal.compile
    ... def step(x, y):
    ...     optimizer.zero_grad()
    ...     loss = F.cross_entropy(model(x), y)
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    """
    if mode not in _MODES:
        raise RuntimeError(message("compile", "unknown mode", repr(mode), f"one of {_MODES[1:]}"))
    if callable(backend) or backend not in BACKENDS:
        raise RuntimeError(message("compile", "unknown backend", repr(backend), ", ".join(BACKENDS)))
    if model is None:
        return functools.partial(
            compile, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode, options=options,
            disable=disable,
        )  # fmt: skip
    if not callable(model):
        raise TypeError(
            message("compile", "not callable", type(model).__name__, "a function or a module")
        )
    if disable or backend == "eager":
        return model
    if isinstance(model, CompiledFunction):
        return model
    compiled = CompiledFunction(model, fullgraph, Rounding.of(options), dynamic)
    again = functools.partial(compile, fullgraph=fullgraph, dynamic=dynamic, options=options)
    return _compiled_module(model, compiled, again) if is_module(model) else compiled


def _compiled_module(
    module: Any, compiled: CompiledFunction, again: Callable[[Any], Any]
) -> Any:
    """The same module (its attributes are one dictionary), whose calls are compiled; `again` compiles a
    copy."""
    kind = type(module)
    body = {
        "__call__": compiled.__call__,
        "__deepcopy__": lambda self, memo: again(copy.deepcopy(module, memo)),
        "__reduce__": lambda self: (compile, (module,)),
        "__doc__": kind.__doc__, "__module__": kind.__module__, "_compiled": property(lambda self: compiled),
        "explain": lambda self: compiled.explain(),
    }  # fmt: skip
    made: Any = object.__new__(type(kind.__name__, (kind,), body))
    made.__dict__ = module.__dict__
    return made


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """A function that always runs eagerly, also when a captured function calls it."""
    if fn is None:
        return lambda f: disable(f, recursive)

    @functools.wraps(fn)
    def eager(*args: Any, **kwargs: Any) -> Any:
        listening = recorder()
        if listening is not None:
            listening.settle()
        with tracing(None):
            return fn(*args, **kwargs)

    return eager


def is_compiling() -> bool:
    """Whether the present call is being captured."""
    return recorder() is not None


def list_backends() -> list[str]:
    """What `compile(backend=…)` takes."""
    return list(BACKENDS)


def allow_in_graph(fn: Any) -> Any:
    """The function itself: whatever computes with tensors is captured."""
    return fn


assume_constant_result = allow_in_graph
