"""Gradients against mathematics: analytic against central differences, in float64.

A Jacobian is a matrix of float64 with a row for each element of an input and a column for each of
an output. The options, and what is checked in which order, are those of `torch.autograd.gradcheck`.
"""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fanal.autograd.functional import grad
from fanal.autograd.mode import enable_grad, no_grad
from fanal.core.dtypes import float64
from fanal.core.errors import message

_SEED = 0  # of the random directions; the user's generator is left alone


class GradcheckError(RuntimeError):
    """An analytic gradient differs from the numerical one."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compare gradients with central differences; inputs should be float64 and require grad.

    Raises GradcheckError (or returns False) where |analytical - numerical| is more than
    atol + rtol·|numerical|, where two backward passes differ by more than `nondet_tol`, or where a
    gradient of zero does not give zero. Every output is differentiated while the others have no
    gradient, which is what `check_undefined_grad` asks for. `fast_mode` compares whole Jacobians
    too; `masked` is about sparse tensors.
    """
    _refuse_modes(
        "gradcheck", check_batched_grad=check_batched_grad, check_forward_ad=check_forward_ad,
        check_batched_forward_grad=check_batched_forward_grad,
    )
    given = _as_tuple(inputs)
    try:
        wanted = _checked_inputs(given)
        outputs = _differentiable(func(*given))
        if not outputs:
            _check_zero(func, given, wanted, eps)
        elif check_backward_ad:
            _check_jacobians(func, given, wanted, outputs, eps, atol, rtol)
            _check_backward(given, wanted, outputs, nondet_tol, check_grad_dtypes)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Check second derivatives: `gradcheck` of the gradient function.

    `grad_outputs` are the gradients of the outputs, by default random ones; with
    `gen_non_contig_grad_outputs` these have gaps in memory.
    """
    _refuse_modes("gradgradcheck", check_fwd_over_rev=check_fwd_over_rev)
    given = _as_tuple(inputs)
    if grad_outputs is None:
        draw = random.Random(_SEED)
        outputs = _differentiable(func(*given))
        seeds = [_random_like(o, draw, gen_non_contig_grad_outputs) for o in outputs]
    else:
        seeds = list(_as_tuple(grad_outputs))
    count = len(given)

    def gradient(*args: Any) -> Any:
        with enable_grad():
            results = _differentiable(func(*args[:count]))
            wanted = [a for a in args[:count] if _is_tensor(a) and a.requires_grad]
            found = grad(results, wanted, args[count:], create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradient, (*given, *seeds), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes, check_batched_grad=check_batched_grad,
        fast_mode=fast_mode, masked=masked,
    )  # fmt: skip


# -- what is given ------------------------------------------------------------------------------------


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def _is_tensor(x: Any) -> bool:
    return hasattr(x, "_storage")


def _floating(result: Any) -> list[Any]:
    return [t for t in _as_tuple(result) if _is_tensor(t) and t.is_floating_point()]


def _differentiable(result: Any) -> list[Any]:
    return [t for t in _floating(result) if t.requires_grad]


def _refuse_modes(name: str, **flags: bool) -> None:
    for flag, on in flags.items():
        if on:
            raise NotImplementedError(
                message(name, "needs vmap or forward-mode derivatives, which are to come",
                        f"{flag}=True", f"{flag}=False")
            )  # fmt: skip


def _checked_inputs(given: Sequence[Any]) -> list[int]:
    """Numbers of the inputs that a gradient is wanted of."""
    wanted = [i for i, t in enumerate(given) if _is_tensor(t) and t.requires_grad]
    if not wanted:
        raise ValueError(
            message("gradcheck", "gradcheck expects at least one input tensor to require gradient, "
                    "but none of the them have requires_grad=True", hint="requires_grad_()")
        )  # fmt: skip
    for i in wanted:
        t = given[i]
        if t.dtype is not float64:
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point. This "
                "check will likely fail if all the inputs are not of double precision floating "
                "point.",
                stacklevel=3,
            )
        if any(s == 0 and n > 1 for s, n in zip(t.stride(), t.shape, strict=True)):
            raise RuntimeError(
                message("gradcheck", f"The {i}th input has a dimension with stride 0. gradcheck "
                        "only supports inputs that are non-overlapping to be able to compute the "
                        "numerical gradients correctly", hint="contiguous()")
            )  # fmt: skip
    return wanted


def _random_like(output: Any, draw: random.Random, gaps: bool) -> Any:
    from fanal.tensor.creation import tensor

    shape = (*output.shape, 2) if gaps else tuple(output.shape)
    count = output.numel() * (2 if gaps else 1)
    flat = tensor([draw.gauss(0, 1) for _ in range(count)], dtype=output.dtype)
    made = flat.reshape(shape)
    return (made[..., 0] if gaps else made).requires_grad_()


# -- Jacobians ------------------------------------------------------------------------------------------


def _indices(t: Any) -> Iterator[tuple[int, ...]]:
    return itertools.product(*map(range, t.shape))


def _numerical(
    func: Callable[..., Any], inputs: Sequence[Any], which: int, eps: float, numbers: Sequence[int]
) -> list[Any]:
    """Jacobians of the outputs `numbers` with respect to one input, by central differences."""
    x = inputs[which].detach()
    version = x._storage.version

    def outputs() -> list[Any]:
        found = _floating(func(*inputs))
        return [found[k].detach().to(float64, copy=True).reshape(-1) for k in numbers]

    rows = []
    with no_grad():
        for index in _indices(x):
            kept = x[index].item()
            try:
                x[index] = kept + eps
                above = outputs()
                x[index] = kept - eps
                below = outputs()
            finally:
                x[index] = kept
                x._storage.version = version  # nothing was changed, as the tape may know
            rows.append([(a - b) / (2 * eps) for a, b in zip(above, below, strict=True)])
        sizes = [t.numel() for t in outputs()] if not rows else [t.numel() for t in rows[0]]
        return [_matrix([r[k] for r in rows], size) for k, size in enumerate(sizes)]


def _analytical(output: Any, wanted: Any) -> Any:
    """The Jacobian of an output by backward passes, one for each of its elements."""
    from fanal.tensor.creation import zeros, zeros_like

    columns = []
    for index in _indices(output):
        seed = zeros_like(output.detach()).contiguous()
        seed[index] = 1
        (g,) = grad(output, wanted, seed, retain_graph=True, allow_unused=True)
        empty = zeros(wanted.numel(), dtype=float64)
        columns.append(empty if g is None else g.detach().to(float64).reshape(-1))
    return _matrix(columns, wanted.numel()).t()


def _matrix(rows: Sequence[Any], size: int) -> Any:
    from fanal.tensor.creation import empty

    made = empty(len(rows), size, dtype=float64)
    for i, row in enumerate(rows):
        made[i] = row
    return made


# -- checks ---------------------------------------------------------------------------------------------


def _check_zero(
    func: Callable[..., Any], given: Sequence[Any], wanted: Sequence[int], eps: float
) -> None:
    """No output requires grad: then none may depend on an input."""
    numbers = range(len(_floating(func(*given))))
    for i in wanted:
        for jacobian in _numerical(func, given, i, eps, numbers):
            if not bool((jacobian == 0).all()):
                raise GradcheckError(
                    message("gradcheck", "Numerical gradient for function expected to be zero")
                )


def _check_jacobians(
    func: Callable[..., Any], given: Sequence[Any], wanted: Sequence[int], outputs: Sequence[Any],
    eps: float, atol: float, rtol: float,
) -> None:  # fmt: skip
    from fanal.tensor.toplevel import allclose

    numbers = [k for k, t in enumerate(_floating(func(*given))) if t.requires_grad]
    for i in wanted:
        numerical = _numerical(func, given, i, eps, numbers)
        for k, (output, expected) in enumerate(zip(outputs, numerical, strict=True)):
            found = _analytical(output, given[i])
            if not allclose(found, expected, rtol, atol):
                worst = (found - expected).abs().max().item()
                raise GradcheckError(
                    message(
                        "gradcheck",
                        f"Jacobian mismatch for output {k} with respect to input {i}, largest "
                        f"difference {worst:.3g},\nnumerical:{expected}\nanalytical:{found}",
                    )
                )


def _check_backward(
    given: Sequence[Any], wanted: Sequence[int], outputs: Sequence[Any], nondet_tol: float,
    dtypes: bool,
) -> None:  # fmt: skip
    """Two backward passes agree, gradients have their inputs' shapes, and zero gives zero."""
    from fanal.tensor.creation import zeros_like

    inputs = [given[i] for i in wanted]
    draw = random.Random(_SEED)
    for k, output in enumerate(outputs):
        seed = _random_like(output, draw, False).detach()
        first, second, nothing = (
            grad(output, inputs, s, retain_graph=True, allow_unused=True)
            for s in (seed, seed, zeros_like(seed))
        )
        for i, x, a, b, zero in zip(wanted, inputs, first, second, nothing, strict=True):
            where = f"of output {k} in input {i}"
            if a is None:
                continue
            if a.shape != x.shape or (dtypes and a.dtype is not x.dtype):
                raise GradcheckError(
                    message("gradcheck", f"gradient {where} has incorrect shape or dtype",
                            f"{a.dtype.name} {tuple(a.shape)}", f"{x.dtype.name} {tuple(x.shape)}")
                )  # fmt: skip
            if a.numel() and not (a - b).detach().abs().max().item() <= nondet_tol:
                raise GradcheckError(
                    message("gradcheck", "Backward is not reentrant, i.e., running backward with "
                            "same input and grad_output multiple times gives different values, "
                            "although analytical gradient matches numerical gradient",
                            where, f"a difference of at most nondet_tol={nondet_tol}")
                )  # fmt: skip
            if zero is not None and not bool((zero == 0).all()):
                raise GradcheckError(
                    message("gradcheck", "backward not multiplied by grad_output", where)
                )
