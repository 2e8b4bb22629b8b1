"""Gradients against mathematics: analytic against central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fanal.autograd.functional import grad
from fanal.autograd.mode import enable_grad
from fanal.core.errors import message


class GradcheckError(RuntimeError):
    """An analytic gradient differs from the numerical one."""


def _tensors(result: Any) -> list[Any]:
    items = result if isinstance(result, tuple | list) else (result,)
    return [t for t in items if hasattr(t, "_storage") and t.is_floating_point()]


def _numerical(function: Callable[..., Any], inputs: Sequence[Any], which: int, eps: float) -> Any:
    """Jacobians of all outputs with respect to one input: a column an input element."""
    from fanal.autograd.mode import no_grad

    array = inputs[which].detach().numpy()
    columns = []
    with no_grad():
        for index in np.ndindex(array.shape):
            kept = array[index].item()
            array[index] = kept + eps
            above = [t.detach().numpy().copy() for t in _tensors(function(*inputs))]
            array[index] = kept - eps
            below = [t.detach().numpy().copy() for t in _tensors(function(*inputs))]
            array[index] = kept
            columns.append([(a - b).ravel() / (2 * eps) for a, b in zip(above, below, strict=True)])
    count = len(_tensors(function(*inputs)))
    return [np.stack([c[k] for c in columns], 0) if columns else None for k in range(count)]


def _analytic(output: Any, wanted: Any) -> Any:
    """One row an output element, transposed to match `_numerical`."""
    from fanal.tensor.creation import zeros_like

    rows = []
    for i in range(output.numel()):
        seed = zeros_like(output.detach()).contiguous()
        seed.numpy().reshape(-1)[i] = 1
        (g,) = grad(output, wanted, seed, retain_graph=True, allow_unused=True)
        rows.append(np.zeros(wanted.numel()) if g is None else g.detach().numpy().ravel().copy())
    return np.stack(rows, 1) if rows else None


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    **_: Any,
) -> bool:
    """Compare gradients with central differences; inputs should be float64 and require grad.

    Raises GradcheckError (or returns False) where they differ by more than atol + rtol·|numerical|.
    """
    given = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    checked = [
        i for i, t in enumerate(given) if hasattr(t, "_storage") and t.requires_grad
    ]
    if not checked:
        raise ValueError(message("gradcheck", "no input requires grad"))
    outputs = _tensors(func(*given))
    for i in checked:
        numerical = _numerical(func, given, i, eps)
        for k, output in enumerate(outputs):
            if not output.requires_grad:
                continue
            analytic = _analytic(output, given[i])
            expected = numerical[k]
            if analytic is None or expected is None:
                continue
            if not np.allclose(analytic, expected, rtol, atol, equal_nan=True):
                if not raise_exception:
                    return False
                worst = np.abs(analytic - expected).max()
                raise GradcheckError(
                    message(
                        "gradcheck", f"the gradient of output {k} in input {i} differs",
                        f"largest difference {worst:.3g}\nanalytic:\n{analytic}\nnumerical:\n{expected}",
                    )
                )
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    **_: Any,
) -> bool:
    """Check second derivatives: `gradcheck` of the gradient function."""
    given = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    outputs = _tensors(func(*given))
    if grad_outputs is None:
        from fanal.tensor.creation import tensor

        draw = np.random.default_rng(0).standard_normal
        seeds = [tensor(draw(o.shape), dtype=o.dtype).requires_grad_() for o in outputs]
    else:
        seeds = list(grad_outputs) if isinstance(grad_outputs, tuple | list) else [grad_outputs]
    count = len(given)

    def gradient(*args: Any) -> Any:
        with enable_grad():
            results = _tensors(func(*args[:count]))
            wanted = [a for a in args[:count] if hasattr(a, "_storage") and a.requires_grad]
            found = grad(results, wanted, args[count:], create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(gradient, (*given, *seeds), eps, atol, rtol, raise_exception)
