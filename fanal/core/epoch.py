"""A count of changes to the structure of objects that programs are captured with."""

from __future__ import annotations

from typing import Any


class Epoch:
    """Counts changes of all modules: `count` registrations, deletions, attributes, containers;
    `hooks` what comes and goes of hooks (also of leaf tensors and optimisers).

    Whoever keeps something derived from modules (a captured step) compares them. They stand in an
    object of their own since writing to a class attribute empties method caches.
    """

    __slots__ = ("count", "hooks")

    def __init__(self) -> None:
        self.count = 0
        self.hooks = 0


epoch = Epoch()


class Table(dict[Any, Any]):
    """A dict whose changes count: what a module holds its parts and hooks in."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        epoch.count += 1
        super().__setitem__(key, value)

    def __delitem__(self, key: Any) -> None:
        epoch.count += 1
        super().__delitem__(key)

    def clear(self) -> None:
        epoch.count += 1
        super().clear()

    def pop(self, *args: Any) -> Any:
        epoch.count += 1
        return super().pop(*args)

    def popitem(self) -> Any:
        epoch.count += 1
        return super().popitem()

    def setdefault(self, *args: Any) -> Any:
        epoch.count += 1
        return super().setdefault(*args)

    def update(self, *args: Any, **kwargs: Any) -> None:
        epoch.count += 1
        super().update(*args, **kwargs)

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        epoch.count += 1
        return super().__ior__(other)
