"""Capture: whole functions as native programs."""

from fanal.compiler.function import compile

__all__ = ["compile"]
