"""Derivatives of a function at a point: Jacobians, Hessians and their products with vectors.

Each takes `func` and its tensor inputs (one, or a tuple), as `torch.autograd.functional`. Products
with the Jacobian from the right come from two passes back: vᵀJ is linear in v, and the gradient of
that with respect to v is J.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanal.autograd.mode import enable_grad
from fanal.core.errors import message

Function = Callable[..., Any]


def _tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def _inputs(inputs: Any, create_graph: bool) -> tuple[Any, ...]:
    """Leaves of the same values; views that keep the past where the result is to be derived."""
    from fanal.ops.shape import alias

    if create_graph:
        return tuple(alias(x) if x.requires_grad else x.detach().requires_grad_() for x in _tuple(inputs))
    return tuple(x.detach().requires_grad_() for x in _tuple(inputs))


def _grad(
    outputs: Any, inputs: Any, given: Any, create_graph: bool, strict: bool = False
) -> tuple[Any, ...]:
    from fanal.autograd.functional import grad

    pairs = [(o, g) for o, g in zip(outputs, given, strict=True) if o.requires_grad]
    if not pairs:
        if strict:
            raise RuntimeError(message("jacobian", "the output does not depend on the inputs"))
        return tuple(_zeros(x) for x in inputs)
    found = grad(
        [o for o, _ in pairs], inputs, [g for _, g in pairs], retain_graph=True,
        create_graph=create_graph, allow_unused=True,
    )  # fmt: skip
    if strict and any(g is None for g in found):
        raise RuntimeError(message("jacobian", "the output does not depend on all of the inputs"))
    return tuple(_zeros(x) if g is None else g for x, g in zip(inputs, found, strict=True))


def _zeros(x: Any) -> Any:
    from fanal.tensor.creation import zeros_like

    return zeros_like(x.detach())


def _call(func: Function, inputs: Any, create_graph: bool) -> tuple[tuple[Any, ...], Any]:
    given = _inputs(inputs, create_graph)
    return given, func(*given)


def _shaped(results: tuple[Any, ...], like: Any) -> Any:
    """One tensor for one, a tuple for a tuple."""
    return results if isinstance(like, tuple | list) else results[0]


def _detached(x: Any) -> Any:
    return tuple(t.detach() for t in x) if isinstance(x, tuple | list) else x.detach()


def jacobian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """∂ output / ∂ input, of shape output.shape + input.shape; tuples where there are several.

    >>> jacobian(fanal.exp, fanal.zeros(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    from fanal.ops.shape import stack

    with enable_grad():
        given, outputs = _call(func, inputs, create_graph)
        tables = []
        for output in _tuple(outputs):
            rows = []
            for k in range(output.numel()):
                unit = _zeros(output)
                unit.view(-1)[k] = 1
                rows.append(_grad((output,), given, (unit,), create_graph, strict))
            shape = tuple(output.shape)
            columns = zip(*rows, strict=True)
            blocks = tuple(
                stack(list(column), 0).reshape(shape + tuple(x.shape))
                for x, column in zip(given, columns, strict=True)
            )
            tables.append(_shaped(blocks, inputs))
    return _shaped(tuple(tables), outputs)


def hessian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """Second derivatives of a scalar function, of shape input.shape + input.shape."""

    def gradient(*given: Any) -> Any:
        output = _scalar("hessian", func(*given))
        return _shaped(_grad((output,), given, (_ones(output),), True, strict), inputs)

    return jacobian(gradient, inputs, create_graph, strict)


def _ones(x: Any) -> Any:
    return _zeros(x) + 1


def _scalar(name: str, output: Any) -> Any:
    if isinstance(output, tuple | list) or output.numel() != 1:
        raise RuntimeError(message(name, "the function must return one number", hint=".sum()"))
    return output


def _vector(name: str, v: Any, like: Any) -> tuple[Any, ...]:
    if v is None:
        if any(x.numel() != 1 for x in _tuple(like)):
            raise RuntimeError(message(name, "v is needed where there is more than one number"))
        return tuple(_ones(x) for x in _tuple(like))
    given = _tuple(v)
    shapes, wanted = [tuple(x.shape) for x in given], [tuple(x.shape) for x in _tuple(like)]
    if shapes != wanted:
        raise RuntimeError(message(name, "v has another shape", shapes, str(wanted)))
    return given


def vjp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The output, and vᵀJ (v as the output)."""
    with enable_grad():
        given, outputs = _call(func, inputs, create_graph)
        found = _grad(_tuple(outputs), given, _vector("vjp", v, outputs), create_graph, strict)
    return (outputs if create_graph else _detached(outputs)), _shaped(found, inputs)


def jvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The output, and J v (v as the inputs)."""
    with enable_grad():
        given, outputs = _call(func, inputs, create_graph)
        direction = _vector("jvp", v, inputs)
        probes = tuple(_zeros(o).requires_grad_() for o in _tuple(outputs))
        back = _grad(_tuple(outputs), given, probes, True, strict)
        found = _grad(back, probes, direction, create_graph)
    return (outputs if create_graph else _detached(outputs)), _shaped(found, outputs)


def vhp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The output of a scalar function, and vᵀH (v as the inputs)."""
    with enable_grad():
        given, output = _call(func, inputs, create_graph)
        _scalar("vhp", output)
        first = _grad((output,), given, (_ones(output),), True, strict)
        found = _grad(first, given, _vector("vhp", v, inputs), create_graph, strict)
    return (output if create_graph else output.detach()), _shaped(found, inputs)


def hvp(
    func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The output of a scalar function, and H v: the same as `vhp`, since H is symmetric."""
    return vhp(func, inputs, v, create_graph, strict)
