"""Where PyTorch's users look for `utils.data` and `utils.checkpoint`."""

import importlib

__all__ = ["checkpoint", "data"]


def __getattr__(name: str) -> object:
    """The parts, loaded on first use: `fanal.utils.data` needs no import of its own."""
    if name in __all__:
        return importlib.import_module(f"fanal.utils.{name}")
    raise AttributeError(f"module 'fanal.utils' has no attribute {name!r}")
