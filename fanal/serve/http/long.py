"""Long JSON, read in small steps: no step keeps other threads waiting for more than about a millisecond.

A parser holds the interpreter's lock from a text's first byte to its last, in whatever thread it runs. So lists that are
long are cut out of the text and read in pieces, each of which becomes numbers of its datatype at once; what is left is
short. This is for lists as programs write them. Whatever is otherwise (`Irregular`) is read as a whole, as short texts
are, which also says what is wrong with it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from fanal.serve.datatypes import Datatype
from fanal.serve.elements import MAX_DIMS
from fanal.serve.errors import ServeError
from fanal.serve.http.tensors import from_json, shape_of
from fanal.serve.http.text import Irregular, parsed

LONG = 128 << 10  # bytes of a body that takes longer than some milliseconds
_LIST = 64 << 10  # bytes of a list that is cut out
_PIECE = 64 << 10
_OPEN, _CLOSE = b"[]"
_MOST = 256  # lists that are
_HOLDERS = 5  # lists and objects that a long list may be in

Found = TypeVar("Found")


class Long:
    """A list that was cut out of a text, unread."""

    __slots__ = ("_place",)

    def __init__(self, body: bytes | bytearray, first: int, last: int):
        self._place = body, first, last

    @property
    def depth(self) -> int:
        """Lists within lists that it begins with."""
        return _depth(*self._place)

    def array(self, datatype: Datatype, shape: Sequence[int] | None = None) -> np.ndarray:
        """Its numbers, of the shape that it has; or, flat or nested as it is said, of another."""
        array = _array(*self._place, datatype)
        if shape is None or array.shape == tuple(shape):
            return array
        if array.ndim > 1 or array.size != math.prod(shape):
            raise Irregular
        return array.reshape(shape)


def read(body: bytes | bytearray, depth: int, use: Callable[[Any], Found]) -> Found:
    """Give a text's value to a function, with `Long` where long lists were; if that can't be, with lists."""
    try:
        return use(_cut(body, depth))
    except Irregular:
        return use(parsed(body, depth))


def _cut(body: bytes | bytearray, depth: int) -> Any:
    if b"\\" in body:
        raise Irregular  # where its strings end takes a parser to see
    rest: list[bytes | bytearray] = []
    lists: list[Long] = []
    at = done = 0
    while at < len(body):
        start = body.find(b'"', at)
        start = len(body) if start < 0 else start
        if start - at > _LIST:
            brace = body.find(b"}", at, start)
            first = body.find(b"[", at, start)
            last = body.rfind(b"]", at, start if brace < 0 else brace) + 1
            if first >= 0 and last - first > _LIST:
                rest += body[done:first], b'"\\u0000%d"' % len(lists)
                lists.append(Long(body, first, last))
                done = last
                pause()
        end = body.find(b'"', start + 1)
        at = len(body) if end < 0 else end + 1
    if not 0 < len(lists) <= _MOST or max(x.depth for x in lists) + _HOLDERS > depth:
        raise Irregular
    rest.append(body[done:])
    return _filled(_read(b"".join(rest), depth), {f"\0{i}": x for i, x in enumerate(lists)})


def _filled(value: Any, lists: dict[str, Long]) -> Any:
    """A value with lists in the places of the strings, of a kind that the text could not have, that stood for them."""
    todo = [value]
    while todo:
        holder = todo.pop()
        for key, item in list(holder.items() if type(holder) is dict else enumerate(holder) if type(holder) is list else ()):
            if type(item) is str:
                if item in lists:
                    holder[key] = lists[item]
            elif type(item) is dict or type(item) is list:
                todo.append(item)
    return value


def _array(body: bytes | bytearray, first: int, last: int, datatype: Datatype) -> np.ndarray:
    """The list that the bytes from `first` to `last` are. Nothing but pieces is copied."""
    depth = _depth(body, first, last)
    if not 0 < depth <= MAX_DIMS or body[last - 1] != _CLOSE:
        raise Irregular
    between = b"]" * (depth - 1) + b","  # what follows each but the last of its elements
    parts: list[np.ndarray] = []
    at, end = first + 1, last - 1
    while at < end:
        stop = end
        if end - at > _PIECE:
            stop = body.rfind(between, at, at + _PIECE)
            if stop < 0:
                stop = body.find(between, at + _PIECE - len(between), end)
            stop = end if stop < 0 else stop + depth - 1
        if stop - at > 2 * _PIECE and depth > 1:  # one element that is long itself
            part = _array(body, body.index(b"[", at, stop), stop, datatype)[None]
        else:
            values = _read(b"".join((b"[", body[at:stop], b"]")), MAX_DIMS + 1)
            try:
                part = from_json(values, datatype, shape_of(values), "")
            except ServeError:
                raise Irregular from None
        if part.ndim != depth or not part.size:
            raise Irregular
        parts.append(part)
        at = stop + 1
        pause()
    if at == end or len({p.shape[1:] for p in parts}) != 1:
        raise Irregular
    return np.concatenate(parts)


def _read(text: bytes, depth: int) -> Any:
    try:
        return parsed(text, depth)
    except ServeError:
        raise Irregular from None  # as a whole it is told what is wrong, and where


def _depth(body: bytes | bytearray, first: int, last: int) -> int:
    depth = 0
    while first + depth < last and body[first + depth] == _OPEN:
        depth += 1
    return depth


def pause() -> None:
    """Let other threads go on, if there are any that wait."""
    time.sleep(0)
