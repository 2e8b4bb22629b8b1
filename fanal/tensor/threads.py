"""How many threads kernels run on."""

from __future__ import annotations

from fanal.backends.native.executable import runtime
from fanal.core.errors import message


def get_num_threads() -> int:
    """Number of threads that a large operation is spread over."""
    return runtime.get_num_threads()


def set_num_threads(num: int) -> None:
    """Use `num` threads from now on. The numbers computed don't depend on it."""
    if not isinstance(num, int) or num < 1:
        raise RuntimeError(message("set_num_threads", "not a positive number", num))
    runtime.set_num_threads(num)
