"""Derivatives of graphs: forward (jvp), reverse (vjp, with what to save), batched (vmap)."""

from fanal.ops.derive.batching import batched
from fanal.ops.derive.forward import jvp
from fanal.ops.derive.reverse import Derivative, derivative

__all__ = ["Derivative", "batched", "derivative", "jvp"]
