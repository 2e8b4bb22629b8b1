"""PyTorch, eager and through `torch.compile`.

Compiled training: forward and backward through `torch.compile(model)`, the optimiser's fused kernel
outside of it (what PyTorch's documentation shows). Convolutions on images are in channels-last
memory format, and compiled answers use `freezing`, which packs weights once.
"""

from __future__ import annotations

from typing import Any

from benchmarks.peers.engines import pytorchlike
from benchmarks.peers.engines.task import Runner, Task


def load(threads: int) -> str:
    """Import it, with products computed in float32."""
    import torch

    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    return torch.__version__


def make(task: Task) -> Runner:
    """A runner; `task.options["compile"]` is the mode, or absent for eager."""
    import torch

    mode = task.options.get("compile")
    model = pytorchlike.module(torch, task)
    inputs, _ = pytorchlike.tensors(torch, task)
    if task.case.channels_last and task.options.get("channels_last", True):
        model = model.to(memory_format=torch.channels_last)
        inputs = [x.contiguous(memory_format=torch.channels_last) for x in inputs]
    if mode:
        model = _compiled(torch, task, model, mode)
    if not task.train:
        return pytorchlike.answering(torch, model, inputs)
    return pytorchlike.training(torch, task, model, inputs, lambda step: step, fused=True)


def _compiled(torch: Any, task: Task, model: Any, mode: str) -> Any:
    import torch._inductor.config as inductor

    if not task.train:
        inductor.freezing = task.options.get("freezing", True)
    return torch.compile(model, mode=mode)
