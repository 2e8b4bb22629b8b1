"""`pad`: elements added around the last dimensions, by four rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.ops.layout import expand_to, flip_p, slice_dim
from fanal.ops.shape import cat, constant_pad

MODES = ("constant", "reflect", "replicate", "circular")


def _cropped(x: Any, d: int, low: int, high: int) -> tuple[Any, int, int]:
    """Negative paddings taken off first; what is left to add."""
    start, stop = max(-low, 0), x.shape[d] - max(-high, 0)
    return slice_dim(x, d, start, stop), max(low, 0), max(high, 0)


def _reflected(x: Any, d: int, low: int, high: int) -> list[Any]:
    n = x.shape[d]
    before = bind(flip_p, slice_dim(x, d, 1, low + 1), dims=(d,)) if low else None
    after = bind(flip_p, slice_dim(x, d, n - 1 - high, n - 1), dims=(d,)) if high else None
    return [before, x, after]


def _replicated(x: Any, d: int, low: int, high: int) -> list[Any]:
    n = x.shape[d]

    def edge(at: int, count: int) -> Any:
        shape = tuple(count if i == d else m for i, m in enumerate(x.shape))
        return expand_to(slice_dim(x, d, at, at + 1), shape) if count else None

    return [edge(0, low), x, edge(n - 1, high)]


def _wrapped(x: Any, d: int, low: int, high: int) -> list[Any]:
    n = x.shape[d]
    before = slice_dim(x, d, n - low, n) if low else None
    return [before, x, slice_dim(x, d, 0, high) if high else None]


_RULES = {"reflect": _reflected, "replicate": _replicated, "circular": _wrapped}


@fused
def _pad(input: Any, pad: tuple[int, ...], mode: str) -> Any:
    x = input
    for i in range(len(pad) // 2):
        d = x.ndim - 1 - i
        if mode == "replicate" and min(pad[2 * i], pad[2 * i + 1]) < 0:
            # Cut off after what is added: what is repeated is the edge of the whole.
            low, high = max(pad[2 * i], 0), max(pad[2 * i + 1], 0)
            x = cat([p for p in _replicated(x, d, low, high) if p is not None], d)
            x = _cropped(x, d, min(pad[2 * i], 0), min(pad[2 * i + 1], 0))[0]
            continue
        x, low, high = _cropped(x, d, pad[2 * i], pad[2 * i + 1])
        parts = [p for p in _RULES[mode](x, d, low, high) if p is not None]
        x = parts[0] if len(parts) == 1 else cat(parts, d)
    return x


def pad(
    input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Any:
    """Elements added at the ends of the last dimensions: pad = (left, right, top, bottom, …).

    mode: "constant" adds `value` (0), "reflect" mirrors without repeating the edge, "replicate"
    repeats the edge, "circular" wraps around. Negative numbers crop.
    """
    widths = tuple(int(p) for p in pad)
    if mode not in MODES:
        raise NotImplementedError(
            message("pad", "Unrecognised padding mode", repr(mode), ", ".join(MODES))
        )
    if len(widths) % 2 or len(widths) // 2 > input.ndim:
        what = "Padding length must be divisible by 2 and at most twice the number of dimensions"
        raise RuntimeError(message("pad", what, widths, f"for {input.ndim} dimensions"))
    if mode == "constant":
        return constant_pad(input, widths, 0 if value is None else value)
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    _check_dims(input, widths, mode)
    return _pad(input, widths, mode)


def _check_dims(input: Any, widths: tuple[int, ...], mode: str) -> None:
    spatial = len(widths) // 2
    if input.ndim not in (spatial + 1, spatial + 2) or spatial > 3:
        raise NotImplementedError(
            message(
                "pad", f"mode {mode!r} pads the last 1, 2 or 3 dimensions of a tensor with one or "
                "two more", f"{widths} for an input {tuple(input.shape)}",
            )
        )
    for i in range(spatial):
        low, high, n = widths[2 * i], widths[2 * i + 1], input.shape[-1 - i]
        most = {"reflect": n - 1, "circular": n}.get(mode)
        if most is not None and max(low, high) > most:
            raise RuntimeError(
                message(
                    "pad", f"Padding size should be less than {'or equal to ' * (mode != 'reflect')}"
                    f"the corresponding input dimension in mode {mode!r}",
                    f"{(low, high)} for extent {n}", f"at most {most}",
                )
            )
