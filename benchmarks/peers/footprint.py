"""What it takes to have a framework: how long its import is, and how much is installed for it.

The size is that of the packages that a user names and all that they require in turn, from their
installed files, without bytecode. Python itself is not counted; nor is the C++ compiler that
`torch.compile` calls, which is not a Python package.
"""

from __future__ import annotations

import importlib.metadata as metadata
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers import environment
from benchmarks.peers.peers import Peer

ROUNDS = 7
CODE = """
import sys, time
start = time.perf_counter()
__import__(sys.argv[1])
print(time.perf_counter() - start)
"""


def imports(peers: Iterable[Peer], threads: int, cache: Path, priority: bool) -> dict[str, Any]:
    """Seconds of each framework's import in fresh processes, in turns."""
    names = list(dict.fromkeys(p.framework for p in peers))
    found: dict[str, Any] = {name: {"seconds": []} for name in names}
    for number in range(ROUNDS + 1):
        for name in names:
            if "failed" in found[name]:
                continue
            process = subprocess.Popen(
                [sys.executable, "-c", CODE, name], stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True, env=environment.worker(threads, cache), start_new_session=True,
            )  # fmt: skip
            if priority:
                environment.favour(process.pid)
            output, _ = process.communicate()
            if process.returncode:
                found[name] = {"failed": "cannot be imported"}
            elif number:  # the first one only brings files into memory
                found[name]["seconds"].append(float(output.split()[-1]))
    for record in found.values():
        if "seconds" in record:
            record["median"] = median(record["seconds"])
    return found


def sizes(peers: Iterable[Peer]) -> dict[str, Any]:
    """MiB installed for each framework, and which packages those are."""
    found = {}
    for peer in peers:
        try:
            names = closure(peer.packages)
        except metadata.PackageNotFoundError as error:
            found[peer.framework] = {"failed": f"not installed: {error.name}"}
            continue
        sizes_ = {name: _size(name) / 2**20 for name in names}
        found[peer.framework] = {
            "mib": sum(sizes_.values()),
            "packages": {n: round(m, 2) for n, m in sorted(sizes_.items(), key=lambda i: -i[1])},
            "licence": _licence(peer.packages[0]),
            "version": metadata.version(peer.packages[0]),
        }
    return found


def closure(packages: Iterable[str]) -> list[str]:
    """These packages and all that they require, without extras."""
    todo, done = list(packages), {}
    while todo:
        name = _plain(todo.pop())
        if name in done:
            continue
        done[name] = True
        for text in metadata.requires(name) or ():
            wanted = _required(text)
            if wanted:
                todo.append(wanted)
    return list(done)


def _required(text: str) -> str | None:
    """The name in a requirement, if it is required here."""
    from packaging.requirements import Requirement

    requirement = Requirement(text)
    if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        return None
    try:
        metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return None  # provided in another way, or not needed by this build
    return requirement.name


def _size(name: str) -> int:
    files = [Path(str(f.locate())) for f in metadata.files(name) or ()]
    if name == "fanal" and not any("fanal/core" in str(f) for f in files):
        # Installed from a checkout: what the package would bring is the folder itself.
        spec = importlib.util.find_spec("fanal")
        files = [f for f in Path(spec.origin).parent.rglob("*") if f.is_file()]
    return sum(f.stat().st_size for f in files if f.suffix != ".pyc" and f.is_file())


def _licence(name: str) -> str:
    facts = metadata.metadata(name)
    text = facts.get("License-Expression") or facts.get("License") or ""
    if not text.strip():
        classified = [c for c in facts.get_all("Classifier") or () if c.startswith("License ::")]
        text = classified[0].rsplit("::", 1)[-1] if classified else "not stated"
    return " ".join(text.split())[:120]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
