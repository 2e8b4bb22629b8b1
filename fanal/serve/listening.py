"""Sockets that wait for clients, and what to say where there can be none."""

from __future__ import annotations

import errno
import socket

from fanal.core.errors import message
from fanal.serve.addresses import address


def listening(host: str, port: int, name: str) -> socket.socket:
    """A socket that listens for the listener `name`; ValueError that says why it can't, and what to try."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        why = (error.strerror or "").partition(" (while")[0]  # Python says the address once more
        ours = error.errno in (errno.EADDRINUSE, errno.EACCES)
        hint = f"--{name}-port with another number, or 0 for any that is free" if ours else "--host with an address of this machine"
        raise ValueError(message("serve", f"can't listen on {address(host, port)} for {name}", why, hint=hint)) from None
