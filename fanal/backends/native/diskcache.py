"""Object files kept between processes: written atomically, verified on load, never trusted blindly.

A file is a header (magic, SHA-256 of its name and the rest) and the object. The folder must belong to this user
and be closed to others, else it is not used: code is never loaded from where others can write. Any
failure to read or write only costs a compilation.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path

_MAGIC = b"FANALKC2"
_LIMIT = 512 << 20  # bytes; the oldest files go first


@functools.cache
def folder() -> Path | None:
    """The cache folder, made if need be; None where there is none to be trusted."""
    chosen = os.environ.get("FANAL_CACHE_DIR")
    if chosen == "":
        return None
    if chosen:
        path = Path(chosen)
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(Path.home(), ".cache")
        path = Path(base) / "fanal" / "kernels"
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        info = path.stat()
        if hasattr(os, "getuid") and info.st_uid != os.getuid():
            return None
        if info.st_mode & 0o022:
            path.chmod(0o700)
        return path
    except OSError:
        return None


def read(name: str) -> bytes | None:
    """The object kept under a name, if it is whole; a damaged file is removed."""
    base = folder()
    if base is None:
        return None
    path = base / name
    try:
        data = path.read_bytes()
    except OSError:
        return None
    body = data[40:]
    if data[:8] != _MAGIC or data[8:40] != _digest(name, body):
        path.unlink(missing_ok=True)
        return None
    return body


def _digest(name: str, body: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + body).digest()


def write(name: str, body: bytes) -> None:
    """Keep an object; a full, read-only or missing disk is no error."""
    base = folder()
    if base is None:
        return
    data = _MAGIC + _digest(name, body) + body
    try:
        handle, temporary = tempfile.mkstemp(dir=base, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, base / name)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            return
    except OSError:
        return
    _written[0] += len(data)
    if _written[0] > _LIMIT // 8:
        _written[0] = 0
        trim(base)


_written = [0]


def trim(base: Path, limit: int = _LIMIT) -> None:
    """Remove the files that were used longest ago until the folder is within its limit."""
    try:
        entries = [(e.stat().st_atime, e.stat().st_size, e.path) for e in os.scandir(base)]
    except OSError:
        return
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            break
        try:
            os.unlink(path)
        except OSError:
            continue
        total -= size
