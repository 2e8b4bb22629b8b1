"""`dynamic_shapes` in one form: which dimensions of which tensors stay open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fanal.core.errors import message
from fanal.export.dims import Dim, Hint
from fanal.tensor.tensor import Tensor


def open_dims(given: Any, arguments: Mapping[str, Any]) -> dict[int, dict[int, Dim]]:
    """The dims of tensors among arguments, by the tensors' identity.

    Given as a dict by argument name, or as a tuple or list by position; for each argument a dict
    {dimension: Dim} or a tuple with a Dim, None or a number for each dimension, or None; nested as the
    arguments are.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        unknown = [n for n in given if n not in arguments]
        if unknown:
            raise ValueError(
                message("export", "dynamic_shapes names arguments that there are not", ", ".join(map(repr, unknown)),
                        "some of " + ", ".join(map(repr, arguments)))
            )  # fmt: skip
        pairs = [(arguments[n], spec) for n, spec in given.items()]
    elif isinstance(given, tuple | list):
        if len(given) > len(arguments):
            raise ValueError(
                message("export", "dynamic_shapes has more entries than there are arguments",
                        len(given), f"at most {len(arguments)}")
            )  # fmt: skip
        pairs = list(zip(arguments.values(), given, strict=False))
    else:
        raise TypeError(message("export", "dynamic_shapes is of another type", type(given).__name__, "a dict or a tuple"))
    found: dict[int, dict[int, Dim]] = {}
    for value, spec in pairs:
        _collect(value, spec, found)
    return found


def _collect(value: Any, spec: Any, found: dict[int, dict[int, Dim]]) -> None:
    if spec is None:
        return
    if isinstance(value, Tensor):
        entries = spec.items() if isinstance(spec, Mapping) else enumerate(spec) if isinstance(spec, tuple | list) else None
        if entries is None:
            raise TypeError(message("export", "no dynamic shape of a tensor", repr(spec), "{dimension: Dim} or a tuple with one entry for each dimension"))
        chosen = {}
        for d, dim in entries:
            if not isinstance(d, int) or not -value.ndim <= d < value.ndim:
                raise ValueError(message("export", f"a dimension that a tensor of shape {tuple(value.shape)} has not", d, f"0 to {value.ndim - 1}"))
            if isinstance(dim, int) and not isinstance(dim, bool):
                if dim != value.shape[d]:
                    raise ValueError(message("export", f"dynamic_shapes says that dimension {d} is another size than the example's", dim, str(value.shape[d])))
            elif isinstance(dim, Dim):
                chosen[d % value.ndim] = dim
            elif isinstance(dim, Hint):  # a name for each, since nothing is known to be equal
                if dim is not Dim.STATIC:
                    chosen[d % value.ndim] = Dim(f"dim_{sum(map(len, found.values())) + len(chosen)}")
            elif dim is not None:
                raise TypeError(message("export", "no dimension", repr(dim), "Dim, None or the size"))
        found[id(value)] = chosen
        return
    if isinstance(value, Mapping) and isinstance(spec, Mapping):
        for key, inner in spec.items():
            _collect(value[key], inner, found)
    elif isinstance(value, tuple | list) and isinstance(spec, tuple | list):
        for item, inner in zip(value, spec, strict=False):
            _collect(item, inner, found)
    else:
        raise TypeError(message("export", "dynamic_shapes is built otherwise than the arguments", type(spec).__name__, f"as {type(value).__name__}"))
