"""One case on all servers: starts, then rounds in which they take turns.

A server that is not at its turn is stopped (SIGSTOP). Whatever goes wrong with one becomes a reason in the results;
the others go on.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers import environment
from benchmarks.peers.client import Failure, short
from benchmarks.serving.load import Generator
from benchmarks.serving.networks import NETWORKS
from benchmarks.serving.process import Process
from benchmarks.serving.servers.server import Server, Setting, free_ports

STARTS = 3
WARM_UP = 10.0  # seconds of full load before anything counts: the Java machine compiles in that time
SHARE = 0.7  # of its own throughput in the same turn, where a server is asked below saturation
SAME = 0.5  # of the slowest server's throughput while warming up: the rate that all are asked at


class Plan(NamedTuple):
    """What is to be done."""

    servers: Sequence[Server]
    rounds: int
    seconds: float  # of each measurement
    connections: int
    processors: int
    work: Path
    say: Callable[[str], None]


def run(plan: Plan, case: str) -> dict[str, Any]:
    """All of a case, as plain data by server."""
    folder = plan.work / case
    _prepare(plan, case, folder)
    found: dict[str, Any] = {}
    with ExitStack() as stack, Generator(plan.work / "cache") as generator:
        running: dict[str, Process] = {}
        for server in plan.servers:
            if server.sized and not NETWORKS[case].sized:
                continue
            plan.say(f"{case}: {server.label} starts")
            record = found[server.name] = {"ways": {w.name: {"kind": w.kind, "full": [], "own": [], "same": []} for w in server.ways}}
            try:
                process, record["starts"] = _started(plan, server, case, folder)
                running[server.name] = stack.enter_context(process)
                record["apart"] = max(process.check(w) for w in server.ways)
                record["memory"] = {"started": process.memory()._asdict()}
                process.pause()
            except (Failure, OSError, subprocess.CalledProcessError) as error:
                found[server.name] = {"failed": short(str(error))}
                running.pop(server.name, None)
        _rounds(plan, case, running, found, generator)
    return found


def _prepare(plan: Plan, case: str, folder: Path) -> None:
    plan.say(f"{case}: weights and answers")
    command = [sys.executable, "-m", "benchmarks.serving.prepare", case, str(folder)]
    subprocess.run(command, check=True, cwd=environment.ROOT, env=environment.worker(1, plan.work / "cache"))


def _started(plan: Plan, server: Server, case: str, folder: Path) -> tuple[Process, list[float]]:
    """The server after some starts, and the seconds of each. One start may fail: servers have time limits of their
    own for what a machine that is busy may take long to do."""
    seconds, failures = [], 0
    for number in range(STARTS):
        setting = Setting(case, folder, folder / server.name, free_ports(), server.batch, plan.processors)
        try:
            process = Process(server, setting, plan.work / "cache")
        except Failure as why:
            failures += 1
            if failures > 1 or number == STARTS - 1:
                raise
            plan.say(f"{case}: {server.label}: {why}")
            continue
        seconds.append(process.seconds)
        if number < STARTS - 1:
            process.end()
    return process, seconds


def _rounds(plan: Plan, case: str, running: dict[str, Process], found: dict[str, Any], generator: Generator) -> None:
    rows = np.load(plan.work / case / "inputs.npy")
    requests = {
        (name, way.name): [way.request(case, row) for row in rows] for name, p in running.items() for way in p.server.ways
    }

    def measure(name: str, way: str, seconds: float, rate: float | None = None) -> dict[str, Any]:
        process = running[name]
        before = process.cpu()
        one = generator.load(process.setting.port, requests[name, way], plan.connections, seconds, rate)
        return {**one, "cpu": (process.cpu() - before) / seconds}

    def turn(name: str, process: Process, slowest: float | None) -> None:
        """All that is measured of a server in a round (None: only warming up). Below saturation is below what it has
        just done: what else the machine does changes from minute to minute."""
        process.resume()
        try:
            for way, record in found[name]["ways"].items():
                if slowest is None:
                    record["warm"] = measure(name, way, WARM_UP)["throughput"]
                    continue
                full = measure(name, way, plan.seconds)
                record["full"].append(full)
                record["own"].append(measure(name, way, plan.seconds, max(1.0, SHARE * full["throughput"])))
                record["same"].append(measure(name, way, plan.seconds, max(1.0, SAME * slowest)))
        finally:
            process.pause()

    plan.say(f"{case}: warming up")
    for name, process in running.items():
        turn(name, process, None)
    slowest = min((r["warm"] for n in running for r in found[n]["ways"].values()), default=0.0)
    for number in range(plan.rounds):
        plan.say(f"{case}: round {number + 1} of {plan.rounds}")
        for name, process in running.items():
            turn(name, process, slowest)
    for name, process in running.items():
        process.resume()
        found[name]["memory"]["loaded"] = process.memory()._asdict()
        if process.process.poll() is not None:
            found[name]["failed"] = "it ended under load"

