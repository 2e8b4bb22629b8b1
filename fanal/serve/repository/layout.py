"""What lies in a repository.

    digits.fanal                     one file: model `digits`, version 1
    REPO/digits.fanal                the same, of several
    REPO/digits/3.fanal              version 3
    REPO/digits/3/anything.fanal     version 3
    REPO/digits/model.toml           how it is to be served (`manifest`)

With `--name digits` the path is the model's own file or folder, whatever they are called.

Names that begin with a point are looked over. Nothing that a client says ever becomes part of a path.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from fanal.core.errors import message
from fanal.serve.names import NAME
from fanal.serve.repository.manifest import FILE, Manifest, manifest_from

log = logging.getLogger("fanal.serve")
_ENDING = ".fanal"


@dataclass(frozen=True, slots=True)
class Source:
    """A program's file, and what tells it from what may lie there later."""

    path: Path
    identity: tuple[int, int, int, int]

    @staticmethod
    def of(path: Path) -> Source:
        return Source(path, identity_of(path.stat()))


def identity_of(s: os.stat_result) -> tuple[int, int, int, int]:
    """Device, inode, size and time of change."""
    return s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns


@dataclass(slots=True)
class Found:
    """A model in the repository. `problem`: why its manifest can't be followed."""

    name: str
    versions: dict[int, Source] = field(default_factory=dict)
    manifest: Manifest = field(default_factory=Manifest)
    problem: str = ""


def scan(path: Path, only: str | None = None) -> dict[str, Found]:
    """All models; OSError if the repository itself can't be read. `only`: the name of the one that all of it is."""
    if path.is_file():
        name = only or path.name.removesuffix(_ENDING)
        return {name: Found(name, {1: Source.of(path)})}
    if only is not None:
        return {only: _only(only, path)}
    found: dict[str, Found] = {}
    for entry in sorted(os.scandir(path), key=lambda e: e.name):
        name = entry.name.removesuffix(_ENDING)
        if entry.name.startswith(".") or not NAME.fullmatch(name):
            continue
        try:
            if entry.is_dir():
                model = _model(entry.name, Path(entry.path))
                if model.versions or model.problem:
                    found[model.name] = model
            elif entry.name.endswith(_ENDING):
                found.setdefault(name, Found(name)).versions.setdefault(1, Source.of(Path(entry.path)))
        except OSError as why:  # gone meanwhile, or not ours to read
            log.debug("looked over: %s", why)
    return found


def _model(name: str, folder: Path) -> Found:
    found = Found(name)
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name == FILE:
            try:
                found.manifest = manifest_from(Path(entry.path).read_text(), name)
            except (ValueError, OSError) as why:
                found.problem = str(why)
            continue
        number = entry.name.removesuffix(_ENDING)
        if not (number.isascii() and number.isdigit()) or not 0 < int(number) < 1 << 62:
            continue
        if entry.is_file() and entry.name.endswith(_ENDING):
            found.versions[int(number)] = Source.of(Path(entry.path))
        elif entry.is_dir():
            files = sorted(p for p in Path(entry.path).iterdir() if p.suffix == _ENDING and not p.name.startswith("."))
            if files:
                found.versions[int(number)] = Source.of(files[0])
    return found


def _only(name: str, folder: Path) -> Found:
    """A folder that is one model's: its versions, or a single file of any name."""
    found = _model(name, folder)
    if not found.versions:
        files = sorted(p for p in folder.iterdir() if p.suffix == _ENDING and not p.name.startswith("."))
        if len(files) == 1:
            found.versions[1] = Source.of(files[0])
        elif files:
            found.problem = message("serve", f"which of the files is {name!r}", ", ".join(p.name for p in files[:8]), "one, or versions: 1.fanal, 2.fanal")
    return found


def check(path: Path, only: str | None = None) -> None:
    """ValueError where there is nothing that could be served."""
    if not path.exists():
        raise ValueError(message("serve", "there is no such file or folder", str(path), "a .fanal file, or a folder of them"))
    if path.is_file() and only is None and (path.suffix != _ENDING or not NAME.fullmatch(path.name.removesuffix(_ENDING))):
        raise ValueError(message("serve", "the file's name is no model's", path.name, "NAME.fanal, of letters, digits, _, . and -"))
