"""The network in PyTorch, as all servers of the peers call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.peers import weights
from benchmarks.serving.networks import NETWORKS


def network(case: str, folder: Path, width: int) -> Any:
    """With the case's weights, in eval mode, frozen by TorchScript: batch norms folded, the fastest of PyTorch's
    modes for these networks on a CPU that needs no compiler at start. One thread: the servers run as many
    workers as there are processors."""
    import warnings

    import torch

    torch.set_num_threads(1)
    module = NETWORKS[case].build(torch, width).eval()
    held = weights.load(folder / "weights.npz").arrays
    module.load_state_dict({k: torch.from_numpy(v) for k, v in held.items()})
    example = torch.from_numpy(NETWORKS[case].inputs()[:2])
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # TorchScript is deprecated and still what TorchServe takes
        traced = torch.jit.freeze(torch.jit.trace(module, example))
        for rows in (1, 2, 8, 32):
            for _ in range(3):  # its profiling executor
                traced(example[:1].repeat(rows, *[1] * (example.ndim - 1)))
    return traced
