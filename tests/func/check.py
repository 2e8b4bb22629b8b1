"""What the tests of transforms share: comparing trees of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

import fanal
from fanal.core import pytree


def leaves(tree: Any) -> list[Any]:
    """The tensors of a result, in order."""
    return [x for x in pytree.flatten(tree)[0] if isinstance(x, fanal.Tensor)]


def close(got: Any, want: Any, rtol: float = 1e-6, atol: float = 1e-7) -> None:
    """The same structure, shapes and (nearly) the same numbers."""
    assert pytree.flatten(got)[1] == pytree.flatten(want)[1]
    for g, w in zip(leaves(got), leaves(want), strict=True):
        assert g.dtype is w.dtype
        assert tuple(g.shape) == tuple(w.shape)
        np.testing.assert_allclose(
            g.detach().to(fanal.float64).numpy(), w.detach().to(fanal.float64).numpy(), rtol, atol
        )


def loop(function: Any, *args: Any, in_dims: Any = 0) -> Any:
    """`vmap` with out_dims 0, one sample after another."""
    flat, structure = pytree.flatten(args)
    dims = structure.broadcast(in_dims)
    assert dims is not None
    size = next(x.shape[d] for x, d in zip(flat, dims, strict=True) if d is not None)
    rows = []
    for k in range(size):
        one = [x if d is None else x.select(d, k) for x, d in zip(flat, dims, strict=True)]
        rows.append(function(*structure.unflatten(one)))
    columns = zip(*[pytree.flatten(r)[0] for r in rows], strict=True)
    return pytree.flatten(rows[0])[1].unflatten([fanal.stack(list(c)) for c in columns])
