"""Models behind the protocols that standard clients speak: `fanal serve PATH`.

`Client` and `RequestError` are here for programs that ask; what answers is imported only where it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fanal.serve.client import Client, RequestError

__all__ = ["Client", "RequestError"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from fanal.serve import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
