"""`backward` and `grad`: the user's doors to the engine; below them Jacobians and Hessians."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fanal.autograd.engine import run_backward
from fanal.autograd.mode import mode
from fanal.core.errors import message

if TYPE_CHECKING:
    from fanal.tensor.tensor import Tensor


def _roots(
    name: str, outputs: Sequence[Any], gradients: Sequence[Any] | None
) -> list[tuple[Any, Any]]:
    from fanal.tensor.creation import ones

    given = list(gradients) if gradients is not None else [None] * len(outputs)
    if len(given) != len(outputs):
        raise RuntimeError(message(name, "not one gradient an output", len(given), str(len(outputs))))
    roots = []
    for tensor, gradient in zip(outputs, given, strict=True):
        if not tensor.requires_grad:
            raise RuntimeError(
                message(
                    name, "the tensor does not require grad and has no grad_fn",
                    f"{tensor.dtype.name} {tuple(tensor.shape)}",
                    hint="requires_grad_() on its inputs, outside of no_grad()",
                )
            )
        if gradient is None:
            if tensor._layout.numel != 1:
                raise RuntimeError(
                    message(
                        name, "gradient can be created for scalar outputs only",
                        tuple(tensor.shape), "one element, or `gradient`", "loss.sum() or .mean()",
                    )
                )
            gradient = ones(tuple(tensor.shape), dtype=tensor.dtype)
        elif tuple(gradient.shape) != tuple(tensor.shape):
            raise RuntimeError(
                message(
                    name, "the gradient's shape differs from the output's",
                    tuple(gradient.shape), str(tuple(tensor.shape)),
                )
            )
        roots.append((tensor, gradient))
    return roots


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add gradients of `tensors` to the `.grad` of leaves (of `inputs` only, if given)."""
    if mode.transforms:
        raise RuntimeError(
            message(
                "backward", "backward() is called inside of a function transform",
                hint="fanal.func.grad or vjp there, or backward() outside of it",
            )
        )
    outputs = _sequence(tensors)
    roots = _roots("backward", outputs, None if grad_tensors is None else _sequence(grad_tensors))
    retain = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        run_backward(roots, retain, create_graph)
        return
    wanted = _sequence(inputs)
    found = run_backward(roots, retain, create_graph, wanted)
    for position, grad in found.items():
        if grad is not None:
            wanted[position]._accumulate(grad, create_graph, False)


def _sequence(x: Any) -> Sequence[Any]:
    """One tensor, or any iterable of them (a tensor is iterable itself)."""
    return (x,) if hasattr(x, "_layout") or not isinstance(x, Iterable) else tuple(x)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]:
    """Gradients of `outputs` with respect to `inputs`, without touching any `.grad`.

    Raises RuntimeError where an input does not contribute, unless `allow_unused` (None then) or
    `materialize_grads` (zeros then). is_grads_batched: `grad_outputs` have a first dimension more,
    and so have the results (one backward pass each).
    """
    wanted = _sequence(inputs)
    if is_grads_batched:
        passes = [
            grad(outputs, wanted, g, True, create_graph, True, allow_unused, False, materialize_grads)
            for g in zip(*_sequence(grad_outputs), strict=True)
        ]
        from fanal.ops.shape import stack

        columns: Any = zip(*passes, strict=True)
        both: Any = tuple(None if c[0] is None else stack(list(c), 0) for c in columns)
        return both
    for tensor in wanted:
        if not tensor.requires_grad:
            raise RuntimeError(
                message("grad", "an input does not require grad", hint="requires_grad_() on it")
            )
    given = None if grad_outputs is None else _sequence(grad_outputs)
    roots = _roots("grad", _sequence(outputs), given)
    retain = create_graph if retain_graph is None else retain_graph
    found = run_backward(roots, retain, create_graph, wanted)
    results: list[Any] = []
    for position, tensor in enumerate(wanted):
        gradient = found.get(position)
        if gradient is None and materialize_grads:
            from fanal.tensor.creation import zeros_like

            gradient = zeros_like(tensor.detach())
        elif gradient is None and not allow_unused:
            raise RuntimeError(
                message(
                    "grad", f"input {position} was not used in the graph",
                    hint="allow_unused=True if that is intended",
                )
            )
        results.append(gradient)
    return tuple(results)


from fanal.autograd.jacobian import hessian, hvp, jacobian, jvp, vhp, vjp  # noqa: E402 - use grad

__all__ = ["backward", "grad", "hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
