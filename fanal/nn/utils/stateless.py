"""A module called with other tensors in the place of its parameters and buffers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fanal.core.errors import message, nearest
from fanal.nn.module import Module

__all__ = ["functional_call"]


def _tables(module: Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Where each parameter and buffer stands: (table, name) by path."""
    found = {}
    for path, part in module.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for table in (part._parameters, part._buffers):
            for name in table:
                found[prefix + name] = (table, name)
    return found


def _with_ties(module: Module, given: dict[str, Any], tie: bool) -> dict[str, Any]:
    """The given tensors also for other names of the same parameter."""
    places = _tables(module)
    if not tie:
        return given
    names: dict[int, list[str]] = {}
    for path, (table, name) in places.items():
        if table[name] is not None:
            names.setdefault(id(table[name]), []).append(path)
    whole = dict(given)
    for group in names.values():
        values = {id(given[p]): given[p] for p in group if p in given}
        if len(values) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(group)}, which are tied. "
                "Consider using tie_weights=False"
            )
        for value in values.values():
            whole.update(dict.fromkeys(group, value))
    return whole


@contextmanager
def reparametrized(
    module: Module, tensors: Mapping[str, Any], tie_weights: bool = True, strict: bool = False
) -> Iterator[None]:
    """Inside, the module has other parameters and buffers (given by path)."""
    places = _tables(module)
    whole = _with_ties(module, dict(tensors), tie_weights)
    unknown = [p for p in whole if p not in places]
    missing = [p for p in places if p not in whole and strict and places[p][0][places[p][1]] is not None]
    if strict and (unknown or missing):
        text = "".join(
            f" {what} key(s): {', '.join(repr(n) for n in names)}."
            for what, names in (("Unexpected", unknown), ("Missing", missing)) if names
        )  # fmt: skip
        raise RuntimeError(f"Error(s) in reparametrizing for {type(module).__name__}:{text}")
    if unknown:
        close = nearest(unknown[0], places)
        raise AttributeError(
            message(
                "functional_call", f"{type(module).__name__} has no tensor {unknown[0]!r}",
                hint=" or ".join(close),
            )
        )
    before = {}
    try:
        # The module is as before in the end, so this is no change that the modules' epoch counts.
        for path, value in whole.items():
            table, name = places[path]
            before[path] = table[name]
            dict.__setitem__(table, name, value)
        yield
    finally:
        for path, value in before.items():
            table, name = places[path]
            dict.__setitem__(table, name, value)


def functional_call(
    module: Module, parameters_and_buffers: Any, args: Any = None, kwargs: Any = None, *,
    tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """`module(*args, **kwargs)` with tensors from a dictionary (or several) by path.

    `tie_weights`: a tensor that the module holds under two names is replaced under both.
    """
    given = parameters_and_buffers
    if isinstance(given, Sequence):
        merged: dict[str, Any] = {}
        for one in given:
            merged.update(one)
        given = merged
    if not isinstance(given, Mapping):
        raise ValueError(
            f"Expected parameters_and_buffers to be a dict, or a list/tuple of dicts, but got {type(given)}"
        )
    call = () if args is None else args if isinstance(args, tuple) else (args,)
    with reparametrized(module, given, tie_weights, strict):
        return module(*call, **(kwargs or {}))
