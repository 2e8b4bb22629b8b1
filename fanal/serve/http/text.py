"""JSON in and out: what is malformed is refused, and numbers are written so that they are read as they were.

NaN, Infinity and -Infinity, which JSON does not have, are read and written as TensorFlow Serving does.
"""

from __future__ import annotations

import gc
import json
import math
import time
from typing import Any

import numpy as np
import orjson

from fanal.serve.errors import ServeError, invalid

_PIECE = 16 << 10  # numbers that are written at once, in less than a millisecond
_LONG = 128 << 10  # bytes of a text that may become many lists
_TOKENS = (b"NaN", b"Infinity")


class Irregular(Exception):
    """A text that has to be read as a whole, for it is not as it was taken to be (long.py)."""


def parsed(body: bytes | bytearray | memoryview, depth: int) -> Any:
    """The value of a text, nested at most `depth` deep; ServeError (400) if it isn't JSON."""
    if len(body) <= _LONG or not gc.isenabled():
        return _parsed(body, depth)
    # There are no cycles in what is made here, of millions of lists perhaps, and to look for some would take most of the time.
    gc.disable()
    try:
        return _parsed(body, depth)
    finally:
        gc.enable()


def _parsed(body: bytes | bytearray | memoryview, depth: int) -> Any:
    if not body:
        raise invalid("the body is empty", None, "JSON")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as why:
        raw = bytes(body)
        text = str(why)
        if "depth" in text:
            raise _deep(depth) from None
        # Of a number beyond float64 the slower reader can tell which field it is in.
        if not (any(t in raw for t in _TOKENS) or "infinity" in text):
            raise invalid("the body is no JSON", text) from None
        value = _with_tokens(raw, depth)
    raw = body if type(body) is bytes else bytes(body)
    if raw.count(b"[") + raw.count(b"{") > depth:
        _check_depth(value, depth)
    return value


def _with_tokens(raw: bytes, depth: int) -> Any:
    """What the standard library reads, which knows NaN and the infinities; it is several times as slow."""
    try:
        value = json.loads(raw.decode(), parse_float=_finite)
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False, default=vars).encode()  # half a surrogate pair is no text
        return value
    except RecursionError:
        raise _deep(depth) from None
    except ValueError as why:
        raise invalid("the body is no JSON", str(why)[:200]) from None


class _Beyond:
    """A number that float64 cannot hold, and so no datatype: whoever reads its field refuses it."""

    def __init__(self, text: str):
        self.text = text


def _finite(text: str) -> float | _Beyond:
    value = float(text)
    return value if math.isfinite(value) else _Beyond(text)


def _deep(most: int) -> ServeError:
    return invalid("the body is nested too deep", None, f"at most {most} levels")


def _check_depth(value: Any, most: int) -> None:
    level: list[Any] = [value] if isinstance(value, list | dict) else []
    for _ in range(most):
        if not level:
            return
        level = [
            v for c in level for v in (c if type(c) is list else c.values()) if type(v) is list or type(v) is dict
        ]
    if level:
        raise _deep(most)


def numbers(array: np.ndarray) -> bytes:
    """An array as JSON: nested as its shape is, floats with the fewest digits that give them back."""
    if array.dtype.kind == "V":  # bfloat16, which is a float32 with fewer bits
        array = array.astype(np.float32)
    if not array.ndim:
        return numbers(array.reshape(1))[1:-1]
    if array.size > _PIECE:
        return _pieces(array)
    text = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in text:  # what is written where a number is not finite
        return _tokens(text, array)
    return text


def _pieces(array: np.ndarray) -> bytes:
    """The same, some rows at a time: whoever waits for the interpreter's lock gets it between them."""
    step = max(1, _PIECE // max(1, array[0].size))
    parts = []
    for at in range(0, len(array), step):
        part = array[at : at + step]
        parts.append(numbers(part)[1:-1] if len(part) > 1 or part.ndim == 1 else numbers(part[0]))
        time.sleep(0)
    return b"[%b]" % b",".join(parts)


def _tokens(text: bytes, array: np.ndarray) -> bytes:
    flat = array.reshape(-1)
    odd = flat[~np.isfinite(flat)]
    parts = text.split(b"null")
    names = [b"NaN" if x != x else b"Infinity" if x > 0 else b"-Infinity" for x in odd.tolist()]
    return b"".join(p for pair in zip(parts, [*names, b""], strict=True) for p in pair)


def kind(value: Any) -> str:
    """What a value of JSON is called."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value!r}"[:60]
    if isinstance(value, _Beyond):
        return f"the number {value.text}"[:60]
    if isinstance(value, str | list | dict):
        return "a string" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"
    raise Irregular  # a list that was not read yet, in a place where none is wanted
