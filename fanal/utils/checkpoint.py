"""Less memory for more work: a part of a model is computed again in the backward pass.

Nothing inside the part is kept for its gradient; the part runs a second time, with the random state
and the mode of the first, when the gradient arrives. In a compiled function the operations of the second
time begin at `after` (`ops.stops`), which keeps them apart from the first and behind the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fanal import autograd
from fanal.autograd.mode import enable_grad, mode
from fanal.core.dispatch import bind, fused, recorder
from fanal.core.errors import message
from fanal.ops.stops import after_p
from fanal.random.generator import default_generator
from fanal.tensor.creation import zeros
from fanal.tensor.tensor import Tensor

__all__ = ["checkpoint", "checkpoint_sequential"]


@fused
def _after(x: Any, *others: Any) -> Any:
    """x for a second computation, which must wait for others."""
    return bind(after_p, x, *others)


class _Checkpoint(autograd.Function):
    """Calls a function without a tape; its backward calls it again with one."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, run: Callable[..., Any], state: Any, *args: Any) -> Any:
        ctx.run, ctx.state = run, state
        # Tensors go through the tape's check for writes in place, other arguments as they are.
        ctx.args = [Tensor if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*(a for a in args if isinstance(a, Tensor)))
        return run(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        saved = iter(ctx.saved_tensors)
        needs = ctx.needs_input_grad[3:]
        captured = recorder() is not None

        def again(x: Tensor) -> Tensor:
            x = x.detach()
            return _after(x, *grads) if captured else x

        args = [
            again(next(saved)).requires_grad_(need) if a is Tensor else a
            for a, need in zip(ctx.args, needs, strict=True)
        ]
        before = None
        if ctx.state is not None:
            before = default_generator.mark()
            default_generator.back_to(ctx.state)
        with enable_grad():
            outputs = ctx.run(*args)
        if before is not None:
            default_generator.back_to(before)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [
            (o, g) for o, g in zip(outputs, grads, strict=True)
            if g is not None and isinstance(o, Tensor) and o.requires_grad
        ]  # fmt: skip
        if pairs:
            autograd.backward([o for o, _ in pairs], [g for _, g in pairs])
        found = [a.grad if isinstance(a, Tensor) and need else None for a, need in zip(args, needs)]
        return None, None, None, *found


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)` whose inner values are not kept, but computed again.

    preserve_rng_state: the second run draws the same random numbers (dropout). The gradients of
    parameters are added to their `.grad`; `autograd.grad` with respect to them is not supported.

    >>> y = fanal.utils.checkpoint.checkpoint(block, x, use_reentrant=False)
    """
    # Options of PyTorch's that change nothing here.
    for name in ("context_fn", "determinism_check", "debug", "early_stop"):
        kwargs.pop(name, None)
    if not callable(function):
        raise TypeError(message("checkpoint", "not a function", type(function).__name__))
    # A transform's graph decides itself what is kept; and its gradients are no `.grad`.
    if not mode.enabled or mode.transforms or getattr(recorder(), "custom", None) is not None:
        return function(*args, **kwargs)

    names, count = list(kwargs), len(args)

    def run(*given: Any) -> Any:
        return function(*given[:count], **dict(zip(names, given[count:], strict=True)))

    # The anchor puts the call on the tape where only parameters inside ask for a gradient.
    state = default_generator.mark() if preserve_rng_state else None
    return _Checkpoint.apply(zeros((), requires_grad=True), run, state, *args, *kwargs.values())


def checkpoint_sequential(
    functions: Sequence[Any], segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """A chain of modules in segments, each but the last as a `checkpoint`."""
    layers = list(functions)
    size = max(len(layers) // segments, 1)
    starts = list(range(0, size * segments, size))[:segments]

    def part(start: int, end: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for layer in layers[start:end]:
                x = layer(x)
            return x

        return run

    for start in starts[:-1]:
        input = checkpoint(part(start, start + size), input, use_reentrant=use_reentrant, **kwargs)
    return part(starts[-1], len(layers))(input)
