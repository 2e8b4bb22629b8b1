"""Fanal: `fanal.compile` on the whole step or on the model, where it exists; else eager."""

from __future__ import annotations

from benchmarks.peers.engines import pytorchlike
from benchmarks.peers.engines.task import Runner, Task

ABSENT = "this Fanal has no fanal.compile: measured eager"


def load(threads: int) -> str:
    """Import it."""
    import fanal

    fanal.set_num_threads(threads)
    return fanal.__version__


def make(task: Task) -> Runner:
    """A runner; `task.options["compile"]` asks for the compiled form."""
    import fanal

    wanted = bool(task.options.get("compile"))
    compiled = getattr(fanal, "compile", None) if wanted else None
    model = pytorchlike.module(fanal, task)
    data = pytorchlike.batches(fanal, task)
    if task.train:
        runner = pytorchlike.training(fanal, task, model, data, compiled or (lambda step: step))
    else:
        options = {"winograd": True} if task.options.get("winograd") else None
        call = compiled(model, options=options) if compiled else model
        runner = pytorchlike.answering(fanal, task, call, data)
    if wanted and compiled is None:
        runner.notes.append(ABSENT)
    return runner
