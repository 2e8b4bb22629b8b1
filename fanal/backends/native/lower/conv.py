"""Convolution and its gradients on the native backend: hand them to the contraction engine."""

from __future__ import annotations

from typing import Any

from fanal.backends.native import contract
from fanal.backends.native.lower.lowering import Lowering, node_form, rule
from fanal.backends.native.program import Access, ProgramBuilder
from fanal.graph.ir import Node


def _hand_over(low: Lowering, node: Node, name: str) -> None:
    reads = [low.operand(v) for v in node.inputs]
    keep = ("stride", "padding", "dilation", "groups")
    attributes: dict[str, Any] = {k: node.attributes[k] for k in keep}
    attributes["input_dilation"] = (1,) * len(attributes["stride"])

    def emit(
        p: ProgramBuilder, a: Access, b: Access, out: Access, epilogue: contract.Epilogue | None
    ) -> None:
        getattr(contract, name)(p, a, b, out, **attributes, epilogue=epilogue)

    low.contraction(reads, low.destination(node.outputs[0]), emit, node_form(node))


@rule("conv")
def _conv(low: Lowering, node: Node) -> None:
    _hand_over(low, node, "lower_conv")


@rule("conv_input_grad")
def _input_grad(low: Lowering, node: Node) -> None:
    _hand_over(low, node, "lower_conv_input_grad")


@rule("conv_weight_grad")
def _weight_grad(low: Lowering, node: Node) -> None:
    _hand_over(low, node, "lower_conv_weight_grad")


@rule("conv_winograd")
def _winograd(low: Lowering, node: Node) -> None:
    reads = [low.operand(v) for v in node.inputs]

    def emit(
        p: ProgramBuilder, a: Access, b: Access, out: Access, epilogue: contract.Epilogue | None
    ) -> None:
        contract.lower_winograd(p, a, b, out, **node.attributes, epilogue=epilogue)

    low.contraction(reads, low.destination(node.outputs[0]), emit, node_form(node))
