"""Averages of weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fanal
from fanal import optim
from fanal.nn.module import Module
from fanal.nn.parameter import Parameter
from fanal.optim import swa_utils as swa


class Net(Module):
    def __init__(self, value: float):
        super().__init__()
        self.w = Parameter(fanal.full((2, 3), value))
        self.b = Parameter(fanal.full((3,), -value))
        self.register_buffer("seen", fanal.full((3,), 10 * value))
        self.register_buffer("count", fanal.tensor(3))

    def forward(self, x: Any) -> Any:
        return x @ self.w + self.b


def values(model: Module) -> list[float]:
    return [float(p.detach().reshape(-1)[0]) for p in (*model.parameters(), *model.buffers())]


def test_mean_of_models() -> None:
    average = swa.AveragedModel(Net(1.0))
    for v in (1.0, 2.0, 6.0):
        average.update_parameters(Net(v))
    assert np.allclose(values(average.module), [3, -3, 60, 3])
    assert int(average.n_averaged) == 3
    assert np.allclose(average(fanal.ones(1, 2)).tolist(), [[3.0] * 3])
    assert "module.w" in average.state_dict() and "n_averaged" in average.state_dict()


@pytest.mark.parametrize("buffers", [False, True])
def test_moving_average(buffers: bool) -> None:
    for options in (
        {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.9)}, {"avg_fn": swa.get_ema_avg_fn(0.9)}
    ):  # fmt: skip
        average = swa.AveragedModel(Net(1.0), use_buffers=buffers, **options)
        average.update_parameters(Net(1.0))
        average.update_parameters(Net(2.0))
        assert np.allclose(values(average.module)[:3], [1.1, -1.1, 11 if buffers else 20])


def test_functions_of_averages() -> None:
    a, x = fanal.tensor([1.0, 3.0]), fanal.tensor([3.0, 5.0])
    assert swa.get_swa_avg_fn()(a, x, 1).tolist() == [2, 4]
    swa.get_swa_multi_avg_fn()([a], [x], fanal.tensor(3))
    assert a.tolist() == [1.5, 3.5]
    for make in (swa.get_ema_avg_fn, swa.get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match="Invalid decay"):
            make(1.5)
    with pytest.raises(AssertionError, match="Only one"):
        swa.AveragedModel(Net(1.0), avg_fn=max, multi_avg_fn=max)


def test_batch_norm_statistics_are_computed_anew() -> None:
    class Norm(Module):
        """The running mean as a batch norm keeps it: momentum None for the mean of all."""

        def __init__(self) -> None:
            super().__init__()
            self.momentum: Any = 0.1
            self.register_buffer("running_mean", fanal.full((2,), 9.0))
            self.batches = 0

        def reset_running_stats(self) -> None:
            self.running_mean.zero_()
            self.batches = 0

        def forward(self, x: Any) -> Any:
            assert self.training and self.momentum is None
            self.batches += 1
            self.running_mean += (x.mean(0) - self.running_mean) / self.batches
            return x

    model = Norm()
    model.eval()
    swa.update_bn([(fanal.ones(4, 2), 0), (fanal.ones(4, 2) * 3, 1)], model)
    assert model.running_mean.tolist() == [2, 2]
    assert model.momentum == 0.1 and not model.training
    swa.update_bn([], Net(1.0))


def test_swalr_checks() -> None:
    o = optim.SGD([fanal.ones(1, requires_grad=True)], lr=0.1)
    with pytest.raises(ValueError, match="anneal_strategy"):
        swa.SWALR(o, 0.1, anneal_strategy="x")
    with pytest.raises(ValueError, match="anneal_epochs"):
        swa.SWALR(o, 0.1, anneal_epochs=-1)
    schedule = swa.SWALR(o, 0.05, anneal_epochs=0)
    o.step()
    schedule.step()
    assert schedule.get_last_lr() == [0.05]
