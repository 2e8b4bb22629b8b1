"""`lower_dot`: the general contraction of two arrays (matmul, all transposes, batches)."""

from __future__ import annotations

from fanal.backends.native.contract.dims import Dim
from fanal.backends.native.contract.finish import Epilogue
from fanal.backends.native.contract.plan import Contraction, lower
from fanal.backends.native.program import Access, ProgramBuilder

Axes = tuple[tuple[int, ...], tuple[int, ...]]


def lower_dot(
    p: ProgramBuilder,
    a: Access,
    b: Access,
    out: Access,
    *,
    contract: Axes,
    batch: Axes,
    epilogue: Epilogue | None = None,
    shared: tuple[bool, bool] = (False, False),
) -> None:
    """Append out = Σ a · b as `jax.lax.dot_general` defines it.

    `contract` and `batch` are pairs of axes of a and of b. The dims of `out` are the batch dims, the
    other dims of a, the other dims of b; its strides are free. Every element is
    Σ_blocks (fma chain over KC k's), k running over the contracted axes in the order given. `shared`: which
    operand other contractions of the program have as well, the same way.
    """
    extras = epilogue.extras if epilogue else ()
    outs = [out, *(broadcast(e, out.shape) for e in extras)]
    batch_dims, rows, cols, inner = [], [], [], []
    axis = 0

    def along(out_axis: int) -> tuple[int, ...]:
        return tuple(x.strides[out_axis] if x.shape[out_axis] != 1 else 0 for x in outs)

    def still() -> tuple[int, ...]:
        return (0,) * len(outs)

    for i, j in zip(*batch, strict=True):
        batch_dims.append(Dim(a.shape[i], (a.strides[i], b.strides[j], *along(axis))))
        axis += 1
    for i in range(len(a.shape)):
        if i not in batch[0] and i not in contract[0]:
            rows.append(Dim(a.shape[i], (a.strides[i], 0, *along(axis))))
            axis += 1
    for j in range(len(b.shape)):
        if j not in batch[1] and j not in contract[1]:
            cols.append(Dim(b.shape[j], (0, b.strides[j], *along(axis))))
            axis += 1
    for i, j in zip(*contract, strict=True):
        inner.append(Dim(a.shape[i], (a.strides[i], b.strides[j], *still())))
    lower(
        p,
        Contraction(
            (a, b, out, *extras), tuple(batch_dims), tuple(rows), tuple(cols), tuple(inner), epilogue,
            shared=shared,
        ),
    )


def broadcast(extra: Access, shape: tuple[int, ...]) -> Access:
    """An operand seen with the shape of `out`: missing and one-long dims repeat."""
    missing = len(shape) - len(extra.shape)
    if missing < 0 or any(
        e not in (1, s) for e, s in zip(extra.shape, shape[missing:], strict=True)
    ):
        raise ValueError(
            f"[contract] epilogue operand does not broadcast: got {extra.shape}; expected {shape}."
        )
    own = zip(extra.shape, extra.strides, strict=True)
    strides = (0,) * missing + tuple(0 if e == 1 else st for e, st in own)
    return Access(extra.buffer, extra.dtype, shape, strides, extra.offset)
