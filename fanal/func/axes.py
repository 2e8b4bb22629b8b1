"""Which dimension of which argument `vmap` maps, and where it comes to lie in the results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fanal.core import pytree
from fanal.core.errors import message
from fanal.func.structure import Function, name_of
from fanal.tensor.tensor import Tensor

Axis = int | None


class Batch(NamedTuple):
    """The arguments of a call: leaves, which dimension of each is mapped, and the samples' number."""

    leaves: list[Any]
    axes: list[Axis]
    structure: pytree.Structure
    size: int


def check_out_dims(out_dims: Any, func: Function) -> None:
    """ValueError unless there are only ints and None in out_dims."""
    for x in pytree.flatten(out_dims)[0]:
        if x is not None and not isinstance(x, int):
            raise ValueError(
                f"vmap({name_of(func)}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a "
                "python collection of ints representing where in the outputs the vmapped dimension "
                "should appear."
            )


def batch_of(in_dims: Any, args: tuple[Any, ...], func: Function) -> Batch:
    """A call's arguments; ValueError where in_dims does not fit them."""
    called = f"vmap({name_of(func)}, in_dims={in_dims}, ...)(<inputs>): "
    if not isinstance(in_dims, int | tuple):
        raise ValueError(
            f"{called}expected `in_dims` to be int or a (potentially nested) tuple matching the "
            f"structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name_of(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are "
            "trying to vmap over a function with no inputs. The latter is unsupported."
        )
    leaves, structure = pytree.flatten(args)
    dims = structure.broadcast(in_dims)
    if dims is None:
        raise ValueError(
            f"{called}in_dims is not compatible with the structure of `inputs`. in_dims has structure "
            f"{pytree.flatten(in_dims)[1]} but inputs has structure {structure}."
        )
    axes = [_axis(x, d, called) for x, d in zip(leaves, dims, strict=True)]
    sizes = [x.shape[a] for x, a in zip(leaves, axes, strict=True) if a is not None]
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(n != sizes[0] for n in sizes):
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return Batch(leaves, axes, structure, sizes[0])


def _axis(x: Any, dim: Any, called: str) -> Axis:
    """The mapped dimension of one argument, counted from the front."""
    if dim is None:
        return None
    if not isinstance(dim, int):
        raise ValueError(
            f"{called}Got in_dim={dim} for an input but in_dim must be either an integer dimension or "
            "None."
        )
    if not isinstance(x, Tensor):
        raise ValueError(
            f"{called}Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot vmap "
            "over non-Tensor arguments, please use None as the respective in_dim"
        )
    if not -x.ndim <= dim < x.ndim:
        raise ValueError(
            f"{called}Got in_dim={dim} for some input, but that input is a Tensor of dimensionality "
            f"{x.ndim} so expected in_dim to satisfy -{x.ndim} <= in_dim < {x.ndim}."
        )
    return dim % x.ndim


def places_of(
    leaves: Sequence[Any], structure: pytree.Structure, result: Any, out_dims: Any, func: Function
) -> list[Axis]:
    """Where the mapped dimension comes to lie in each result."""
    name = name_of(func)
    places = structure.broadcast(out_dims)
    if isinstance(result, Tensor) and isinstance(out_dims, tuple) and len(out_dims) == 1:
        places = list(out_dims)
    if places is None:
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the "
            f"structure of `outputs`. out_dims has structure {pytree.flatten(out_dims)[1]} but outputs "
            f"has structure {structure}."
        )
    for x, dim in zip(leaves, places, strict=True):
        if dim is not None and not isinstance(x, Tensor):
            raise ValueError(
                f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(x)}. Did you mean "
                "to set out_dims= to None for output?"
            )
        if dim is not None and not -x.ndim - 1 <= dim <= x.ndim:
            raise IndexError(
                message("vmap", "out_dims is out of range", dim, f"from {-x.ndim - 1} to {x.ndim}")
            )
    return [None if d is None else d % (x.ndim + 1) for x, d in zip(leaves, places, strict=True)]
