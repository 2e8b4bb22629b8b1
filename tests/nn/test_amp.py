"""Mixed precision: the scaler's rules, and autocast as a permission."""

from __future__ import annotations

import pytest

import fanal
from fanal.amp import GradScaler, autocast


def step(scaler: GradScaler, grad: float) -> float:
    """One step of a parameter 1 with loss grad · p; the parameter afterwards."""
    p = fanal.nn.Parameter(fanal.ones(1))
    optimizer = fanal.optim.SGD([p], lr=0.5)
    scaler.scale((p * grad).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    return float(p)


def test_the_factor_grows_and_shrinks() -> None:
    scaler = GradScaler("cpu", init_scale=8.0, growth_interval=2)
    assert step(scaler, 1.0) == 0.5 and scaler.get_scale() == 8.0
    assert step(scaler, 1.0) == 0.5 and scaler.get_scale() == 16.0
    assert step(scaler, float("inf")) == 1.0 and scaler.get_scale() == 8.0
    other = GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert other.get_scale() == 8.0 and other.state_dict() == scaler.state_dict()


def test_order_of_calls_is_checked() -> None:
    scaler, optimizer = GradScaler("cpu"), fanal.optim.SGD([fanal.nn.Parameter(fanal.ones(1))], lr=0.1)
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.step(optimizer)


def test_without_such_a_device_it_does_nothing() -> None:
    with pytest.warns(UserWarning, match="not available"):
        scaler = GradScaler()
    assert not scaler.is_enabled() and step(scaler, 1.0) == 0.5 and scaler.state_dict() == {}
    with pytest.warns(UserWarning, match="CUDA is not available"), autocast("cuda"):
        pass
    with autocast("cpu", enabled=False):
        assert (fanal.ones(2) @ fanal.ones(2)).dtype is fanal.float32
