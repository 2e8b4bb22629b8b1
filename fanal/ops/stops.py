"""Identities: what `detach()` and `no_grad()` are in a graph, a value to be kept, and one to be had later.

`detach` (in `arithmetic`) stops every derivative. `stop_reverse` is what `no_grad` does to a value that is
read inside of it: gradients stop there, tangents pass, as forward derivatives know no such mode.
`hold` stops nothing: it marks what costs more to compute again than to keep until it is used.
`after` is the barrier of what is computed again to save memory: it has an operand's value, but is neither
merged with it nor there before its other operands are. So what is computed from it is another value
than what was computed from the operand, and comes late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind
from fanal.graph.ir import Value
from fanal.ops.layout import in_front
from fanal.ops.primitive import EVERY, Primitive, elementwise

stop_reverse_p: Primitive = elementwise(
    "stop_reverse", lambda x: x, arity=1, dtypes_=EVERY, smooth=False, native="detach",
    jvp=lambda tangents, inputs, outputs: bind(stop_reverse_p, tangents[0]),
    transpose=lambda ct, inputs, linear: [None],
    doc="x itself; gradients stop here, tangents pass",
)  # fmt: skip

hold_p: Primitive = elementwise(
    "hold", lambda x: x, arity=1, dtypes_=EVERY, native="detach",
    jvp=lambda tangents, inputs, outputs: bind(hold_p, tangents[0]),
    transpose=lambda ct, inputs, linear: [ct],
    doc="x itself; whole programs compute it once and keep it in memory",
)  # fmt: skip


def _after_jvp(tangents: Sequence[Value | None], inputs: Sequence[Value], outputs: Any) -> Any:
    moved = tangents[0]
    return None if moved is None else bind(after_p, moved, *inputs[1:])


after_p: Primitive = Primitive(
    name="after",
    kind="barrier",
    infer=lambda x, *others: [x.type],
    reference=lambda x, *others: x,
    jvp=_after_jvp,
    transpose=lambda ct, inputs, linear: [ct, *[None] * (len(inputs) - 1)],
    batch=lambda inputs, axes, size: (
        bind(after_p, in_front(inputs[0], axes[0], size), *inputs[1:]), 0
    ),
    doc="x itself, as a value of its own that is not computed before the other operands are",
)
