"""Control flow as operations: a branch, a loop over a sequence, a loop while something holds.

Their attributes hold graphs. Each has a reference, derivatives in both directions and a batching rule
that are made of those of the graphs inside (`cond_reverse` and `scan_reverse` complete the records).
"""

from fanal.ops.control import cond_reverse, scan_reverse
from fanal.ops.control.cond import bind_cond, choose, cond_p
from fanal.ops.control.scan import bind_scan, loop, scan_p
from fanal.ops.control.while_loop import bind_while, repeat, while_p

__all__ = [
    "bind_cond", "bind_scan", "bind_while", "choose", "cond_p", "cond_reverse", "loop", "repeat",
    "scan_p", "scan_reverse", "while_p",
]  # fmt: skip
