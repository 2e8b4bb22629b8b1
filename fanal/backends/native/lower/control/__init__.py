"""Branches and loops on the native backend: bodies lowered as graphs of their own, into one program.

A body becomes phases over slots of the table of buffers (see `flow`). A carry has two places: a step
reads one and writes the other; the first one reads the initial value where it lies.
"""

from fanal.backends.native.lower.control import cond, scan, while_loop
from fanal.backends.native.lower.control.bodies import BodyLowering

__all__ = ["BodyLowering", "cond", "scan", "while_loop"]
