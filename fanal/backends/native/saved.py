"""Programs kept on disk by a name for what they compute: a process that finds its program there lowers
and plans nothing. The name covers the graph, where everything lies, the target, LLVM and this package's
sources; the file is verified as kernels' are, and one that lacks a kernel counts as missing.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

from fanal.backends.native import diskcache, kernels
from fanal.backends.native.listing import Listings, read_listings


@functools.cache
def version() -> str:
    """Hash of the package's sources: any of them may decide what a program looks like."""
    found = hashlib.sha256(kernels.generator_digest().encode())
    root = Path(__file__).parents[2]
    for path in sorted(root.rglob("*.py")):
        found.update(str(path.relative_to(root)).encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def name_of(parts: Iterable[str]) -> str:
    """The name of a program that all these parts together decide."""
    found = hashlib.sha256(version().encode())
    for part in parts:
        found.update(b"\0" + part.encode())
    return "p" + found.hexdigest()[:40]


def recalled(name: str) -> tuple[Listings, dict[str, int]] | None:
    """The program kept under a name, and the addresses of its kernels."""
    data = diskcache.read(name)
    listings = None if data is None else read_listings(data)
    if listings is None:
        return None
    keys = [*listings.main.kernels, *(listings.early.kernels if listings.early else ())]
    addresses = kernels.recalled(keys)
    return None if addresses is None else (listings, addresses)


def keep(name: str, listings: Listings) -> None:
    """Keep a program whose kernels all have code of their own."""
    diskcache.write(name, listings.text())
