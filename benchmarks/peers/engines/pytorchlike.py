"""A case on a library with PyTorch's names, so on PyTorch itself and on Fanal: the same lines.

What differs between the two (compilation, layout, the fused optimiser) comes in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.engines.task import Runner, Task, turns
from benchmarks.peers.losses import BETAS, DECAY, EPSILON, LOSSES, RATE

Step = Callable[..., Any]


def module(lib: Any, task: Task) -> Any:
    """The model with the weights that everyone has."""
    model = task.case.build(lib)
    arrays = task.weights.arrays
    model.load_state_dict({name: lib.from_numpy(array.copy()) for name, array in arrays.items()})
    return model.train(task.train)


def batches(lib: Any, task: Task, layout: Step = lambda x: x) -> list[list[Any]]:
    """Inputs, then targets, of each batch; `layout` is applied to inputs."""
    return [
        [*(layout(lib.from_numpy(x.copy())) for x in inputs),
         *(lib.from_numpy(y.copy()) for y in targets)]
        for inputs, targets in task.data
    ]  # fmt: skip


def training(
    lib: Any, task: Task, model: Any, data: list[list[Any]], compiled: Callable[[Step], Step],
    **adam: Any,
) -> Runner:  # fmt: skip
    """Steps of AdamW, the whole of which is handed to `compiled` first."""
    F, loss_of, count = lib.nn.functional, LOSSES[task.case.loss], len(task.data[0][0])
    optimizer = lib.optim.AdamW(
        model.parameters(), lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY, **adam
    )

    def step(*arrays: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(F, model(*arrays[:count]), *arrays[count:])
        loss.backward()
        optimizer.step()
        return loss

    call, feed, last = compiled(step), turns(data), [None]

    def run(steps: int) -> None:
        for _ in range(steps):
            last[0] = call(*next(feed))
        last[0].item()

    return Runner(run, lambda: _array(last[0]))


def answering(lib: Any, task: Task, call: Step, data: list[list[Any]]) -> Runner:
    """Answers without gradients."""
    inputs, last = data[0][: len(task.data[0][0])], [None]

    def run(steps: int) -> None:
        with lib.inference_mode():
            for _ in range(steps):
                last[0] = call(*inputs)

    return Runner(run, lambda: _array(last[0]))


def _array(x: Any) -> np.ndarray:
    return np.asarray(x.detach().contiguous().numpy())
