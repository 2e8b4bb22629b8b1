"""What two builtins do while a call is taken down again with symbols.

`print` does nothing: what the call prints was printed when it ran. `len` of a tensor is its size, which is
no `int` then (the builtin returns nothing else).
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fanal.core.symbols import is_symbolic
from fanal.tensor.tensor import Tensor

_changing = threading.Lock()
_threads: set[int] = set()  # that take a call down
_print, _len = builtins.print, builtins.len


def _printed(*args: Any, **kwargs: Any) -> None:
    if threading.get_ident() not in _threads:
        _print(*args, **kwargs)


def _length(x: Any, /) -> Any:
    first: Any = x._layout.shape[:1] if isinstance(x, Tensor) else ()
    return first[0] if first and is_symbolic(first[0]) else _len(x)


@contextmanager
def builtins_for_symbols() -> Iterator[None]:
    """In other threads all is as ever."""
    global _print, _len
    with _changing:
        if not _threads:
            _print, _len = builtins.print, builtins.len
            builtins.print, builtins.len = _printed, _length
        _threads.add(threading.get_ident())
    try:
        yield
    finally:
        with _changing:
            _threads.discard(threading.get_ident())
            if not _threads:
                builtins.print, builtins.len = _print, _len
