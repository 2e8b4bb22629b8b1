"""The contraction primitive on the native backend: hand it to the contraction engine."""

from __future__ import annotations

from fanal.backends.native.contract import Epilogue, lower_dot
from fanal.backends.native.lower.lowering import Lowering, node_form, rule
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.graph.ir import Node
from fanal.ops.stops import hold_p


@rule("dot")
def _dot(low: Lowering, node: Node) -> None:
    a, b = (low.operand(v) for v in node.inputs)
    attributes = node.attributes
    # A value that is kept for several products is packed once for them. Then the phases depend on
    # what came before.
    first, second = (v.node is not None and v.node.primitive is hold_p for v in node.inputs)
    shared = (first, second)

    def emit(
        p: ProgramBuilder, a: Access, b: Access, out: Access, epilogue: Epilogue | None
    ) -> None:
        axes = {k: attributes[k] for k in ("contract", "batch")}
        lower_dot(p, a, b, out, **axes, epilogue=epilogue, shared=shared)

    form = None if any(shared) else node_form(node)
    low.contraction((a, b), low.destination(node.outputs[0]), emit, form)
