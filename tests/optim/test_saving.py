"""State dicts, copies, prepared and exchanged states."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import fanal
from fanal import optim
from tests.optim.test_optimizer import ALL, leaf, with_grads


@pytest.mark.parametrize("cls", ALL)
def test_loading_continues(cls: Any) -> None:
    a = with_grads(leaf(3), leaf(2))
    o = cls(a)
    assert o.state_dict()["state"] == {} or cls is optim.Adagrad
    o.step()
    o.step()
    saved = o.state_dict()
    b = with_grads(*[p.detach().clone().requires_grad_() for p in a])
    second = cls(b)
    second.load_state_dict(saved)
    for _ in range(2):
        o.step()
        second.step()
    for p, q in zip(a, b, strict=True):
        assert p.tolist() == q.tolist()
    for p, q in zip(a, b, strict=True):  # nothing is shared
        for name, value in o.state[p].items():
            assert not isinstance(value, fanal.Tensor) or value is not second.state[q][name]


@pytest.mark.parametrize("cls", [*ALL, optim.LBFGS])
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies(cls: Any, how: str) -> None:
    params = with_grads(leaf(3), leaf(2))
    o = cls(params)

    def closure() -> Any:
        return sum((p * p).sum() for p in params)

    o.step(closure)
    both = (params, o)
    copied, second = (
        copy.deepcopy(both) if how == "deepcopy" else pickle.loads(pickle.dumps(both))
    )
    assert second.param_groups[0]["params"][0] is copied[0]
    if how == "pickle":
        with_grads(*copied)
    if cls is not optim.LBFGS:
        o.step()
        second.step()
    assert [p.tolist() for p in params] == [p.tolist() for p in copied]


def test_loading_what_does_not_fit() -> None:
    o = optim.SGD([leaf(2), leaf(3)], lr=0.1)
    with pytest.raises(ValueError, match="different number of parameter groups"):
        o.load_state_dict({"state": {}, "param_groups": []})
    with pytest.raises(ValueError, match="doesn't match the size"):
        o.load_state_dict(optim.SGD([leaf(2)], lr=0.1).state_dict())


def test_loaded_state_takes_the_parameter_dtype_but_not_the_counter() -> None:
    (p,) = with_grads(leaf(2))
    o = optim.Adam([p])
    o.step()
    q = fanal.ones(2, dtype=fanal.float64, requires_grad=True)
    second = optim.Adam([q])
    second.load_state_dict(o.state_dict())
    assert second.state[q]["exp_avg"].dtype is fanal.float64
    assert second.state[q]["step"].dtype is fanal.float32
    q.grad = fanal.ones(2, dtype=fanal.float64)
    second.step()


def test_counters_saved_as_numbers() -> None:
    """Checkpoints of old versions hold plain numbers."""
    (p,) = with_grads(leaf(2))
    o = optim.AdamW([p])
    o.step()
    saved = o.state_dict()
    saved["state"] = {0: {**saved["state"][0], "step": 1}}
    o.load_state_dict(saved)
    o.step()
    assert isinstance(o.state[p]["step"], fanal.Tensor) and float(o.state[p]["step"]) == 2


def test_prepared_state_is_used_but_not_shown() -> None:
    params = with_grads(leaf(2), leaf(3))
    for cls in (optim.Adam, optim.Muon):
        if cls is optim.Muon:
            params = with_grads(leaf(2, 2))
        o = cls(params)
        o.prepare()
        assert o.state_dict()["state"] == {}
        moment = next(iter(o._prepared.values()))
        name = "exp_avg" if cls is optim.Adam else "momentum_buffer"
        o.step()
        assert o.state[params[0]][name] is moment[name]


def test_swap_in() -> None:
    (p,) = with_grads(leaf(2))
    o = optim.Adam([p])
    o.step()
    saved = copy.deepcopy(o.state_dict())
    before, q = p.tolist(), with_grads(leaf(2, value=5.0))[0]
    with optim.swap_in_optimizer_params_and_state(o, {"w": q}, saved):
        o.step()
    assert p.tolist() == before and q.tolist() != [5, 5] and o.param_groups[0]["params"] == [p]
    assert float(saved["state"][0]["step"]) == 2 and float(o.state[p]["step"]) == 1
