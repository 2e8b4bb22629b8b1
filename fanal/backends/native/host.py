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
    """Memory of the program as NumPy's array interface describes it."""

    __slots__ = ("__array_interface__",)

    def __init__(self, address: int, access: Access):
        size = access.dtype.itemsize
        self.__array_interface__ = {
            "version": 3,
            "data": (address + access.offset, False),
            "typestr": access.dtype.numpy.str,
            "shape": access.shape,
            "strides": tuple(s * size for s in access.strides),
        }


class HostCall:
    """One call: `function(*arrays)` returns an array or a tuple of them, one for each result."""

    __slots__ = ("_callback", "function", "reads", "writes")

    def __init__(
        self, function: Callable[..., Any], reads: Sequence[Access], writes: Sequence[Access]
    ):
        self.function, self.reads, self.writes = function, tuple(reads), tuple(writes)
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
            arrays = [self._array(bufs, a) for a in self.reads]
            results = self.function(*arrays)
            given = results if isinstance(results, tuple) else (results,)
            for access, result in zip(self.writes, given, strict=True):
                self._array(bufs, access)[...] = result
        except BaseException as error:  # also KeyboardInterrupt: no exception can cross the callback
            _raised.error = error
            ctypes.c_int64.from_address(status).value = STATUS_HOST

    @staticmethod
    def _array(bufs: int, access: Access) -> Any:
        address = ctypes.c_int64.from_address(bufs + 8 * access.buffer).value
        return np.asarray(_Window(address, access))
