"""What protocols talk to: models by name and version, requests in, answers out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fanal.core.errors import message, nearest
from fanal.serve.errors import ServeError, Status
from fanal.serve.flow.turns import Turns
from fanal.serve.interface import description_from
from fanal.serve.version import Flow, State, Version
from fanal.serve.workers.executor import Inline
from fanal.serve.workers.model import Limits, Model


class Trouble(NamedTuple):
    """A version that does not answer: it is being loaded (LOADING), or could not be (ENDED), and why."""

    state: State
    text: str


class Entry:
    """A model: its versions by number, and labels that point to some of them. `troubles`: versions that should be
    there and are not; `problem`: what is wrong with its manifest; `policy`: which versions it is to have."""

    def __init__(self, name: str):
        self.name = name
        self.versions: dict[int, Version] = {}
        self.labels: dict[str, int] = {}
        self.troubles: dict[int, Trouble] = {}
        self.problem = ""
        self.policy: str | tuple[int, ...] = "latest:1"

    def ready(self) -> list[int]:
        """Versions that take requests, in order."""
        return sorted(n for n, v in self.versions.items() if v.state is State.READY)


class Engine:
    """Models that answer. `draining`: the server is about to end; `starting`: it has not yet tried all models;
    `leaving`: versions that only answer what they had taken; `loads`, `failed_loads`: by model, how many."""

    def __init__(self, concurrency: int = 2):
        self.models: dict[str, Entry] = {}
        self.turns = Turns(concurrency)
        self.draining = self.starting = False
        self.leaving: set[Version] = set()
        self.loads: dict[str, int] = {}
        self.failed_loads: dict[str, int] = {}

    @property
    def ready(self) -> bool:
        """Whether all models answer: what /v2/health/ready says."""
        if self.draining or self.starting:
            return False
        return all(e.versions and all(v.ready for v in e.versions.values()) for e in self.models.values())

    def versions(self) -> Iterator[Version]:
        """All versions there are, of all models, in order."""
        for name in sorted(self.models):
            entry = self.models[name]
            for number in sorted(entry.versions):
                yield entry.versions[number]

    def entry(self, model: str) -> Entry:
        """A model by its name; 404 if there is none."""
        found = self.models.get(model)
        if found is None:
            meant = ", ".join(nearest(model, self.models))
            raise ServeError(Status.NOT_FOUND, message("infer", f"no model {model!r}", None, "", meant))
        return found

    def find(self, model: str, version: int | None = None, label: str | None = None) -> Version:
        """The version that a request means: the newest that is ready where it says none. ServeError where it is not
        there (404) or does not answer yet or any more (503). Without `await` between this and its `submit`, no swap is
        in between."""
        entry = self.entry(model)
        if label is not None:
            if label not in entry.labels:
                text = message("infer", f"{model!r} has no label {label!r}", None, "", ", ".join(entry.labels))
                raise ServeError(Status.NOT_FOUND, text)
            version = entry.labels[label]
        if version is None:
            ready = entry.ready()
            if not ready:
                raise ServeError(Status.UNAVAILABLE, message("infer", f"{model!r} has no version that is ready"), 1.0)
            version = ready[-1]
        found = entry.versions.get(version)
        if found is None:
            if version in entry.troubles and entry.troubles[version].state is State.LOADING:
                text = message("infer", f"version {version} of {model!r} is being loaded")
                raise ServeError(Status.UNAVAILABLE, text, 1.0)
            there = ", ".join(map(str, sorted(entry.versions)))
            raise ServeError(Status.NOT_FOUND, message("infer", f"{model!r} has no version {version}", None, "", there))
        return found

    async def load_inline(self, path: Path, name: str, number: int = 1, limits: Limits | None = None, flow: Flow | None = None) -> Version:
        """Load a file into this process, where its batches then run in a thread."""
        limits = limits or Limits()

        def work() -> Model:
            model = Model(str(path), limits)
            model.warm()
            return model

        model = await asyncio.get_running_loop().run_in_executor(None, work)
        version = Version(name, number, description_from(model.description()), flow or Flow(), self.turns)
        version.staff = Inline(model)
        version.state = State.READY
        self.models.setdefault(name, Entry(name)).versions[number] = version
        return version

    async def close(self) -> None:
        """Answer what has come, then give everything back."""
        self.draining = True
        await asyncio.gather(*(v.unload() for v in list(self.versions())))
