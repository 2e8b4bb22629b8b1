"""`functionalize`: a function without writes in place."""

from __future__ import annotations

from typing import Any

from fanal.core import pytree
from fanal.func.capture import Capture, write_back
from fanal.func.structure import Function, transforming, wraps
from fanal.tensor.plans import graph_function
from fanal.tensor.tensor import Tensor


def functionalize(func: Function, *, remove: str = "mutations") -> Function:
    """The same function, its writes replaced by new values, run as one program.

    Writes to arguments and to tensors from outside are made when the function has ended. remove:
    "mutations" or "mutations_and_views" (views are values in a program in any case).
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}. Valid "
            "options are 'mutations' and 'mutations_and_views'"
        )

    @wraps(func)
    def functional(*args: Any, **kwargs: Any) -> Any:
        given, around = pytree.flatten((args, kwargs))
        tensors = [x for x in given if isinstance(x, Tensor)]
        capture = Capture("functionalize")
        inner = [
            capture.input(x, tuple(x.shape), True, False) if isinstance(x, Tensor) else x
            for x in given
        ]
        named: dict[str, Any]
        placed, named = around.unflatten(inner)
        with transforming(), capture.running():
            leaves, structure = pytree.flatten(func(*placed, **named))
            numbers = {i: capture.number(x) for i, x in enumerate(leaves) if isinstance(x, Tensor)}
            writes = capture.writes(tensors)
        values = (*numbers.values(), *(w.number for w in writes))
        if values:
            function = capture.program(
                ("functionalize", values), lambda: graph_function("functionalize", capture.graph(values))
            )
            results = capture.run(function, [*tensors, *capture.captured()], values)
            capture.close()
            for i, value in zip(numbers, results, strict=False):
                leaves[i] = value
            write_back(writes, results[len(numbers) :])
        return structure.unflatten(leaves)

    return functional
