"""Whole derivatives: Jacobians by reverse or forward mode, Hessians. All rows at once, by `vmap`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fanal.core import pytree
from fanal.func.forward import check_tensors, jvp_with_argnums
from fanal.func.mapping import vmap
from fanal.func.reverse import vjp_with_argnums
from fanal.func.structure import Argnums, Function, checked_argnums, wraps
from fanal.ops.shape import cat, movedim, split
from fanal.tensor.creation import eye, zeros
from fanal.tensor.tensor import Tensor


def _basis(tensors: Sequence[Tensor], start: int, stop: int) -> list[Tensor]:
    """Rows start..stop of the identity, cut into parts of the tensors' shapes: (rows, *shape) each."""
    total = sum(t.numel() for t in tensors)
    parts, at = [], 0
    for t in tensors:
        n = t.numel()
        # Rows of the part that is the identity, zeros above and below.
        first, last = max(start, at), min(stop, at + n)
        if first >= last:
            part = zeros(stop - start, n, dtype=t.dtype)
        else:
            part = eye(n, dtype=t.dtype)
            part = part if (first, last) == (at, at + n) else part[first - at : last - at]
            above, below = first - start, stop - last
            rows = [zeros(above, n, dtype=t.dtype), part, zeros(below, n, dtype=t.dtype)]
            part = cat([r for r in rows if r.shape[0]], 0) if above or below else part
        parts.append(part.reshape(stop - start, *t.shape))
        at += n
    assert at == total
    return parts


def _chunks(total: int, size: int | None) -> Iterator[tuple[int, int]]:
    step = max(total if size is None else size, 1)
    for start in range(0, max(total, 1), step):
        yield start, min(start + step, total)


def jacrev(
    func: Function, argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None,
) -> Function:  # fmt: skip
    """∂ output / ∂ argument, of shape output.shape + argument.shape, by reverse mode.

    For several outputs or arguments, in their structures (that of the outputs outside). has_aux: the
    function returns (output, aux), the Jacobian function (Jacobian, aux). chunk_size: rows computed at
    a time (1: one after another, without `vmap`).

    >>> jacrev(fanal.sin)(x)  # the diagonal matrix of cos x
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        which = checked_argnums(argnums, len(args))
        output, pull, aux = vjp_with_argnums(func, args, which, has_aux, kwargs)
        outputs, structure = pytree.flatten(output)
        primals, around = pytree.flatten(tuple(args[i] for i in which))
        counts = [o.numel() for o in outputs]

        def rows(start: int, stop: int) -> list[Tensor]:
            basis = _basis(outputs, start, stop)
            if chunk_size == 1:
                found = pull(structure.unflatten([b.squeeze(0) for b in basis]))
                return [g.unsqueeze(0) for g in pytree.flatten(found)[0]]
            return pytree.flatten(vmap(pull)(structure.unflatten(basis)))[0]

        parts = [rows(*bounds) for bounds in _chunks(sum(counts), chunk_size)]
        columns = [c[0] if len(c) == 1 else cat(list(c), 0) for c in zip(*parts, strict=True)]
        blocks = [
            [g.reshape(*o.shape, *x.shape) for g, o in zip(split(c, counts, 0), outputs, strict=True)]
            for c, x in zip(columns, primals, strict=True)
        ]
        tables = [_arguments(around, row, argnums) for row in zip(*blocks, strict=True)]
        found = structure.unflatten(tables)
        return (found, aux) if has_aux else found

    return jacobian


def _arguments(structure: pytree.Structure, leaves: Sequence[Any], argnums: Argnums) -> Any:
    """The blocks of one output, in the structure of the arguments."""
    found = structure.unflatten(leaves)
    return found[0] if isinstance(argnums, int) else found


def jacfwd(
    func: Function, argnums: Argnums = 0, has_aux: bool = False, *, randomness: str = "error",
) -> Function:  # fmt: skip
    """As `jacrev`, by forward mode: better where there are fewer inputs than outputs.

    randomness: as in `vmap`.
    """

    @wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        which = checked_argnums(argnums, len(args))
        primals, around = pytree.flatten(tuple(args[i] for i in which))
        check_tensors(primals, "primals")
        counts = [x.numel() for x in primals]
        basis = around.unflatten(_basis(primals, 0, sum(counts)))

        def push(direction: Any) -> Any:
            _, moved, aux = jvp_with_argnums(func, args, which, direction, False, has_aux, kwargs)
            return moved, aux

        results, aux = vmap(push, out_dims=(0, 0), randomness=randomness)(basis)
        outputs, structure = pytree.flatten(results)
        tables = [
            _arguments(
                around,
                [
                    part.reshape(*y.shape[1:], *x.shape)
                    for part, x in zip(split(movedim(y, 0, -1), counts, -1), primals, strict=True)
                ],
                argnums,
            )
            for y in outputs
        ]
        found = structure.unflatten(tables)
        if not has_aux:
            return found
        return found, pytree.tree_map(lambda x: x[0], aux)

    return jacobian


def hessian(func: Function, argnums: Argnums = 0) -> Function:
    """Second derivatives of a function, by forward mode over reverse mode.

    >>> hessian(lambda x: x.sin().sum())(x)  # the diagonal matrix of -sin x
    """
    return jacfwd(jacrev(func, argnums), argnums)
