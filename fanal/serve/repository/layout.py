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

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fanal.core.errors import message
from fanal.serve.names import NAME
from fanal.serve.repository.manifest import FILE, Manifest, manifest_from

_ENDING = ".fanal"
_NO_FILE = "it is no file, or a link to nothing"
_NO_VERSIONS = "it has no versions: 1.fanal, 2.fanal, or 1/NAME.fanal"


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
    """A model in the repository. `problem`: why it stays as it is: its manifest can't be followed, its folder can't be read."""

    name: str
    versions: dict[int, Source] = field(default_factory=dict)
    manifest: Manifest = field(default_factory=Manifest)
    problem: str = ""


class Listing(NamedTuple):
    """What a repository holds: models by name, and what looks like one but is none: its name there, and why."""

    models: dict[str, Found]
    overlooked: dict[str, str]


def scan(path: Path, only: str | None = None) -> Listing:
    """All models; OSError if the repository itself can't be read. `only`: the name of the one that all of it is."""
    if path.is_file():
        name = only or path.name.removesuffix(_ENDING)
        return Listing({name: Found(name, {1: Source.of(path)})}, {})
    if only is not None:
        return Listing({only: _only(only, path)}, {})
    found: dict[str, Found] = {}
    overlooked: dict[str, str] = {}
    for entry in sorted(os.scandir(path), key=lambda e: e.name):
        if entry.name.startswith("."):
            continue
        try:
            model = _at(entry)
        except FileNotFoundError:  # gone meanwhile
            continue
        except OSError as why:
            model = Found(entry.name.removesuffix(_ENDING), problem=message("serve", f"{entry.name} can't be read", why.strerror))
        if model is None:
            continue
        if not NAME.fullmatch(model.name):
            overlooked[entry.name] = "letters, digits, _, . and - make a model's name"
        elif not model.versions and not model.problem:
            overlooked[entry.name] = _NO_FILE if entry.name.endswith(_ENDING) else _NO_VERSIONS
        elif model.name in found:  # a folder and a file of one name
            found[model.name].versions = {**model.versions, **found[model.name].versions}
        else:
            found[model.name] = model
    return Listing(found, overlooked)


def _at(entry: os.DirEntry[str]) -> Found | None:
    """The model that an entry of the repository is, or looks like; None where it has nothing of a model."""
    if entry.is_dir():
        model = _model(entry.name, Path(entry.path))
        like = model.versions or model.problem or any(n == FILE or n.endswith(_ENDING) for n in os.listdir(entry.path))
        return model if like else None
    if not entry.name.endswith(_ENDING):
        return None
    # Only files: the server would wait for somebody at the other end of a pipe.
    versions = {1: Source.of(Path(entry.path))} if entry.is_file() else {}
    return Found(entry.name.removesuffix(_ENDING), versions)


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
            files = _programs(Path(entry.path))
            if files:
                found.versions[int(number)] = Source.of(files[0])
    return found


def _only(name: str, folder: Path) -> Found:
    """A folder that is one model's: its versions, or a single file of any name."""
    found = _model(name, folder)
    if not found.versions:
        files = _programs(folder)
        if len(files) == 1:
            found.versions[1] = Source.of(files[0])
        elif files:
            found.problem = message("serve", f"which of the files is {name!r}", ", ".join(p.name for p in files[:8]), "one, or versions: 1.fanal, 2.fanal")
    return found


def _programs(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix == _ENDING and not p.name.startswith(".") and p.is_file())


def check(path: Path, only: str | None = None) -> None:
    """ValueError where there is nothing that could be served."""
    expected = "a .fanal file, or a folder of them"
    if not path.exists():
        raise ValueError(message("serve", "there is no such file or folder", str(path), expected))
    if not path.is_file() and not path.is_dir():
        raise ValueError(message("serve", "it is neither a file nor a folder", str(path), expected))
    if path.is_dir() or only is not None:
        return
    if path.suffix != _ENDING:
        raise ValueError(message("serve", "it is no .fanal file", path.name, "a program that fanal.export.save wrote"))
    if not NAME.fullmatch(path.name.removesuffix(_ENDING)):
        raise ValueError(message("serve", "the file's name is no model's", path.name, "NAME.fanal, of letters, digits, _, . and -", "--name NAME"))
