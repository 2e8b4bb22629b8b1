"""From a contraction to phases: which operand takes the rows, what is packed, how work is cut.

Nothing decided here can change a bit of the result: the order of additions is fixed by `KC` and the
order of the inner loops. So the planner is free to look at every extent and stride.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fanal.backends.native.contract import gemm
from fanal.backends.native.contract.cutting import STREAM_ELEMENTS, cut, row_cycles
from fanal.backends.native.contract.dims import (
    Dim,
    extent_of,
    fixed,
    innermost_unit,
    merged,
    needs_table,
    walk_of,
)
from fanal.backends.native.contract.element import compute_type, is_stored_as
from fanal.backends.native.contract.finish import Epilogue
from fanal.backends.native.contract.gemm import Side
from fanal.backends.native.contract.prepare import add_pack
from fanal.backends.native.contract.shape import (
    Shape,
    rows_max,
    shape_for,
    thin_panel,
    thin_shape,
)
from fanal.backends.native.contract.steps import Step, step_of
from fanal.backends.native.contract.strips import ROWS_MAX, add_strips
from fanal.backends.native.contract.tables import Tables
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.core.dtypes import DType, float32, float64, int32, int64
from fanal.core.symbols import asked, is_settled, largest

A, B, OUT = 0, 1, 2
THIN_ROWS = 2
COMPUTE_DTYPES: dict[str, DType] = {"float": float32, "double": float64, "i32": int32, "i64": int64}

# Products of fewer k's than this read the rows of A where they lie.
_COPIED_DEPTH = 40


@dataclass(frozen=True, slots=True)
class Contraction:
    """out[batch, row, col] = Σ_inner a · b, as loops over strided memory.

    Every `Dim` has one step an operand: (a, b, out, *extras). `ahead` says of a and b whether panels
    of it may be packed in a phase of their own (not windows, which overlap: they would be written
    once a tap). `shared` says whether panels of b serve further contractions of the same program.
    """

    operands: tuple[Access, ...]
    batch: tuple[Dim, ...]
    rows: tuple[Dim, ...]
    cols: tuple[Dim, ...]
    inner: tuple[Dim, ...]
    epilogue: Epilogue | None = None
    ahead: tuple[bool, bool] = (True, True)
    shared: tuple[bool, bool] = (False, False)

    def swapped(self) -> Contraction:
        """The same with a and b (and so rows and columns) in each other's place."""

        def swap(dims: Sequence[Dim]) -> tuple[Dim, ...]:
            return tuple(
                Dim(d.extent, (d.steps[B], d.steps[A], *d.steps[OUT:])) for d in dims
            )

        a, b, *rest = self.operands
        return replace(
            self,
            operands=(b, a, *rest),
            batch=swap(self.batch),
            rows=swap(self.cols),
            cols=swap(self.rows),
            inner=swap(self.inner),
            ahead=(self.ahead[1], self.ahead[0]),
            shared=(self.shared[1], self.shared[0]),
        )


def lower(
    p: ProgramBuilder, c: Contraction, tables: Tables | None = None, swap: bool | None = None
) -> None:
    """Append the phases of a contraction; `swap` puts a on the lanes (None: where it is cheaper)."""
    if any(d.extent == 0 for d in (*c.batch, *c.rows, *c.cols)):
        return
    empty = any(d.extent == 0 for d in c.inner)
    c = normalised(replace(c, inner=()) if empty else c)
    if len(c.batch) > 2:
        outer, *rest = c.batch
        for i in range(outer.extent):
            operands = tuple(
                replace(x, offset=x.offset + i * fixed(step) * x.dtype.itemsize)
                for x, step in zip(c.operands, outer.steps, strict=True)
            )
            inner = (Dim(0, (0,) * len(operands)),) if empty else c.inner
            lower(p, replace(c, operands=operands, batch=tuple(rest), inner=inner), tables, swap)
        return
    tables = tables or Tables(p)
    scalar = contraction_type(c)
    s = shape_for(p.target, scalar)
    if empty:
        _lower_gemm(p, c, s, tables, "empty")
        return
    across = batch_on_lanes(c, s)
    if across is not None:
        _lower_gemm(p, across, thin_panel(s, extent_of(across.cols)), tables, "across")
        return
    if better_swapped(c, s, p.uses) if swap is None else swap:
        c = c.swapped()
    _lower_gemm(p, c, s, tables)


def contraction_type(c: Contraction) -> str:
    """The compute type: that of the factors; integers also keep all bits that `out` can hold."""
    a, b, out = (x.dtype for x in c.operands[:3])
    scalar = compute_type(a, b)
    return compute_type(a, b, out) if scalar == "i32" and not out.is_floating_point else scalar


def normalised(c: Contraction) -> Contraction:
    """Batch loops that only one factor has become rows or columns; loops that continue are joined."""
    rows = [d for d in c.batch if d.steps[B] == 0] + list(c.rows)
    cols = [d for d in c.batch if d.steps[A] == 0 and d.steps[B] != 0] + list(c.cols)
    batch = [d for d in c.batch if d.steps[A] != 0 and d.steps[B] != 0]
    inner = merged(c.inner)
    return replace(c, batch=merged(batch), rows=merged(rows), cols=merged(cols), inner=inner)


def batch_on_lanes(c: Contraction, s: Shape) -> Contraction | None:
    """The contraction with its batch along the vectors, where that is how both factors lie.

    Depthwise sums: many batches of products whose rows or columns are one. The batch becomes the
    columns (along which A moves too), the longer one of rows and columns the rows.
    """
    if len(c.batch) != 1 or min(extent_of(c.rows), extent_of(c.cols)) > 1:
        return None
    if extent_of(c.cols) > extent_of(c.rows):
        c = c.swapped()
    (batch,) = c.batch
    if batch.steps[A] != 1 or batch.steps[B] != 1 or batch.extent < s.lanes:
        return None
    if not is_stored_as(c.operands[A].dtype, s.scalar):
        return None
    return replace(c, batch=(), cols=(batch,))


# -- who takes the lanes --------------------------------------------------------------------------


def way_of_packing(cols: Sequence[Dim], inner: Sequence[Dim], operand: int, lanes: int) -> str:
    """How panels of an operand are filled: along its columns, along k, or element by element."""
    col_walk, walk = walk_of(cols, operand), walk_of(inner, operand)
    if not col_walk:
        return "lanes"
    run, step = col_walk[-1]
    # A vector may meet two runs of columns, not more.
    runs = len(col_walk) == 1 or run >= lanes - 1 or (lanes % run == 0 and 2 * run >= lanes)
    if step == 1 and runs:
        return "lanes"
    if not walk or (walk[-1][1] == 1 and (len(walk) == 1 or walk[-1][0] >= lanes)):
        return "inner"
    return "lanes2" if step == 2 and runs else "any"


def better_swapped(
    c: Contraction, s: Shape, uses: Callable[[Access], int] = lambda operand: 1
) -> bool:
    """Whether the contraction is estimated to be cheaper with a on the lanes; `uses` says how often
    an operand is met unchanged."""
    often = [uses(x) if there else 1 for x, there in zip(c.operands[:OUT], c.ahead, strict=True)]
    return asked(_is_cheaper_swapped, replace(c, epilogue=None), s, *often)


def _is_cheaper_swapped(c: Contraction, s: Shape, often_a: int, often_b: int) -> bool:
    return _cost(c.swapped(), s, often_a) < _cost(c, s, often_b)


def _cost(c: Contraction, s: Shape, often: int) -> float:
    """Estimated cycles per batch entry: tiles with their waste, packing (of panels that are read so
    often), stores."""
    rows, cols, inner = (extent_of(x) for x in (c.rows, c.cols, c.inner))
    panels = -(-cols // s.width)
    fit = fitted(s, rows, cols) if often > 1 else s
    tiles = panels * (max(row_cycles(fit, rows), 4) * inner + 30 * -(-rows // fit.rows))
    per_row = {"lanes": 1.5, "lanes2": 3.0, "inner": 4.0, "any": 20.0}
    how = way_of_packing(c.cols, c.inner, B, s.lanes)
    fill = per_row[how]
    walk = walk_of(c.inner, B)
    if how == "inner" and len(walk) > 1 and walk[-1][0] % s.lanes:
        # Blocks of lanes×lanes that meet the end of a run are moved element by element.
        torn = min(1.0, s.lanes / walk[-1][0])
        fill += torn * (per_row["any"] - fill)
    packing = panels * inner * fill * -(-rows // rows_max(s))
    if often > 1:
        packing = panels * inner * fill / often
    if not is_stored_as(c.operands[A].dtype, s.scalar):
        packing += rows * inner * 0.5
    if walk_of(c.inner, A)[-1:] and walk_of(c.inner, A)[-1][1] != 1:
        # A line of A a k, by every tile or, where blocks are copied first, once.
        packing += rows * inner * (0.15 if _copies(c, s, None) else 0.6)
    store = rows * cols * (0.3 if innermost_unit(c.cols, OUT) else 2.0)
    return tiles + packing + store


def fitted(s: Shape, rows: int, columns: int) -> Shape:
    """The tile that some rows fill best, where panels are packed once for many products."""
    if rows < 8:
        wide = min({1: 8, 2: 4, 3: 4}.get(rows, 2), max(1, -(-columns // s.lanes)))
        # Of the panels that more rows want, so that programs of all sizes read the same ones.
        shares = s.line == 0 and s.row_bytes & (s.row_bytes - 1) == 0 and wide % s.vectors == 0
        return thin_shape(replace(s, line=s.row_bytes) if shares else s, rows, wide)
    # A lower tile reads B more often for what it computes: it must save a tenth of the rows.
    if 1.1 * -(-rows // s.few_rows) * s.few_rows < row_cycles(s, rows):
        return thin_shape(s, s.few_rows, s.vectors)
    return s


# -- the phases -----------------------------------------------------------------------------------


def _lower_gemm(
    p: ProgramBuilder, c: Contraction, s: Shape, tables: Tables, how: str = ""
) -> None:
    """A on the rows, B on the lanes; `how` is found here unless it is given."""
    thin = (s, how) if how else None
    if how != "empty" and not _copies(c, s, thin):
        c = _readable_rows(p, c, s, tables)
    if thin is None and extent_of(c.cols) <= s.lanes:
        s = replace(s, vectors=1)
    often = thin is None and c.ahead[B] and p.uses(c.operands[B]) > 1
    how = how or way_of_packing(c.cols, c.inner, B, s.lanes)
    rows, cols, inner = (extent_of(x) for x in (c.rows, c.cols, c.inner))
    if thin is None and _streams(c, s, how):
        _lower_strips(p, c, s, tables)
        return
    if often:  # what is packed in front of a loop is packed for every step of it
        s = asked(fitted, s, largest(rows, 8) if is_settled(rows) else rows, cols)
    else:
        thin = thin or _thin(c, s, how)
        if thin is not None:
            s, how = thin
    few = 2 * s.rows if _copies(c, s, thin) else ahead_from(s)
    ready = often or (thin is None and c.ahead[B] and rows > few)
    modes = _modes(c, how == "turned")
    right = _side(c, B, "inner", "cols", modes, tables)
    if ready:
        packed = _packed_once(p, c, s, how, right, tables)
        right, how = packed, _way_of_reading(s, rows, cols * inner) if often else "ready"
    sides = [_side(c, A, "rows", "inner", modes, tables), right]
    for n in range(OUT, len(c.operands)):
        sides.append(_side(c, n, "rows", "cols", modes, tables))
    tables.emit()
    left = _way_of_copying(c, s) if _copies(c, s, thin) else ""
    batch = tuple(d.extent for d in c.batch)
    numbers = cut(s, batch, rows, cols, inner, ready, bool(left))
    gemm.add_phase(p, s, how, sides, numbers, c.epilogue, left)


def _way_of_reading(s: Shape, rows: int, elements: int) -> str:
    """How panels that were packed ahead are read: as a stream, where they don't stay in a cache and
    meet one or two tiles of rows."""
    if rows > 2 * s.rows or elements < STREAM_ELEMENTS:
        return "ready"
    return "stream1" if rows <= s.rows else "stream2"


def _copies(c: Contraction, s: Shape, thin: object) -> bool:
    """Whether blocks of A are copied before their tiles run: tiles of many rows, used by panels enough
    to pay for it."""
    if thin is not None or s.rows <= gemm.MANY_ROWS or s.rows == s.few_rows:
        return False
    large = extent_of(c.rows) > 2 * s.rows and extent_of(c.cols) >= 2 * s.width
    return large and extent_of(c.inner) >= _COPIED_DEPTH


def _way_of_copying(c: Contraction, s: Shape) -> str:
    how = way_of_packing(c.rows, c.inner, A, s.lanes)
    return "rows" if how == "inner" else how


def _streams(c: Contraction, s: Shape, how: str) -> bool:
    """Whether B is large, lies by columns and meets few rows: then reading it is all that counts."""
    rows, cols, inner = (extent_of(x) for x in (c.rows, c.cols, c.inner))
    if c.batch or rows > ROWS_MAX or how != "lanes" or cols < 512:
        return False
    loops = [walk_of(c.inner, n) for n in (A, B)]
    loops += [walk_of(dims, n) for n in range(OUT, len(c.operands)) for dims in (c.rows, c.cols)]
    loops += [walk_of(c.rows, A), walk_of(c.cols, B)]
    return max(map(len, loops)) <= 1 and cols * inner >= STREAM_ELEMENTS


def _lower_strips(p: ProgramBuilder, c: Contraction, s: Shape, tables: Tables) -> None:
    modes = _modes(c, unit_inner=False)
    sides = [_side(c, A, "rows", "inner", modes, tables), _side(c, B, "inner", "cols", modes, tables)]
    outs = [_side(c, n, "rows", "cols", modes, tables) for n in range(OUT, len(c.operands))]
    rows, cols, inner = (extent_of(x) for x in (c.rows, c.cols, c.inner))
    dtype = COMPUTE_DTYPES[s.scalar]
    add_strips(p, s, sides[0], sides[1], outs, (rows, cols, inner), dtype, c.epilogue)


def _thin(c: Contraction, s: Shape, how: str) -> tuple[Shape, str] | None:
    """The tile and the way of reading B in place, where rows are too few to pay for packing."""
    rows, cols = extent_of(c.rows), extent_of(c.cols)
    col_walk, k_walk = walk_of(c.cols, B), walk_of(c.inner, B)
    if rows > THIN_ROWS or len(col_walk) > 1:
        return None
    if how == "lanes":
        wide = thin_shape(s, rows, 8 if rows == 1 else 4)
        if cols >= wide.width:
            return wide, "direct"
    plain = max(len(k_walk), len(walk_of(c.inner, A)), len(walk_of(c.cols, OUT))) <= 1
    if how == "inner" and plain and cols >= 2 * s.lanes:
        return thin_shape(s, rows, 2), "turned"
    return None


def ahead_from(s: Shape) -> int:
    """Rows beyond which panels are packed in a phase of their own rather than by every block."""
    return 2 * rows_max(s) - 1


def _modes(c: Contraction, unit_inner: bool) -> dict[str, str]:
    """The step classes that kernels tell apart on every axis.

    An axis that needs a table for one operand has tables for all of them, and tables for columns
    come with tables for k: one kernel for all convolutions rather than one for each coincidence.
    """
    used = {
        "rows": (A, *range(OUT, len(c.operands))),
        "cols": (B, *range(OUT, len(c.operands))),
        "inner": (A, B),
    }
    plain = {"rows": "0s", "cols": "01s", "inner": "1s" if unit_inner else "s"}
    many = {
        axis: any(needs_table(getattr(c, axis), n) for n in operands)
        for axis, operands in used.items()
    }
    many["inner"] |= many["cols"]
    return {axis: ("0t" if axis != "inner" else "t") if many[axis] else plain[axis] for axis in used}


def _side(
    c: Contraction, n: int, first: str, second: str, modes: dict[str, str], tables: Tables
) -> Side:
    """Operand n with its steps along two axes. Only extras may stand still (class 0)."""
    access = c.operands[n]
    steps = []
    for axis in (first, second):
        allowed = modes[axis] if n > OUT else modes[axis].replace("0", "")
        steps.append(step_of(getattr(c, axis), n, access.dtype, tables, allowed))
    return Side(access, steps[0], steps[1], _batch_steps(c.batch, n, access.dtype.itemsize))


def _batch_steps(batch: Sequence[Dim], n: int, itemsize: int) -> tuple[int, int]:
    steps = [0] * (2 - len(batch)) + [fixed(d.steps[n]) * itemsize for d in batch]
    return steps[0], steps[1]


def _readable_rows(p: ProgramBuilder, c: Contraction, s: Shape, tables: Tables) -> Contraction:
    """A in the compute type: copied row by row, k in order, where memory holds another one."""
    if is_stored_as(c.operands[A].dtype, s.scalar):
        return c
    copy, strides = copied(p, s, c.operands[A], c.batch, c.rows, c.inner, A, tables)
    return with_operand(c, A, copy, strides)


def copied(
    p: ProgramBuilder,
    s: Shape,
    source: Access,
    batch: Sequence[Dim],
    rows: Sequence[Dim],
    inner: Sequence[Dim],
    n: int,
    tables: Tables,
) -> tuple[Access, tuple[list[int], list[int], list[int]]]:
    """A copy [batch][rows][inner] of an operand in compute type, and its strides loop by loop."""
    extents = [d.extent for d in (*batch, *rows, *inner)]
    access = p.temp_like(COMPUTE_DTYPES[s.scalar], tuple(extents))
    depth, width = extent_of(rows), extent_of(inner)
    how = way_of_packing(inner, rows, n, s.lanes)
    cols = step_of(inner, n, source.dtype, tables, "1st")
    k = step_of(rows, n, source.dtype, tables, "st")
    tables.emit()
    nb = len(batch)
    size = s.itemsize
    loops = [
        (d.extent, fixed(d.steps[n]) * source.dtype.itemsize, access.strides[i] * size)
        for i, d in enumerate(batch)
    ]
    add_pack(
        p, s, how, source, access, exact=True, batch=loops, cols=cols, inner=k,
        col_count=width, inner_count=depth, panel_bytes=s.row_bytes, row_bytes=width * size,
    )  # fmt: skip
    split = nb + len(rows)
    strides = list(access.strides)
    return access, (strides[:nb], strides[nb:split], strides[split:])


def reordered(
    p: ProgramBuilder, s: Shape, w: Access, order: Sequence[int], tables: Tables
) -> Access:
    """A copy of weights, contiguous with their axes in `order`, seen with the axes they had."""
    dims = merged(Dim(w.shape[axis], (w.strides[axis],)) for axis in order[:-1])
    # The last axis goes along the lanes; what is contiguous in memory is walked by k.
    last = Dim(w.shape[order[-1]], (w.strides[order[-1]],))
    split = max(0, min(2, len(dims) - 1))
    copy, _ = copied(p, s, w, dims[:split], dims[split:], (last,), 0, tables)
    strides, size = [0] * len(w.shape), 1
    for axis in reversed(order):
        strides[axis] = size
        size *= w.shape[axis]
    return Access(copy.buffer, copy.dtype, w.shape, tuple(strides))


def with_operand(
    c: Contraction, n: int, access: Access, strides: tuple[list[int], list[int], list[int]]
) -> Contraction:
    """The contraction with a copy (see `copied`) in the place of operand A."""

    def put(dims: Sequence[Dim], steps: Sequence[int]) -> tuple[Dim, ...]:
        return tuple(
            Dim(d.extent, (*d.steps[:n], step, *d.steps[n + 1 :]))
            for d, step in zip(dims, steps, strict=True)
        )

    operands = (*c.operands[:n], access, *c.operands[n + 1 :])
    return replace(
        c,
        operands=operands,
        batch=put(c.batch, strides[0]),
        rows=put(c.rows, strides[1]),
        inner=put(c.inner, strides[2]),
    )


def _packed_once(
    p: ProgramBuilder, c: Contraction, s: Shape, how: str, right: Side, tables: Tables
) -> Side:
    """Panels of B packed by a phase of their own, which an earlier contraction may have appended."""
    if not c.shared[B] or p.flow is not None:
        return _packed_ahead(p, c, s, how, right, tables)
    batch = tuple((d.extent, d.steps[B]) for d in c.batch)
    key = (right, s.ahead, how, extent_of(c.cols), extent_of(c.inner), batch)
    if key not in p.panels:
        p.panels[key] = _packed_ahead(p, c, s, how, right, tables)
    found: Side = p.panels[key]
    return found


def _packed_ahead(
    p: ProgramBuilder, c: Contraction, s: Shape, how: str, right: Side, tables: Tables
) -> Side:
    """Append the phase that packs all panels of B."""
    exact = bool(s.line)  # what lies beside the last column is the same for all tiles: untouched
    s = s.ahead
    source = c.operands[B]
    cols, inner = extent_of(c.cols), extent_of(c.inner)
    panels = -(-cols // s.width)
    one = panels * inner * s.width
    own = [d for d in c.batch if d.steps[B] != 0]
    count = extent_of(own)
    access = p.temp_like(COMPUTE_DTYPES[s.scalar], (count, panels, inner, s.width))
    tables.emit()
    steps, total = [], one
    for d in reversed(own):
        steps.append(total * s.itemsize)
        total *= d.extent
    steps.reverse()
    loops = [
        (d.extent, fixed(d.steps[B]) * source.dtype.itemsize, step)
        for d, step in zip(own, steps, strict=True)
    ]
    add_pack(
        p, s, how, source, access, exact=exact, batch=loops, cols=right.second, inner=right.first,
        col_count=cols, inner_count=inner, panel_bytes=inner * s.row_bytes, row_bytes=s.row_bytes,
    )  # fmt: skip
    found = iter(steps)
    batch = [next(found) if d.steps[B] != 0 else 0 for d in c.batch]
    batch = [0] * (2 - len(batch)) + batch
    return Side(access, Step("0"), Step("0"), (batch[0], batch[1]))
