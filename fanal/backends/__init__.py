"""Where graphs run: `native` (machine code of our own) and `reference` (NumPy, for tests).

The other modules answer programs that ask for, or set switches of, libraries that are not used.
"""

import importlib
from typing import Any

_SWITCHES = ("cuda", "cudnn", "mps")


def __getattr__(name: str) -> Any:
    if name in _SWITCHES:
        return importlib.import_module(f"fanal.backends.{name}")
    raise AttributeError(f"module 'fanal.backends' has no attribute {name!r}")
