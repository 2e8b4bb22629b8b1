"""Makes the engine have what the repository says: loads, swaps, unloads, one model after another.

A swap is safe: the new version is loaded, compiled and warm before it takes a request, and the old one answers
what it has taken before it goes. What can't be loaded changes nothing; it is tried again when its file changes.
A file that is still being copied is damaged as long as it is, and so is never served.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fanal.core.errors import DataError, message
from fanal.serve.engine import Engine, Entry, Trouble
from fanal.serve.errors import ServeError, Status
from fanal.serve.repository.layout import Found, Source, identity_of, scan
from fanal.serve.repository.manifest import Manifest
from fanal.serve.settings import Settings
from fanal.serve.version import Flow, State, Version
from fanal.serve.workers.crew import Crew
from fanal.serve.workers.processes import Lost, Mother, Nursery

log = logging.getLogger("fanal.serve")
# Files that change may still be written to: so long they are not called damaged aloud.
_FRESH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A version as it should be: its file, and how its manifest wants it served."""

    source: Source
    manifest: Manifest

    def same(self, other: Plan) -> bool:
        """Whether nothing would change by loading it again."""
        mine, theirs = self.manifest, other.manifest
        return self.source == other.source and (mine.batch, mine.queue, mine.workers) == (
            theirs.batch, theirs.queue, theirs.workers,
        )  # fmt: skip


class Keeper:
    """Keeps an engine's models as a repository says. `load` and `unload` are for the admin listener."""

    def __init__(self, engine: Engine, nursery: Nursery, path: Path, settings: Settings):
        self._engine, self._nursery, self._path, self._settings = engine, nursery, path, settings
        self._plans: dict[tuple[str, int], Plan] = {}  # what is served
        self._failed: dict[tuple[str, int], Plan] = {}  # what could not be loaded
        self._quiet: set[tuple[str, int]] = set()  # of these, what may still be written to
        self._said: dict[str, str] = {}  # of what, the last that was said
        self._parked: set[str] = set()  # unloaded on request
        self._found: dict[str, Found] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load what is there, then watch. Returns when the first look is done, whatever came of it."""
        await self._nursery.start()
        await self.look()
        self._engine.starting = False
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._settings.poll)
            try:
                await self.look()
            except Exception:
                log.exception("looking at the repository failed")

    async def look(self) -> None:
        """Compare, and do what is to be done."""
        found = await self._scanned()
        names = [n for n in {*found, *self._engine.models} if n not in self._parked]
        await asyncio.gather(*(self._follow(n, found.get(n)) for n in sorted(names)))

    async def _scanned(self) -> dict[str, Found]:
        try:
            listing = await asyncio.get_running_loop().run_in_executor(None, scan, self._path, self._settings.name)
        except OSError as why:
            # A repository that can't be read for a while takes no model away.
            self._say("the repository", f"the repository can't be read: {why}")
            return self._found
        self._say("the repository", "")
        odd = "; ".join(f"{name}: {why}" for name, why in listing.overlooked.items())
        self._say("overlooked", f"in the repository, but no model: {odd}" if odd else "")
        self._found = listing.models
        return self._found

    def _say(self, what: str, text: str) -> None:
        """Say it once, not at every look, until it is something else; nothing is the matter if `text` is empty."""
        if not text:
            self._said.pop(what, None)
        elif self._said.get(what) != text:
            self._said[what] = text
            log.warning("%s", text)

    async def close(self) -> None:
        """Load nothing more."""
        if self._task is not None:
            self._task.cancel()
        for task in list(self._leaving):
            task.cancel()

    # -- one model ------------------------------------------------------------------------------------

    async def _follow(self, name: str, found: Found | None) -> None:
        async with self._locks.setdefault(name, asyncio.Lock()):
            if found is None:
                await self._leave(name, [])
                return
            entry = self._engine.models.setdefault(name, Entry(name))
            if found.problem:
                if entry.problem != found.problem:
                    log.error("%s", found.problem)
                entry.problem = found.problem
                return
            entry.problem = ""
            wanted = found.manifest.versions.chosen(found.versions)
            self._say(f"versions of {name}", _missing(found, wanted))
            whole = True
            for number in wanted:
                whole &= await self._have(entry, number, Plan(found.versions[number], found.manifest))
            self._label(entry, found.manifest)
            # Old versions go when all new ones have come.
            keep = wanted if whole else [*wanted, *entry.versions]
            await self._leave(name, keep)

    def _label(self, entry: Entry, manifest: Manifest) -> None:
        entry.policy = manifest.versions.policy
        entry.labels = {label: n for label, n in manifest.labels.items() if n in entry.versions}

    async def _have(self, entry: Entry, number: int, plan: Plan) -> bool:
        """Load a version unless it is there as it should be; whether it is there then."""
        key = (entry.name, number)
        there = self._plans.get(key)
        if there is not None and there.same(plan):
            self._plans[key] = plan
            return True
        failed = self._failed.get(key)
        if failed is not None and failed.same(plan):
            if key in self._quiet and not _fresh(plan):
                self._quiet.discard(key)
                log.error("version %d of %s was not loaded, and its file does not change any more: %s", number, entry.name, entry.troubles[number].text)
            return False
        entry.troubles[number] = Trouble(State.LOADING, "")
        start = time.monotonic()
        try:
            version = await self._loaded(entry, number, plan)
        except (OSError, ValueError, Lost) as why:
            self._failed[key] = plan
            self._engine.failed_loads[entry.name] = self._engine.failed_loads.get(entry.name, 0) + 1
            entry.troubles[number] = Trouble(State.ENDED, _told(why, plan))
            quiet = isinstance(why, DataError | OSError) and _fresh(plan) and self._path.is_dir()
            if quiet:
                self._quiet.add(key)
            log.log(logging.INFO if quiet else logging.ERROR, "version %d of %s was not loaded: %s", number, entry.name, why)
            return False
        self._failed.pop(key, None)
        entry.troubles.pop(number, None)
        before = entry.versions.get(number)
        if before is not None:
            # Who reads counts knows versions by their numbers, and what it still answers is to be among them.
            version.statistics = before.statistics
        entry.versions[number] = version
        self._plans[key] = plan
        version.state = State.READY
        self._engine.loads[entry.name] = self._engine.loads.get(entry.name, 0) + 1
        log.info("version %d of %s answers, %.1f s after it was found", number, entry.name, time.monotonic() - start)
        for f in version.description.functions.values():
            if not f.batched:
                log.warning("%s of %s is computed one request at a time: %s", f.name, entry.name, f.note)
        if before is not None:
            self._retire(before)
        return True

    async def _loaded(self, entry: Entry, number: int, plan: Plan) -> Version:
        """A version that is warm and has its workers, but takes no requests yet."""
        s, m, name = self._settings, plan.manifest, entry.name
        count = m.workers.count or s.workers
        # One processor is the server's own.
        threads = m.workers.threads or s.threads or max(1, (len(os.sched_getaffinity(0)) - 1) // count)
        options = {
            "threads": threads, "most": m.batch.max or s.max_batch,
            "sizes": list(m.batch.sizes if m.batch.sizes is not None else s.batch_sizes),
        }  # fmt: skip

        async def load(urgent: bool) -> tuple[Mother, Any]:
            file = os.open(plan.source.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if identity_of(os.fstat(file)) != plan.source.identity:
                    raise OSError("the file has changed meanwhile")
                return await Mother.load(self._nursery, name, plan.source.path.name, file, options, s.load_timeout, urgent)
            finally:
                os.close(file)

        async def again() -> Mother:
            mother, _ = await load(urgent=True)  # nobody answers for it meanwhile
            return mother

        mother, description = await load(urgent=self._engine.starting)
        delay = m.batch.delay_ms if m.batch.delay_ms is not None else s.batch_delay_ms
        flow = Flow(m.queue.size or s.queue_size, (m.queue.ms or s.queue_ms) / 1e3, delay / 1e3)
        version = Version(name, number, description, flow, self._engine.turns)

        def restarted() -> None:
            version.statistics.restarts += 1

        crew = Crew(mother, description, count, s.execution_timeout, again, version.wake, restarted)
        version.staff = crew
        try:
            await crew.start()
        except BaseException:
            await crew.close()
            raise
        return version

    # -- leaving --------------------------------------------------------------------------------------

    async def _leave(self, name: str, keep: Iterable[int]) -> None:
        entry = self._engine.models.get(name)
        if entry is None:
            return
        keep = set(keep)
        for number in sorted(set(entry.versions) - keep):
            log.info("version %d of %s goes", number, name)
            self._plans.pop((name, number), None)
            self._retire(entry.versions.pop(number))
        for number in set(entry.troubles) - keep:
            del entry.troubles[number]
        for key in [k for k in self._failed if k[0] == name and k[1] not in keep]:
            del self._failed[key]
            self._quiet.discard(key)
        if not keep and not entry.versions:
            del self._engine.models[name]

    def _retire(self, version: Version) -> None:
        """Let it answer what it has taken, then give its memory back; nobody waits for that."""
        self._engine.leaving.add(version)

        async def leave() -> None:
            try:
                await version.unload(self._settings.drain_timeout)
            finally:
                self._engine.leaving.discard(version)

        task = asyncio.create_task(leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    # -- on request -----------------------------------------------------------------------------------

    async def load(self, name: str) -> None:
        """Load a model, or look at it again; ServeError where that is not possible."""
        self._parked.discard(name)
        for key in [k for k in self._failed if k[0] == name]:
            del self._failed[key]
        found = (await self._scanned()).get(name)
        if found is None:
            raise ServeError(Status.NOT_FOUND, message("load", f"the repository has no model {name!r}"))
        await self._follow(name, found)
        entry = self._engine.models[name]
        if entry.problem:
            raise ServeError(Status.INVALID, entry.problem)
        for number, trouble in entry.troubles.items():
            raise ServeError(Status.INVALID, message("load", f"version {number} of {name!r} was not loaded: {trouble.text}"))

    async def unload(self, name: str) -> None:
        """Take a model away until it is loaded again; returns when its memory has been given back."""
        entry = self._engine.models.get(name)
        if entry is None:
            raise ServeError(Status.NOT_FOUND, message("unload", f"no model {name!r} is served"))
        self._parked.add(name)
        async with self._locks.setdefault(name, asyncio.Lock()):
            versions = list(entry.versions.values())
            await self._leave(name, [])
        while any(v in self._engine.leaving for v in versions):
            await asyncio.sleep(0.01)

    def index(self) -> list[dict[str, str]]:
        """All models of the repository: name, version, state, reason."""
        found = []
        for name in sorted({*self._found, *self._engine.models}):
            entry = self._engine.models.get(name)
            versions = set(self._found[name].versions) if name in self._found else set()
            versions |= set(entry.versions) if entry is not None else set()
            for number in sorted(versions):
                state, reason = self._state(name, entry, number)
                found.append({"name": name, "version": str(number), "state": state, "reason": reason})
        return found

    def _state(self, name: str, entry: Entry | None, number: int) -> tuple[str, str]:
        if name in self._parked and entry is None:
            return "UNAVAILABLE", "unloaded"
        trouble = None if entry is None else entry.troubles.get(number)
        if entry is not None and number in entry.versions:
            # What answers may be older than the file that lies there now.
            state = "READY" if entry.versions[number].state is State.READY else "UNLOADING"
            return state, entry.problem if trouble is None else trouble.text
        if trouble is not None:
            return "LOADING" if trouble.state is State.LOADING else "UNAVAILABLE", trouble.text
        return "UNAVAILABLE", (entry and entry.problem) or "its manifest's versions.policy leaves it out"


def _missing(found: Found, wanted: Sequence[int]) -> str:
    """What a manifest names and there is not; nothing if all is there."""
    policy, labels = found.manifest.versions.policy, found.manifest.labels
    parts = [f"version {n}" for n in sorted(set(() if isinstance(policy, str) else policy) - set(found.versions))]
    parts += [f"version {n} for the label {label!r}" for label, n in labels.items() if n not in wanted]
    return f"the manifest of {found.name} names what is not served: {', '.join(parts)}" if parts else ""


def _fresh(plan: Plan) -> bool:
    """Whether its file may still be written to."""
    return time.time() - plan.source.identity[3] / 1e9 < _FRESH_SECONDS


def _told(why: BaseException, plan: Plan) -> str:
    """Why something failed, for clients: no paths, no names of ours."""
    if isinstance(why, Lost):
        return "the process that loaded it ended"  # which one is for the log
    if isinstance(why, OSError):
        return why.strerror or "the file can't be read"
    return str(why).replace(str(plan.source.path), plan.source.path.name)
