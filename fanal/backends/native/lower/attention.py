"""Attention on the native backend: kernels of its own; the formula where heads are too wide."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fanal.backends.native.attention import add_backward, add_forward, fits
from fanal.backends.native.lower.composed import lower_body
from fanal.backends.native.lower.lowering import Lowering, node_form, rule
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.graph.ir import Node


def _has_kernels(node: Node) -> bool:
    q, k, v = node.inputs[:3]
    return fits(q.shape[3], v.shape[3]) and 0 not in (*q.shape, *k.shape, *v.shape)


def _hand_over(low: Lowering, node: Node, add: Callable[..., None]) -> None:
    """Schedule `add(program, *inputs, *outputs, **attributes)`, if there are kernels."""
    if not _has_kernels(node):
        lower_body(low, node)
        return
    reads = [low.operand(v) for v in node.inputs]
    emit = functools.partial(add, **node.attributes)
    low.opaque(reads, [low.destination(v) for v in node.outputs], emit, node_form(node))


@rule("attention")
def _attention(low: Lowering, node: Node) -> None:
    def add(p: ProgramBuilder, *operands: Access, **attributes: Any) -> None:
        q, k, v, *masks, out, lse = operands
        add_forward(p, q, k, v, masks[0] if masks else None, out, lse, **attributes)

    _hand_over(low, node, add)


@rule("attention_backward")
def _attention_backward(low: Lowering, node: Node) -> None:
    def add(p: ProgramBuilder, *operands: Access, **attributes: Any) -> None:
        *given, dq, dk, dv = operands
        add_backward(p, tuple(given[:6]), given[6] if len(given) > 6 else None, (dq, dk, dv), **attributes)

    _hand_over(low, node, add)
