"""A dictionary that forgets: what is looked up by shapes must not grow with the number of shapes."""

from __future__ import annotations

from itertools import islice
from typing import Any


class BoundedCache(dict[Any, Any]):
    """A dict of at most `limit` entries; when it is full, the older half goes.

    Looking up costs what a dict's does: there is no order of use to keep.
    """

    __slots__ = ("limit",)

    def __init__(self, limit: int):
        super().__init__()
        self.limit = limit

    def __setitem__(self, key: Any, value: Any) -> None:
        if len(self) >= self.limit:
            for old in list(islice(self, self.limit // 2)):
                self.pop(old, None)
        super().__setitem__(key, value)
