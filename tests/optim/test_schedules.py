"""Schedules: warnings, checks, states. Their numbers are in `test_against_torch.py`."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import fanal
from fanal import optim
from fanal.optim import lr_scheduler as lr


def sgd(**options: Any) -> Any:
    p = fanal.ones(1, requires_grad=True)
    p.grad = fanal.ones(1)
    return optim.SGD([p], **{"lr": 0.1, **options})


def test_wrong_order_warns_once() -> None:
    o = sgd()
    schedule = lr.StepLR(o, 1)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        schedule.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()


def test_right_order_is_silent() -> None:
    o = sgd()
    o.step()
    schedule = lr.ExponentialLR(o, 0.9)
    second = lr.StepLR(o, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            o.step()
            schedule.step()
            second.step()


def test_get_lr_outside_step_warns() -> None:
    with pytest.warns(UserWarning, match="get_last_lr"):
        lr.StepLR(sgd(), 1).get_lr()


def test_epoch_argument_is_deprecated_and_jumps() -> None:
    o = sgd()
    schedule = lr.StepLR(o, 2, 0.5)
    o.step()
    with pytest.warns(UserWarning, match="deprecated"):
        schedule.step(6)
    assert schedule.get_last_lr() == [0.1 * 0.5**3]


def test_resuming() -> None:
    with pytest.raises(KeyError, match="initial_lr"):
        lr.StepLR(sgd(), 1, last_epoch=3)
    o = sgd()
    o.param_groups[0]["initial_lr"] = 0.4
    assert lr.CosineAnnealingLR(o, 10, last_epoch=4).last_epoch == 5


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda o: lr.StepLR("no", 1), TypeError, "not an Optimizer"),
        (lambda o: lr.LambdaLR(o, [len, len]), ValueError, "one function a group"),
        (lambda o: lr.MultiplicativeLR(o, 3), TypeError, "should be a function"),
        (lambda o: lr.ConstantLR(o, 2.0), ValueError, "between 0 and 1"),
        (lambda o: lr.LinearLR(o, 0.0), ValueError, "greater than 0"),
        (lambda o: lr.LinearLR(o, 1.0, 2.0), ValueError, "between 0 and 1"),
        (lambda o: lr.SequentialLR(o, [], []), ValueError, "at least one"),
        (lambda o: lr.SequentialLR(o, [lr.StepLR(o, 1)], [3]), ValueError, "one more"),
        (lambda o: lr.ChainedScheduler([lr.StepLR(sgd(), 1)], o), ValueError, "same optimizer"),
        (lambda o: lr.ChainedScheduler([lr.ReduceLROnPlateau(o)]), ValueError, "Plateau"),
        (lambda o: lr.ReduceLROnPlateau(o, factor=1.5), ValueError, "Factor should be < 1.0"),
        (lambda o: lr.ReduceLROnPlateau(o, "mid"), ValueError, "mode mid is unknown"),
        (lambda o: lr.CyclicLR(o, 0.1, 0.2, mode="x"), ValueError, "mode is invalid"),
        (lambda o: lr.OneCycleLR(o, 0.1), ValueError, "You must define either"),
        (lambda o: lr.OneCycleLR(o, 0.1, total_steps=5, pct_start=2.0), ValueError, "pct_start"),
        (lambda o: lr.OneCycleLR(o, 0.1, total_steps=-5), ValueError, "positive integer"),
        (lambda o: lr.CosineAnnealingWarmRestarts(o, 0), ValueError, "T_0"),
        (lambda o: lr.CyclicLR(o, [0.1, 0.2], 0.3), ValueError, "same length"),
    ],
)
def test_wrong_arguments(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make(sgd(momentum=0.9))


def test_momentum_is_needed_for_its_cycle() -> None:
    o = optim.Adagrad([fanal.ones(1, requires_grad=True)])
    with pytest.raises(ValueError, match="cycle_momentum"):
        lr.OneCycleLR(o, 0.1, total_steps=5)
    o = optim.Adam([fanal.ones(1, requires_grad=True)])
    lr.OneCycleLR(o, 0.1, total_steps=5)
    assert o.param_groups[0]["betas"] == (0.95, 0.999)


def test_too_many_steps_of_one_cycle() -> None:
    o = sgd(momentum=0.9)
    schedule = lr.OneCycleLR(o, 0.1, total_steps=2)
    with pytest.raises(ValueError, match="Tried to step 3 times"):
        for _ in range(4):
            o.step()
            schedule.step()


def test_warm_restarts_by_fractions() -> None:
    o = sgd()
    schedule = lr.CosineAnnealingWarmRestarts(o, 2, 2)
    whole = [schedule.step(e) or o.param_groups[0]["lr"] for e in (0, 1, 2, 4, 5.5, 6)]
    assert whole[0] == whole[2] == whole[5] == 0.1 and 0 < whole[4] < whole[3] < 0.1


def test_functions_with_attributes_are_saved() -> None:
    class Factor:
        def __init__(self, base: float):
            self.base = base

        def __call__(self, step: int) -> float:
            return self.base**step

    first = lr.LambdaLR(sgd(), Factor(0.5))
    second = lr.LambdaLR(sgd(), Factor(0.25))
    second.load_state_dict(first.state_dict())
    assert second.lr_lambdas[0].base == 0.5
    assert lr.LambdaLR(sgd(), lambda e: 1.0).state_dict()["lr_lambdas"] == [None]


def test_tensor_rates_keep_their_identity() -> None:
    rate = fanal.tensor(0.1)
    o = sgd(lr=rate)
    schedule = lr.ExponentialLR(o, 0.5)
    o.step()
    schedule.step()
    assert o.param_groups[0]["lr"] is rate and abs(float(rate) - 0.05) < 1e-7
    schedule.get_last_lr()[0].zero_()
    assert float(rate) > 0
