"""Tensors of one shape copied one after another into one memory: what a batch is made by.

`fanal.stack` is one program over all of its inputs, so another number of them is another program;
here one small program copies one tensor of a layout, however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence

from fanal.backends.native.executable import Executable, launch
from fanal.core.cache import BoundedCache
from fanal.ops.shape import clone
from fanal.tensor import eager
from fanal.tensor.layout import Layout, layout
from fanal.tensor.lazy import settled
from fanal.tensor.plans import build
from fanal.tensor.tensor import Tensor

_programs: BoundedCache = BoundedCache(10_000)


def copy_rows(out: Tensor, rows: Sequence[Tensor]) -> None:
    """`out[i] = rows[i]` for all i; `out` is contiguous, `rows` have its dtype and inner shape.

    No row may overlap `out`. Nothing is recorded on the tape.
    """
    if not out._layout.numel:
        return
    at, step = out._ptr, rows[0]._layout.nbytes
    kind: Layout | None = None
    for row in rows:
        if row._layout is not kind:
            kind, program = row._layout, _program(row)
            address = program.address
        launch(address, settled(row)._ptr, at)
        at += step
    out._storage.version += 1


def _program(row: Tensor) -> Executable:
    """What copies a tensor of this layout to contiguous memory."""
    kind = row._layout
    found: Executable | None = _programs.get(kind)
    if found is None:
        plan, _ = eager.plan_of(clone.fused, (row.detach(),), {})
        target = layout(kind.dtype, kind.shape)
        found = _programs[kind] = build(plan.graph, plan.inputs, [target], "stack")
    return found
