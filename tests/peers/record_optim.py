"""Records PyTorch's optimisers and schedules into `tests/optim/golden.safetensors`.

Run on demand, with PyTorch installed: `python -m tests.peers.record_optim`. The everyday tests only
read the file.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from tests.optim import cases

PATH = Path(__file__).parent.parent / "optim" / "golden.safetensors"


def record(case: cases.Case) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Parameters after some of the steps, the last state, and the form of the state dict."""
    dtype = getattr(torch, case.dtype)
    first, grads = cases.inputs()
    params = [torch.tensor(first[i]).to(dtype).requires_grad_() for i in case.params]
    options = dict(case.options)
    if case.name not in ("SparseAdam", "Muon", "Adafactor") and not options.get("fused"):
        options["foreach"] = False
    optimizer = getattr(torch.optim, case.name)(params, **options)
    found: dict[str, np.ndarray] = {}
    for step, row in enumerate(grads, 1):
        for i, p in zip(case.params, params, strict=True):
            p.grad = None
            if (step, i) not in cases.MISSING:
                g = torch.tensor(row[i]).to(dtype)
                p.grad = g.to_sparse() if case.name == "SparseAdam" else g
        optimizer.step()
        if step in cases.SHOWN:
            found[f"{case.key}/{step}"] = flat(params)
    state = optimizer.state_dict()
    names = {}
    for i, one in state["state"].items():
        names[i] = list(one)
        for name, value in one.items():
            if name != "step" or isinstance(value, torch.Tensor):
                found[f"{case.key}/state/{i}/{name}"] = flat([value])
    return found, {"groups": list(state["param_groups"][0]), "state": names}


def flat(tensors: list[torch.Tensor]) -> np.ndarray:
    """Tensors as one vector; bfloat16 as float32."""
    found = torch.cat([t.detach().reshape(-1) for t in tensors])
    if found.dtype is torch.bfloat16:
        found = found.float()
    return found.numpy().copy()


def record_lbfgs(options: dict[str, Any]) -> np.ndarray:
    x = torch.tensor([2.0, -1.5, 0.5, 1.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([x], **options)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = cases.valley(x)
        loss.backward()
        return loss

    rows = []
    for _ in range(4):
        loss = optimizer.step(closure)
        rows.append([*x.tolist(), float(loss), optimizer.state[x]["func_evals"]])
    return np.array(rows)


def record_schedule(name: str) -> tuple[np.ndarray, list[str]]:
    params = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": [params[0]], "lr": 0.1}, {"params": [params[1]]}]
    optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9)
    schedule = cases.schedule_of(name, torch.optim, optimizer)
    rows = cases.run_schedule(name, schedule, optimizer)
    return np.array(rows, np.float64), sorted(schedule.state_dict())


def main() -> None:
    warnings.simplefilter("ignore")
    arrays: dict[str, np.ndarray] = {}
    forms: dict[str, Any] = {}
    for case in cases.CASES:
        found, forms[case.key] = record(case)
        arrays.update(found)
    for i, options in enumerate(cases.LBFGS):
        arrays[f"LBFGS/{i}"] = record_lbfgs(options)
    for name in cases.SCHEDULES:
        arrays[f"schedule/{name}"], forms[f"schedule/{name}"] = record_schedule(name)
    metadata = {"torch": torch.__version__, "forms": json.dumps(forms)}
    save_file(arrays, PATH, metadata)
    print(f"{PATH}: {len(arrays)} arrays, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
