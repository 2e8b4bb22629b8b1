"""The order of elements in memory that a user may ask for, and the one kind of layout there is."""

from __future__ import annotations


class memory_format:
    """`contiguous_format`, `channels_last`, `channels_last_3d` or `preserve_format`."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"fanal.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class layout:
    """How a tensor's elements are kept; `strided` is the only one here."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"fanal.{self.name}"

    def __reduce__(self) -> str:
        return self.name


contiguous_format = memory_format("contiguous_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
preserve_format = memory_format("preserve_format")
strided = layout("strided")
