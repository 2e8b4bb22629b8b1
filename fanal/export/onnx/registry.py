"""The rules by which primitives become ONNX operators, by the primitives' names.

A rule takes the writer, the node, and its operands as tensors of the ONNX graph; it gives the node's
results. What has no rule and no body of other primitives can't be said in ONNX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanal.core.errors import Limit

Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of primitives."""

    def register(function: Rule) -> Rule:
        for name in names:
            assert name not in RULES, name
            RULES[name] = function
        return function

    return register


class Unsayable(Limit):
    """What ONNX can't say, before it is known where the program asks for it."""
