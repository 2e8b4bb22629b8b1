"""Lets the peers take turns: the plan of a study, carried out case by case.

For each case and measure all workers are built one after another, each is stopped, and then in
every round each one runs for a fraction of a second while the others stand still; who begins moves
on from round to round. What comes out is raw: seconds of each round. `results.py` makes numbers of
it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import cases, environment
from benchmarks.peers.client import Client, Failure, Setting, short
from benchmarks.peers.peers import Peer

SLICE = 0.25  # seconds of a turn, or one step if that takes longer
WARM = (0.8, 3.0)  # seconds of warming up: at least, and at most if the time still falls
TIMED = ("train", "infer1", "infer32")
# What the results of others are compared with, if it is there.
REFERENCES = ("torch-eager", "fanal-eager", "fanal")
KEPT = ("version", "result", "unsteady", "notes")  # of what a worker says besides its times
Record = dict[str, Any]


@dataclass
class Plan:
    """What is to be measured."""

    cases: list[str]
    peers: list[Peer]
    measures: list[str]
    rounds: int
    threads: int
    priority: bool
    work: Path  # a folder for weights, exported models, caches
    say: Callable[[str], None]

    def wanted(self, measure: str) -> bool:
        """Whether workers are needed for a timed measure."""
        extra = {"train": ("compile", "memory"), "infer1": ("compile", "memory"), "infer32": ()}
        return measure in self.measures or any(m in self.measures for m in extra[measure])


def run(plan: Plan, name: str) -> Record:
    """All timed measures of one case."""
    folder = plan.work / "cases" / name
    folder.mkdir(parents=True, exist_ok=True)
    busy = environment.busy()
    setting = Setting(plan.threads, plan.priority, passive=busy > 0.1 and not plan.priority)
    found: Record = {"others_busy": busy, "passive_waiting": setting.passive}
    prepared = _module("prepare", name, str(folder))
    found["work"] = json.loads(prepared.stdout) if prepared.returncode == 0 else None
    failed = _export(plan, name, folder)
    for measure in TIMED:
        if plan.wanted(measure):
            found[measure] = _measure(plan, name, measure, folder, setting, failed)
    return found


def _measure(
    plan: Plan, name: str, measure: str, folder: Path, setting: Setting, failed: str
) -> Record:
    """One measure for every peer that has it."""
    found: dict[str, Record] = {}
    convolutions = cases.load(name).channels_last
    with contextlib.ExitStack() as stack:
        clients: dict[str, Client] = {}
        for peer in plan.peers:
            if measure not in peer.times or (peer.convolutions and not convolutions):
                continue
            cache = plan.work / "cache" / name / peer.name
            arguments = (peer.name, name, measure, folder, cache, setting)
            try:
                if importlib.util.find_spec(peer.framework) is None:
                    raise Failure(f"absent: {peer.packages[0]} is not installed")
                if failed and "exported" in peer.settings:
                    raise Failure(failed)
                found[peer.name] = record = {}
                if measure != "infer32" and {"compile", "memory"} & set(plan.measures):
                    shutil.rmtree(cache, ignore_errors=True)
                    with Client(*arguments) as cold:
                        record["cold"] = _times(cold.build())
                client = clients[peer.name] = stack.enter_context(Client(*arguments))
                answer = client.build()
                record.update(_times(answer), **{k: answer[k] for k in KEPT if k in answer})
                record["memory"] = client.ask(do="memory")
                if measure in plan.measures:
                    record["steps"], record["lead"] = _warm(client)
                client.pause()
            except Failure as failure:
                found[peer.name] = {"failed": str(failure)}
                if peer.name in clients:
                    clients.pop(peer.name).end()
            plan.say(_progress(name, measure, peer.name, found[peer.name]))
        _compare(found)
        if measure in plan.measures:
            _rounds(plan, clients, found)
    return found


def _times(answer: Record) -> Record:
    return {key: answer[key] for key in ("import_s", "build_s", "first_s")}


def _warm(client: Client) -> tuple[int, int]:
    """Run until it gets no faster; how many steps make a turn, and how many lead in."""
    seconds = client.ask(do="run", steps=1)["seconds"]
    spent, best = seconds, seconds
    least, most = WARM
    while spent < most:
        steps = max(1, min(int(0.2 / best), 10_000))
        seconds = client.ask(do="run", steps=steps)["seconds"]
        spent += seconds * steps
        if spent >= least and seconds > 0.97 * best:
            break
        best = min(best, seconds)
    steps = max(1, round(SLICE / min(best, seconds)))
    return steps, 0 if steps == 1 else max(1, steps // 8)


def _rounds(plan: Plan, clients: dict[str, Client], found: dict[str, Record]) -> None:
    """The turns themselves."""
    names = list(clients)
    for name in names:
        found[name]["seconds"] = []
    for number in range(plan.rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            record = found[name]
            if "failed" in record:
                continue
            try:
                answer = clients[name].ask(do="run", steps=record["steps"], lead=record["lead"])
                record["seconds"].append(answer["seconds"])
                clients[name].pause()
            except Failure as failure:
                found[name] = {"failed": f"in round {number + 1}: {failure}"}
                clients[name].end()


def _compare(found: dict[str, Record]) -> None:
    """How far each result is from the reference's; a wrong one has no time to be compared."""
    reference = next((n for n in REFERENCES if n in found and "failed" not in found[n]), None)
    if reference is None:
        return
    right = _result(found[reference]["result"])
    for record in found.values():
        if "failed" in record:
            continue
        result = _result(record["result"])
        record["reference"] = reference
        if result.shape != right.shape:
            record["wrong"] = f"shape {result.shape} where {reference} gives {right.shape}"
            continue
        record["difference"] = float(np.abs(result - right).max())
        scale = max(1.0, float(np.abs(right).max()))
        if not record["difference"] <= 1e-3 * scale:
            record["wrong"] = f"differs from {reference} by {record['difference']:.2g}"
        if record.get("unsteady", 0.0) > 1e-3 * scale:
            record["wrong"] = f"answers to one input differ by {record['unsteady']:.2g}"
        if "unsteady" not in record:  # losses: how far training brought them
            fell, should = result[0] - result[-1], right[0] - right[-1]
            record["fall"] = float(fell / should) if should else 1.0
            if not abs(record["fall"] - 1) <= 0.02:
                record["wrong"] = (
                    f"the loss falls {record['fall']:.2f} times as fast as {reference}'s"
                )
    for record in found.values():
        if isinstance(record.get("result"), str):
            Path(record.pop("result")).unlink()


def _result(result: Any) -> np.ndarray:
    return np.load(result) if isinstance(result, str) else np.array(result)


def _export(plan: Plan, name: str, folder: Path) -> str:
    """Write ONNX files for those who read them; the reason if that fails."""
    if not any("exported" in peer.settings for peer in plan.peers):
        return ""
    sizes = [m.removeprefix("infer") for m in ("infer1", "infer32") if plan.wanted(m)]
    done = _module("export", name, str(folder), *sizes)
    if done.returncode == 0:
        return ""
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return short(f"torch.onnx could not export the model: {last}")


def _module(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    cache = environment.ROOT / "build" / "peers" / "cache" / "prepare"
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.peers.{name}", *arguments], capture_output=True,
        text=True, cwd=environment.ROOT, env=environment.worker(1, cache),
    )  # fmt: skip


def _progress(case: str, measure: str, peer: str, record: Record) -> str:
    if "failed" in record:
        return f"{case:10} {measure:8} {peer:15} failed: {record['failed']}"
    cold = f"cold {record['cold']['first_s']:6.2f} s, " if "cold" in record else ""
    return (
        f"{case:10} {measure:8} {peer:15} {cold}first {record['first_s']:6.2f} s, "
        f"grown {record['memory']['grown']:5.0f} MiB"
    )
