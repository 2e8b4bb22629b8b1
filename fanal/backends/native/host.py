"""Calls to the host: phases of a program that run a NumPy function on the program's buffers.

Such a phase is an ordinary entry of the table, whose code is a C callback (ctypes takes the GIL). It
wraps its operands in arrays without copying and writes the results into the program's memory. An
exception stays here, with a status code, until whoever launched the program takes it.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fanal.backends.native.program import STATUS_HOST, Access, Kernel
from fanal.core.errors import Limit, message

if TYPE_CHECKING:
    from fanal.backends.native.emit import Builder

_Entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
_numbers = itertools.count()
_raised = threading.local()


def taken_error() -> BaseException:
    """The exception that the last host call of this thread left behind."""
    error = getattr(_raised, "error", None)
    _raised.error = None
    return error or RuntimeError(message("host", "a host call failed without an exception"))


class _Window:
    """An operand in the program's memory, as a NumPy array: all but its address is found once."""

    __slots__ = ("buffer", "dtype", "offset", "shape", "span", "start", "strides")

    def __init__(self, access: Access):
        size = access.dtype.itemsize
        self.buffer, self.shape = 8 * access.buffer, access.shape
        self.dtype = np.dtype(access.dtype.numpy)
        empty = 0 in access.shape
        self.strides = None if empty else tuple(s * size for s in access.strides)
        reach = [s * (n - 1) for s, n in zip(self.strides or (), self.shape, strict=not empty)]
        # With a negative stride the first element is not the lowest one.
        self.start = -sum(r for r in reach if r < 0)
        self.offset = access.offset - self.start
        length = self.start + sum(r for r in reach if r > 0) + size
        self.span = ctypes.c_char * (0 if empty else length)

    def array(self, bufs: int) -> Any:
        """The array, for the table of buffers at this address."""
        address = ctypes.c_int64.from_address(bufs + self.buffer).value
        memory: Any = self.span.from_address(address + self.offset)
        return np.ndarray(self.shape, self.dtype, memory, self.start, self.strides)


class HostCall:
    """One call: `function(*arrays)` returns an array or a tuple of them, one for each result."""

    __slots__ = ("_callback", "function", "reads", "writes")

    def __init__(
        self, function: Callable[..., Any], reads: Sequence[Access], writes: Sequence[Access]
    ):
        self.function = function
        self.reads = [_Window(a) for a in reads]
        self.writes = [_Window(a) for a in writes]
        self._callback = _Entry(self._run)

    def kernel(self, name: str) -> Kernel:
        """The kernel of the phase that makes this call."""

        def emit(b: Builder) -> NoReturn:
            raise Limit(message(name, "calls NumPy, which a program on its own does not have"))

        entry = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        return Kernel(f"host {name} {next(_numbers)}", emit, entry, self)

    def _run(self, desc: int, bufs: int, task: int, status: int) -> None:
        del desc, task
        try:
            results = self.function(*[x.array(bufs) for x in self.reads])
            given = results if isinstance(results, tuple) else (results,)
            for window, result in zip(self.writes, given, strict=True):
                window.array(bufs)[...] = result
        except BaseException as error:  # also KeyboardInterrupt: no exception can cross the callback
            _raised.error = error
            ctypes.c_int64.from_address(status).value = STATUS_HOST
