"""What the study needs to know of a server: the command that starts it, where it listens, what it is asked."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.serving.wire import Way


class Setting(NamedTuple):
    """One start: the case's name and folder, a folder of its own to write to, free ports, rows of a batch at most
    (1: without batching), processors that it may use."""

    case: str
    folder: Path
    scratch: Path
    ports: tuple[int, int, int]
    batch: int
    processors: int

    @property
    def port(self) -> int:
        """Where requests go."""
        return self.ports[0]

    def facts(self) -> dict[str, Any]:
        """What `prepare` found."""
        return json.loads((self.folder / "facts.json").read_text())


class Command(NamedTuple):
    """A process to start: its arguments and what is added to its environment."""

    arguments: list[str]
    environment: Mapping[str, str] = {}


@dataclass(frozen=True)
class Server:
    """A server. `command` may write what it needs to the scratch folder; `ready` is a path, with {case} for the model's
    name, that answers 200 once it takes requests; `settings` say why they are as they are. `batch`: rows of a batch at
    most; `sized`: only for networks whose width is chosen by the time of a row."""

    name: str
    label: str
    packages: tuple[str, ...]
    settings: str
    command: Callable[[Setting], Command]
    ready: str
    ways: tuple[Way, ...]
    ours: bool = False
    batch: int = 32
    sized: bool = False


def free_ports(count: int = 3) -> tuple[int, ...]:
    """Ports of the loopback that nobody listens on now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = tuple(s.getsockname()[1] for s in held)
    for s in held:
        s.close()
    return found
