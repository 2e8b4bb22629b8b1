"""Attention on the native backend: tiles of scores that never leave the caches.

Queries lie on the lanes: a *panel* is as many queries as a register tile has columns. Scores are
computed transposed, keys by queries, so that keys and values are read where they lie, a softmax needs
no sum across lanes, and the weights come out in the order in which the next product reads them.
"""

from fanal.backends.native.attention.backward import add_backward
from fanal.backends.native.attention.forward import add_forward
from fanal.backends.native.attention.setting import fits

__all__ = ["add_backward", "add_forward", "fits"]
