"""Devices. Today there is one, the CPU; a name of another says what exists."""

from __future__ import annotations

from fanal.core.errors import message

_KNOWN = ("cpu", "cuda", "mps", "xpu", "xla", "tpu", "meta")


class device:
    """Where a tensor lives: `fanal.device("cpu")`, with an optional index ("cpu:0").

    Raises RuntimeError for a device that does not exist here or is not spelled right.
    """

    __slots__ = ("index", "type")
    type: str
    index: int | None

    def __new__(cls, type: str | device = "cpu", index: int | None = None) -> device:
        if isinstance(type, device):
            return type
        if not isinstance(type, str):
            raise TypeError(message("device", "not a device", repr(type), "a string such as 'cpu'"))
        name, _, number = type.partition(":")
        if name != "cpu":
            what = "no such device here" if name in _KNOWN else "unknown device"
            raise RuntimeError(
                message(
                    "device", what, repr(type), "'cpu', the only device that exists today",
                    "device='cpu'; GPUs and TPUs arrive with the XLA backend",
                )
            )
        if number and not number.isdigit():
            raise RuntimeError(message("device", "bad index", repr(type), "a form such as 'cpu:0'"))
        return CPU if index is None and not number else _with_index(index or int(number or 0))

    def __repr__(self) -> str:
        if self.index is None:
            return f"device(type='{self.type}')"
        return f"device(type='{self.type}', index={self.index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __enter__(self) -> device:
        return self  # new tensors are made here anyway, as it is the only device

    def __exit__(self, *exc: object) -> None:
        pass

    def __reduce__(self) -> tuple[object, ...]:
        return (device, (self.type, self.index))


def _with_index(index: int | None) -> device:
    d = object.__new__(device)
    object.__setattr__(d, "type", "cpu")
    object.__setattr__(d, "index", index)
    return d


CPU = _with_index(None)
