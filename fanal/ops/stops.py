"""Identities: what `detach()` and `no_grad()` are in a graph, and a value that is to be kept.

`detach` (in `arithmetic`) stops every derivative. `stop_reverse` is what `no_grad` does to a value that is
read inside of it: gradients stop there, tangents pass, as forward derivatives know no such mode.
`hold` stops nothing: it marks what costs more to compute again than to keep until it is used.
"""

from __future__ import annotations

from fanal.core.dispatch import bind
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
