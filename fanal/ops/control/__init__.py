"""Control flow as operations: a branch, a loop over a sequence, a loop while something holds.

Their attributes hold graphs. Each has a reference, derivatives in both directions and a batching rule
that are made of those of the graphs inside.
"""

from fanal.ops.control.cond import bind_cond, choose, cond_p
from fanal.ops.control.cond_reverse import pull as _pull_cond
from fanal.ops.control.scan import bind_scan, loop, scan_p
from fanal.ops.control.scan_reverse import pull as _pull_scan
from fanal.ops.control.while_loop import bind_while, repeat, while_p

del _pull_cond, _pull_scan
__all__ = [
    "bind_cond", "bind_scan", "bind_while", "choose", "cond_p", "loop", "repeat", "scan_p", "while_p",
]  # fmt: skip
