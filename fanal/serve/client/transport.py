"""Requests over connections that stay open: one for each thread, so that threads never wait for one another."""

from __future__ import annotations

import http.client
import os
import ssl
import threading
import weakref
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from fanal.core.errors import message
from fanal.serve.addresses import address

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
        self._host, self._prefix = parts.hostname, parts.path.rstrip("/")
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._address = address(self._host, self._port)
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._local = threading.local()
        # Those of threads that have ended close themselves.
        self._all: weakref.WeakSet[http.client.HTTPConnection] = weakref.WeakSet()
        self._lock = threading.Lock()

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes | None, timeout: float | None) -> Answer:
        """Send a request and read its answer; OSError (TimeoutError, ConnectionError) where there is none."""
        connection = self._connection()
        try:
            if connection.sock is not None:
                try:
                    return self._once(connection, method, path, headers, body, timeout)
                except _STALE:
                    # The server closed an idle connection while the request was on its way: it never began to answer.
                    connection.close()
            return self._once(connection, method, path, headers, body, timeout)
        except http.client.HTTPException as error:
            connection.close()
            raise ConnectionError(message("Client", f"{self._address} gives no answer of an HTTP server", type(error).__name__)) from error
        except TimeoutError as error:
            connection.close()
            raise TimeoutError(message("Client", f"{self._address} did not answer within {timeout:g} s")) from error
        except OSError as error:
            connection.close()
            raise ConnectionError(message("Client", f"{self._address} does not answer", error.strerror or str(error))) from error
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in list(self._all):
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
        found: _Connection | _Secure | None = getattr(self._local, "connection", None)
        # A process that was forked has its parent's connection, too: answers would be taken by either.
        if found is None or found.owner != os.getpid():
            if self._tls is None:
                found = _Connection(self._host, self._port)
            else:
                found = _Secure(self._host, self._port, context=self._tls)
            self._local.connection = found
            with self._lock:
                self._all.add(found)
        return found


class _Owned:
    """A connection that knows the process which opened it, and ends with the thread that had it."""

    owner: int

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.owner = os.getpid()

    def __del__(self) -> None:
        self.close()  # type: ignore[attr-defined]


class _Connection(_Owned, http.client.HTTPConnection):
    pass


class _Secure(_Owned, http.client.HTTPSConnection):
    pass
