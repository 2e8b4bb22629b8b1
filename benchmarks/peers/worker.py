"""One framework with one case, in a process that answers requests: a line of JSON in, a line out.

`build` imports the framework, makes the case and takes the first step; `run` takes steps and says
how long each took; `memory` says how much the process has grown. What libraries print goes to
stderr.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import resident
from benchmarks.peers import cases, environment, peers
from benchmarks.peers.engines.task import CHECKED, Runner, Task

Answer = dict[str, Any]


class Worker:
    """The state between requests."""

    runner: Runner

    def __init__(self, task: Task, engine: str):
        self.task, self.engine = task, engine

    def build(self) -> Answer:
        """Import, make, first step; times of each, and the first results."""
        _ = self.task.data, self.task.weights  # made before the clock starts
        engine = importlib.import_module(f"benchmarks.peers.engines.{self.engine}")
        start = time.perf_counter()
        version = engine.load(self.task.threads)
        imported = time.perf_counter()
        self.empty = resident("VmRSS")
        began = time.perf_counter()
        self.runner = engine.make(self.task)
        made = time.perf_counter()
        self.runner.run(1)
        first = time.perf_counter()
        return {
            "version": version, "import_s": imported - start, "build_s": made - began,
            "first_s": first - made, "notes": self.runner.notes, **self._results(),
        }  # fmt: skip

    def _results(self) -> Answer:
        """The first losses; or a file that has the first output, and how far later ones differ."""
        found = [np.array(self.runner.value())]
        for _ in range(CHECKED - 1):
            self.runner.run(1)
            found.append(np.array(self.runner.value()))
        if self.task.train:
            return {"result": [float(loss) for loss in found]}
        path = self.task.cache / f"output-{os.getpid()}.npy"
        np.save(path, found[0])
        unsteady = max(float(np.abs(other - found[0]).max()) for other in found[1:])
        return {"result": str(path), "unsteady": unsteady}

    def run(self, steps: int, lead: int = 0) -> Answer:
        """Seconds of a step, as the mean of some in a row; `lead` steps before are not timed."""
        if lead:
            self.runner.run(lead)
        start = time.perf_counter()
        self.runner.run(steps)
        return {"seconds": (time.perf_counter() - start) / steps}

    def memory(self) -> Answer:
        """MiB: at most so far, less what was resident after the import."""
        return {"grown": resident("VmHWM") - self.empty, "empty": self.empty}


def main() -> None:
    """Answer until the pipe closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("peer")
    parser.add_argument("case")
    parser.add_argument("measure", choices=("train", "infer1", "infer32"))
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    environment.end_with_parent()
    environment.pin(options.threads)
    # Our own copy of the pipe; what is printed by others must not get into it.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer, case = peers.named(options.peer), cases.load(options.case)
    train = options.measure == "train"
    batch = case.batch if train else int(options.measure.removeprefix("infer"))
    options.cache.mkdir(parents=True, exist_ok=True)
    task = Task(case, train, batch, options.threads, options.folder, options.cache,
                dict(peer.options))  # fmt: skip
    worker = Worker(task, peer.engine)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
    # Some libraries take long, or fail, while they are torn down: there is nothing to keep.
    answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
