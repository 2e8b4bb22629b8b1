"""Requests over connections that stay open: one for each thread, so that threads never wait for one another."""

from __future__ import annotations

import http.client
import ssl
import threading
from typing import NamedTuple
from urllib.parse import urlsplit

from fanal.core.errors import message

# What a connection that lay idle raises when the server has closed it meanwhile.
_STALE = (http.client.RemoteDisconnected, http.client.CannotSendRequest, BrokenPipeError, ConnectionResetError)


class Answer(NamedTuple):
    """An answer's status, headers and body."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Transport:
    """Sends requests to one server."""

    def __init__(self, url: str, tls: ssl.SSLContext | None):
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise ValueError(message("Client", "no URL of a server", repr(url), "http://HOST:PORT or https://HOST:PORT"))
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._local = threading.local()
        self._all: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes | None, timeout: float | None) -> Answer:
        """Send a request and read its answer; OSError (TimeoutError, ConnectionError) where there is none."""
        connection = self._connection()
        fresh = connection.sock is None
        try:
            return self._once(connection, method, path, headers, body, timeout)
        except _STALE:
            # The server closed an idle connection while the request was on its way: it never began to answer.
            connection.close()
            if fresh:
                raise
        except http.client.HTTPException as error:
            connection.close()
            raise ConnectionError(message("Client", f"not an HTTP server's answer ({type(error).__name__})")) from error
        except BaseException:
            connection.close()
            raise
        try:
            return self._once(connection, method, path, headers, body, timeout)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
            self._local = threading.local()

    def _once(
        self, connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str],
        body: bytes | None, timeout: float | None,
    ) -> Answer:  # fmt: skip
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        connection.request(method, self._prefix + path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if found is None:
            if self._tls is None:
                found = http.client.HTTPConnection(self._host, self._port)
            else:
                found = http.client.HTTPSConnection(self._host, self._port, context=self._tls)
            self._local.connection = found
            with self._lock:
                self._all.add(found)
        return found
