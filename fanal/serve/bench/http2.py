"""gRPC over HTTP/2 (RFC 9113, 7541) as far as load needs it: one unary call after another on a connection.

The server is told to compress headers without a table that grows; so the status of an answer can be read without
keeping such a table. What we send does use it: names that repeat are one byte each, as real clients have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.serve.bench.connection import SUCCESS, Connection, Owner

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 1, 1, 4, 8, 32
_WIDE = (1 << 31) - 1  # the largest window there is
_NARROW = 65_535  # the window that a connection begins with
_FRAME = 16_384
_LAST_STREAM = (1 << 31) - 3
_STATIC = 61  # entries of the table of headers that both sides have from the start
_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


class Http2(Connection):
    """A connection of one call at a time. Requests are message bytes; `headers`: those of every call."""

    def __init__(self, requests: Sequence[bytes], owner: Owner, headers: Sequence[tuple[str, str]]):
        super().__init__([b"\0" + len(r).to_bytes(4, "big") + r for r in requests], owner)
        self._first, self._later = header_blocks(headers)
        self._stream = -1
        self._buffer = b""
        self._left = b""  # of the request under way, what no window was open for
        self._window = _NARROW  # of the connection
        self._initial = _NARROW  # of a stream
        self._stream_window = 0
        self._taken = 0
        self._going = False  # the server takes no more on this connection

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        settings = _setting(1, 0) + _setting(2, 0) + _setting(4, _WIDE)
        transport.write(_PREFACE + frame(_SETTINGS, 0, 0, settings) + _more(_WIDE - _NARROW))
        self._owner.opened(self)

    def _start(self, request: bytes) -> None:
        block = self._first if self._stream < 0 else self._later
        self._stream += 2
        self._stream_window = self._initial
        self._left = request
        self._transport.write(frame(_HEADERS, _END_HEADERS, self._stream, block) + self._data())

    def _data(self) -> bytes:
        """Frames of as much of the request as there are windows for."""
        out = b""
        while self._left:
            size = min(len(self._left), _FRAME, self._window, self._stream_window)
            if size <= 0:
                break
            part, self._left = self._left[:size], self._left[size:]
            self._window -= size
            self._stream_window -= size
            out += frame(_DATA, 0 if self._left else _END_STREAM, self._stream, part)
        return out

    # -- what comes ----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        at, size = 0, len(buffer)
        while size - at >= 9 and not self._closed:
            length = int.from_bytes(buffer[at : at + 3], "big")
            if size - at < 9 + length:
                break
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big") & _WIDE
            self._frame(buffer[at + 3], buffer[at + 4], stream, buffer[at + 9 : at + 9 + length])
            at += 9 + length
        self._buffer = buffer[at:]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._taken += len(payload)
            if self._taken > _WIDE // 2:
                self._transport.write(_more(self._taken))
                self._taken = 0
        elif kind == _HEADERS:
            if flags & _END_STREAM and stream == self._stream and self._busy:
                self._trailers(flags, payload)
        elif kind == _WINDOW:
            more = int.from_bytes(payload, "big") & _WIDE
            if stream == 0:
                self._window += more
            elif stream == self._stream:
                self._stream_window += more
            if self._left:
                self._transport.write(self._data())
        elif kind == _SETTINGS:
            if not flags & _ACK:
                self._settings(payload)
        elif kind == _PING:
            if not flags & _ACK:
                self._transport.write(frame(_PING, _ACK, 0, payload))
        elif kind == _RESET:
            if stream == self._stream and self._busy:
                self._left = b""
                self._end("RESET", not self._going)
        elif kind == _GOAWAY:
            # It still answers what it says it has taken.
            self._going = True
            if not self._busy:
                self._break("connection closed")
            elif int.from_bytes(payload[:4], "big") & _WIDE < self._stream:
                self._break("not taken: the server ends the connection")

    def _settings(self, payload: bytes) -> None:
        for i in range(0, len(payload), 6):
            if int.from_bytes(payload[i : i + 2], "big") == 4:
                initial = int.from_bytes(payload[i + 2 : i + 6], "big")
                self._stream_window += initial - self._initial
                self._initial = initial
        self._transport.write(frame(_SETTINGS, _ACK, 0, b"") + self._data())

    def _trailers(self, flags: int, payload: bytes) -> None:
        if flags & _PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if flags & _PRIORITY:
            payload = payload[5:]
        found = status(payload)
        reset = b""
        if self._left:  # refused before all was sent
            reset, self._left = frame(_RESET, 0, self._stream, bytes(4)), b""
            self._transport.write(reset)
        self._end(SUCCESS if found == "OK" else found, not self._going and self._stream < _LAST_STREAM)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame as bytes."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _setting(name: int, value: int) -> bytes:
    return name.to_bytes(2, "big") + value.to_bytes(4, "big")


def _more(size: int) -> bytes:
    return frame(_WINDOW, 0, 0, size.to_bytes(4, "big"))


# -- headers -----------------------------------------------------------------------------------------------


def header_blocks(headers: Sequence[tuple[str, str]]) -> tuple[bytes, bytes]:
    """The headers of the first call on a connection, which fill its table, and of all others, which point there."""
    first = b"".join(b"\x40" + _text(name) + _text(value) for name, value in headers)
    # The newest entry has the lowest number.
    later = b"".join(_whole(_STATIC + len(headers) - i, 7, 0x80) for i in range(len(headers)))
    return first, later


def status(block: bytes) -> str:
    """The grpc-status among the headers that end an answer, by its name."""
    at, found = 0, "UNKNOWN"
    while at < len(block):
        first = block[at]
        if first & 0x80:
            _, at = _number(block, at, 7)
            continue
        if first & 0xE0 == 0x20:
            _, at = _number(block, at, 5)
            continue
        index, at = _number(block, at, 6 if first & 0x40 else 4)
        name = b""
        if index == 0:
            name, at = _string(block, at)
        value, at = _string(block, at)
        if name == b"grpc-status" and value.isdigit():
            code = int(value)
            found = _CODES[code] if code < len(_CODES) else "UNKNOWN"
    return found


def _whole(value: int, bits: int, flags: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes((flags | value,))
    out = [flags | most]
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def _number(block: bytes, at: int, bits: int) -> tuple[int, int]:
    most = (1 << bits) - 1
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    shift = 0
    while True:
        part = block[at]
        at += 1
        value += (part & 127) << shift
        shift += 7
        if not part & 128:
            return value, at


def _text(text: str) -> bytes:
    data = text.encode()
    return _whole(len(data), 7, 0) + data


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    # gRPC's servers send what matters here without Huffman's code; coded text is passed over.
    coded = block[at] & 0x80
    size, at = _number(block, at, 7)
    return b"" if coded else block[at : at + size], at + size
