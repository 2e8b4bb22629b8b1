"""Reverse derivatives of functions: `grad`, `vjp`. They run the function on the tape.

The arguments are replaced by tensors that require grad, of the same memory: new leaves, or views where
the arguments have a past themselves, so that an outer derivative finds its way. What depends on nothing
but these leaves leaves the tape with the transform.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.autograd.engine import run_backward
from fanal.autograd.mode import enable_grad, mode, no_grad
from fanal.compiler.traced import TracedTensor
from fanal.core import pytree
from fanal.func.structure import (
    Argnums,
    Function,
    check_aux,
    check_results,
    checked_argnums,
    transforming,
    with_aux,
    wraps,
)
from fanal.ops.shape import alias, clone
from fanal.tensor.creation import ones_like, zeros_like
from fanal.tensor.tensor import Tensor

_GRAD = "grad_and_value(f)(*args)"
_VJP = "vjp(f, *primals)"


def differentiable(x: Any, taped: bool) -> Tensor:
    """A tensor of x's memory that requires grad. `taped`: outer gradients flow through it to x."""
    if not isinstance(x, Tensor):
        raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
    if x.dtype.kind != "f":
        raise RuntimeError("only Tensors of floating point dtype can require gradients")
    if x._layout.grad and taped:
        with enable_grad():
            view: Tensor = alias(x)
            return view
    if x._layout.grad and isinstance(x, TracedTensor):
        with no_grad():  # a gradient of the trace must not pass
            x = clone(x)
    return x._alias(None, 0).requires_grad_()


class Differentiated:
    """A function called with some of its arguments differentiable."""

    def __init__(self, func: Function, args: tuple[Any, ...], which: Sequence[int], kwargs: Any):
        self.taped = mode.enabled
        given = list(args)
        self.inputs: list[Tensor] = []
        self.structures: list[pytree.Structure] = []
        for i in which:
            leaves, structure = pytree.flatten(args[i])
            fresh = [differentiable(x, self.taped) for x in leaves]
            given[i] = structure.unflatten(fresh)
            self.inputs += fresh
            self.structures.append(structure)
        with enable_grad():
            self.result = func(*given, **kwargs)
        self._own = {id(x) for x in self.inputs if x._current_node() is None}
        self._inner: set[int] = set()  # nodes that lead to nothing outside

    def pulled(
        self, outputs: Sequence[Tensor], cotangents: Sequence[Tensor], retain: bool, create: bool
    ) -> list[Tensor]:
        """The gradients of the inputs; zeros for those that the outputs don't depend on."""
        roots = [(o, g) for o, g in zip(outputs, cotangents, strict=True) if o._layout.grad]
        found = run_backward(roots, retain, create, self.inputs) if roots else {}
        return [
            zeros_like(x._alias(None, 0)) if found.get(i) is None else found[i]
            for i, x in enumerate(self.inputs)
        ]

    def depends(self, outputs: Sequence[Tensor]) -> bool:
        """Whether outputs have a past beyond the inputs: something outside may be derived by."""
        seen = set(self._inner)
        stack = []
        for o in outputs:
            node = o._current_node()
            if node is not None:
                stack.append(node)
            elif o._layout.grad and id(o) not in self._own:
                return True
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            for edge in node.edges:
                if type(edge) is tuple:
                    stack.append(edge[0])
                elif edge is not None and id(edge) not in self._own:
                    return True
        self._inner = seen
        return False

    def released(self, x: Tensor) -> Tensor:
        """A result as the caller gets it: on the tape only where it has a past outside."""
        if not x._layout.grad or (self.taped and self.depends([x])):
            return x
        return x._alias(None, 0)

    def shaped(self, leaves: Sequence[Tensor]) -> tuple[Any, ...]:
        """Gradients in the structure of each differentiable argument."""
        rest = iter(leaves)
        return tuple(s.unflatten([next(rest) for _ in range(s.leaf_count)]) for s in self.structures)


def _gradient(
    func: Function, argnums: Argnums, has_aux: bool, args: tuple[Any, ...], kwargs: Any
) -> tuple[Any, Any, Any]:
    """Gradient, value and aux."""
    which = checked_argnums(argnums, len(args))
    with transforming():
        call = Differentiated(func, args, which, kwargs)
        output, aux = with_aux(_GRAD, call.result) if has_aux else (call.result, None)
        if not isinstance(output, Tensor):
            raise RuntimeError(
                f"{_GRAD}: Expected f(*args) to return a Tensor, got {type(output)}"
            )
        if output.ndim != 0:
            raise RuntimeError(
                f"{_GRAD}: Expected f(*args) to return a scalar Tensor, got tensor with "
                f"{output.ndim} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
            )
        create = call.taped and call.depends([output])
        grads = call.pulled([output], [ones_like(output._alias(None, 0))], create, create)
    if has_aux:
        leaves, structure = pytree.flatten(aux)
        check_aux(leaves)
        aux = structure.unflatten([call.released(x) for x in leaves])
    found = call.shaped(grads)
    return found[0] if isinstance(argnums, int) else found, call.released(output), aux


def grad(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """The gradient of a function that returns one number, by its arguments `argnums`.

    has_aux: the function returns (number, aux), the gradient function (gradient, aux).

    >>> grad(fanal.sin)(fanal.tensor(0.0))
    tensor(1.)
    """

    @wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        found, _, aux = _gradient(func, argnums, has_aux, args, kwargs)
        return (found, aux) if has_aux else found

    return gradient


def grad_and_value(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """As `grad`: (gradient, value), or (gradient, (value, aux)) with `has_aux`."""

    @wraps(func)
    def gradient_and_value(*args: Any, **kwargs: Any) -> Any:
        found, value, aux = _gradient(func, argnums, has_aux, args, kwargs)
        return found, ((value, aux) if has_aux else value)

    return gradient_and_value


def value_and_grad(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """As `grad`, in JAX's order: (value, gradient), or ((value, aux), gradient) with `has_aux`."""

    @wraps(func)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        found, value, aux = _gradient(func, argnums, has_aux, args, kwargs)
        return ((value, aux) if has_aux else value), found

    return value_and_gradient


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """The function's result, and a function that pulls cotangents of it back to the arguments.

    Returns (output, vjp_fn), with `has_aux` (output, vjp_fn, aux). `vjp_fn(cotangents)` takes the
    structure of the output and returns one result for each argument.

    >>> out, pull = vjp(fanal.sin, x)
    >>> pull(fanal.ones_like(out))  # (cos x,)
    """
    output, pull, aux = vjp_with_argnums(func, primals, tuple(range(len(primals))), has_aux)
    return (output, pull, aux) if has_aux else (output, pull)


def vjp_with_argnums(
    func: Function, args: tuple[Any, ...], which: Sequence[int], has_aux: bool, kwargs: Any = None
) -> tuple[Any, Function, Any]:
    """`vjp` by some of the arguments: output, pull, aux."""
    with transforming():
        call = Differentiated(func, args, which, kwargs or {})
    output, aux = with_aux(_VJP, call.result) if has_aux else (call.result, None)
    leaves, structure = pytree.flatten(output)
    check_results(_VJP, leaves)
    for x in leaves:
        if x.dtype.kind != "f":
            raise RuntimeError(
                "vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor "
                f"with dtype {x.dtype!r}"
            )
    if has_aux:
        others, around = pytree.flatten(aux)
        check_aux(others)
        aux = around.unflatten([call.released(x) for x in others])
    past = call.depends(leaves)

    def pull(
        cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None
    ) -> tuple[Any, ...]:
        given, found = pytree.flatten(cotangents)
        if found != structure:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs "
                f"to the function. cotangents: {found}, primal output: {structure}"
            )
        for i, (o, g) in enumerate(zip(leaves, given, strict=True)):
            if tuple(o.shape) != tuple(g.shape):
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[{i}] has a shape of {tuple(g.shape)} and "
                    f"output[{i}] has a shape of {tuple(o.shape)}."
                )
        create = mode.enabled if create_graph is None else create_graph
        create = create and (past or any(g._layout.grad for g in given))
        return call.shaped(call.pulled(leaves, given, retain_graph, create))

    return structure.unflatten([call.released(x) for x in leaves]), pull, aux
