"""Optimisers and schedules give what PyTorch gave when `golden.safetensors` was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import fanal
import fanal.optim
from tests.optim import cases

PATH = Path(__file__).parent / "golden.safetensors"


@pytest.fixture(scope="module")
def golden() -> Any:
    with safe_open(PATH, "numpy") as file:
        yield file


@pytest.fixture(scope="module")
def forms(golden: Any) -> Any:
    return json.loads(golden.metadata()["forms"])


def flat(tensors: list[Any]) -> np.ndarray:
    return np.concatenate([t.detach().float().numpy().reshape(-1) if t.dtype is fanal.bfloat16
                           else t.detach().numpy().reshape(-1) for t in tensors])  # fmt: skip


@pytest.mark.parametrize("case", cases.CASES, ids=lambda c: c.key)
def test_trajectory(case: cases.Case, golden: Any, forms: Any) -> None:
    dtype = getattr(fanal, case.dtype)
    first, grads = cases.inputs()
    params = [fanal.tensor(first[i]).to(dtype).requires_grad_() for i in case.params]
    optimizer = getattr(fanal.optim, case.name)(params, **case.options)
    near = {"rtol": case.rtol, "atol": case.atol}
    for step, row in enumerate(grads, 1):
        for i, p in zip(case.params, params, strict=True):
            p.grad = None if (step, i) in cases.MISSING else fanal.tensor(row[i]).to(dtype)
        optimizer.step()
        if step in cases.SHOWN:
            wanted = golden.get_tensor(f"{case.key}/{step}")
            np.testing.assert_allclose(flat(params), wanted, **near, err_msg=f"step {step}")
    state = optimizer.state_dict()
    form = forms[case.key]
    assert set(state["param_groups"][0]) - {"foreach"} == set(form["groups"]) - {"foreach"}
    assert {str(i): list(one) for i, one in state["state"].items()} == form["state"]
    for i, one in state["state"].items():
        for name, value in one.items():
            if isinstance(value, fanal.Tensor):
                wanted = golden.get_tensor(f"{case.key}/state/{i}/{name}")
                np.testing.assert_allclose(
                    flat([value]), wanted, rtol=5 * case.rtol, atol=2 * case.atol, err_msg=name
                )


@pytest.mark.parametrize("number", range(len(cases.LBFGS)))
def test_lbfgs(number: int, golden: Any) -> None:
    x = fanal.tensor([2.0, -1.5, 0.5, 1.0], requires_grad=True)
    optimizer = fanal.optim.LBFGS([x], **cases.LBFGS[number])

    def closure() -> Any:
        optimizer.zero_grad()
        loss = cases.valley(x)
        loss.backward()
        return loss

    rows = []
    for _ in range(4):
        loss = optimizer.step(closure)
        rows.append([*x.tolist(), float(loss), optimizer.state[x]["func_evals"]])
    np.testing.assert_allclose(rows, golden.get_tensor(f"LBFGS/{number}"), rtol=2e-4, atol=2e-4)


def two_groups() -> Any:
    params = [fanal.zeros(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": [params[0]], "lr": 0.1}, {"params": [params[1]]}]
    return fanal.optim.SGD(groups, lr=0.05, momentum=0.9)


@pytest.mark.parametrize("name", list(cases.SCHEDULES))
def test_schedule(name: str, golden: Any, forms: Any) -> None:
    optimizer = two_groups()
    schedule = cases.schedule_of(name, fanal.optim, optimizer)
    rows = cases.run_schedule(name, schedule, optimizer)
    np.testing.assert_array_equal(np.array(rows), golden.get_tensor(f"schedule/{name}"))
    assert schedule.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
    missing = set(forms[f"schedule/{name}"]) - set(schedule.state_dict())
    assert not {m for m in missing if not m.startswith("_")}


@pytest.mark.parametrize("name", list(cases.SCHEDULES))
def test_schedule_continues_from_a_state(name: str) -> None:
    optimizer = two_groups()
    schedule = cases.schedule_of(name, fanal.optim, optimizer)
    cases.run_schedule(name, schedule, optimizer, 6)
    saved, saved_schedule = optimizer.state_dict(), json_like(schedule.state_dict())
    other = two_groups()
    second = cases.schedule_of(name, fanal.optim, other)
    other.load_state_dict(saved)
    second.load_state_dict(saved_schedule)
    assert second.get_last_lr() == schedule.get_last_lr()
    assert cases.run_schedule(name, second, other, 5) == cases.run_schedule(
        name, schedule, optimizer, 5
    )


def json_like(state: Any) -> Any:
    """A copy without shared containers, as a saved file would give it."""
    if isinstance(state, dict):
        return type(state)({k: json_like(v) for k, v in state.items()})
    return [json_like(v) for v in state] if isinstance(state, list) else state
