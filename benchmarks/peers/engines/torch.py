"""PyTorch, eager and through `torch.compile`.

Compiled training: forward and backward through `torch.compile(model)`, the optimiser's fused kernel
outside of it, as PyTorch's documentation shows; compiling the optimiser or the whole step was not
faster. Networks of 2-d convolutions are in channels-last memory format. Compiled answers use
`freezing`, which packs weights once, and the mode `max-autotune-no-cudagraphs`, which chooses
products by trying them; that mode does nothing for a training step on a CPU.
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
    """A runner; `task.options["compile"]` asks for the compiled form."""
    import torch

    model = pytorchlike.module(torch, task)
    data = pytorchlike.batches(torch, task)
    if task.case.channels_last:
        form = torch.channels_last
        model = model.to(memory_format=form)
        data = pytorchlike.batches(torch, task, lambda x: x.contiguous(memory_format=form))
    if task.options.get("compile"):
        model = _compiled(torch, task, model)
    if not task.train:
        return pytorchlike.answering(torch, task, model, data)
    return pytorchlike.training(torch, task, model, data, lambda step: step, fused=True)


def _compiled(torch: Any, task: Task, model: Any) -> Any:
    if task.train:
        return torch.compile(model)
    import torch._inductor.config as inductor

    inductor.freezing = True
    return torch.compile(model, mode="max-autotune-no-cudagraphs")
