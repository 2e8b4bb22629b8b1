"""A case on a library with PyTorch's names, so on PyTorch itself and on Fanal: the same lines.

What differs between the two (compilation, layout, the fused optimiser) comes in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.engines.task import Runner, Task
from benchmarks.peers.losses import BETAS, DECAY, EPSILON, LOSSES, RATE

Step = Callable[..., Any]


def module(lib: Any, task: Task) -> Any:
    """The model with the weights that everyone has."""
    model = task.case.build(lib)
    arrays = task.weights.arrays
    model.load_state_dict({name: lib.from_numpy(array.copy()) for name, array in arrays.items()})
    return model.train(task.train)


def tensors(lib: Any, task: Task) -> tuple[list[Any], list[Any]]:
    """Inputs and targets."""
    inputs, targets = ([lib.from_numpy(x.copy()) for x in part] for part in task.data)
    return inputs, targets


def training(
    lib: Any, task: Task, model: Any, inputs: list[Any], compiled: Callable[[Step], Step], **adam: Any
) -> Runner:
    """Steps of AdamW, the whole of which is handed to `compiled` first."""
    F, loss_of = lib.nn.functional, LOSSES[task.case.loss]
    count, targets = len(inputs), tensors(lib, task)[1]
    optimizer = lib.optim.AdamW(
        model.parameters(), lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY, **adam
    )

    def step(*arrays: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(F, model(*arrays[:count]), *arrays[count:])
        loss.backward()
        optimizer.step()
        return loss

    return repeated(lib, compiled(step), [*inputs, *targets])


def answering(lib: Any, call: Step, inputs: list[Any]) -> Runner:
    """Answers without gradients."""
    runner = repeated(lib, call, inputs)

    def run(steps: int, inner: Callable[[int], None] = runner.run) -> None:
        with lib.inference_mode():
            inner(steps)

    runner.run = run
    return runner


def repeated(lib: Any, call: Step, arrays: list[Any]) -> Runner:
    """Call it many times; the last result is kept."""
    last: list[Any] = [None]

    def run(steps: int) -> None:
        for _ in range(steps):
            last[0] = call(*arrays)
        if last[0].ndim == 0:
            last[0].item()

    return Runner(run, lambda: np.asarray(last[0].detach().contiguous().numpy()))
