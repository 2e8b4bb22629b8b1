"""HTTP/1.1 as far as load needs it: whole requests go out, of answers only the status and the end are looked for."""

from __future__ import annotations

import re

from fanal.serve.bench.connection import SUCCESS, Connection

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)[^\r\n]*\r\n")


class Http1(Connection):
    """A connection that is kept alive."""

    _buffer = b""

    def _start(self, request: bytes) -> None:
        self._buffer = b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self._break("an answer nobody asked for")
            return
        buffer = self._buffer + data if self._buffer else data
        self._buffer = buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        if not buffer.startswith(b"HTTP/1."):
            self._break("an answer that is not HTTP")
            return
        status = buffer[9:12]
        if status[:1] == b"1":  # continue
            self._buffer = b""
            if len(buffer) > end + 4:
                self.data_received(buffer[end + 4 :])
            return
        head = buffer[: end + 2]
        length = _LENGTH.search(head)
        if length is not None:
            whole = len(buffer) - end - 4 >= int(length[1])
        elif _CHUNKED.search(head):
            whole = _last_chunk(buffer, end + 4)
        else:
            self._break("an answer without a length")
            return
        if whole:
            again = not _CLOSE.search(head)
            if status[:1] == b"2":
                self._end(SUCCESS, again)
            else:
                self._end(status.decode("ascii", "replace"), again, buffer[end + 4 :])


def _last_chunk(buffer: bytes, at: int) -> bool:
    while (chunk := _CHUNK.match(buffer, at)) is not None:
        size = int(chunk[1], 16)
        if size == 0:
            return buffer.find(b"\r\n\r\n", chunk.end() - 2) >= 0
        at = chunk.end() + size + 2
    return False


def request(target: str, host: str, headers: dict[str, str], body: bytes) -> bytes:
    """A POST as bytes."""
    lines = [f"POST {target} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode("latin-1") + body
