"""Schedules made of schedules: one after another, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from fanal.core.errors import message
from fanal.optim.lr_scheduler.base import LRScheduler, set_value
from fanal.optim.lr_scheduler.plateau import ReduceLROnPlateau
from fanal.optim.optimizer import Optimizer


class _OfSchedulers(LRScheduler):
    """What the combinations share: checks, and the parts' states."""

    _schedulers: Sequence[Any]

    def _check(self, optimizer: Optimizer | None, schedulers: Sequence[Any]) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ValueError(message(name, f"{name} expects at least one scheduler", "none"))
        for i, part in enumerate(schedulers):
            if not hasattr(part, "optimizer"):
                what = f"the scheduler at index {i} should have `optimizer` as its attribute"
                raise TypeError(message(name, what, type(part).__name__))
            if isinstance(part, ReduceLROnPlateau):
                raise ValueError(
                    message(
                        name, f"{name} does not support `ReduceLROnPlateau`, whose step needs a "
                        "metric", f"one at index {i}", hint="stepping it by itself",
                    )
                )
            if optimizer is not None and part.optimizer is not optimizer:
                raise ValueError(
                    message(
                        name, f"{name} expects all schedulers to belong to the same optimizer",
                        f"another one at index {i}",
                    )
                )

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser, with the parts' states."""
        found = super().state_dict()
        found["_schedulers"] = [s.state_dict() for s in self._schedulers]
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self.__dict__.update({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for part, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            part.load_state_dict(state)


class SequentialLR(_OfSchedulers):
    """Schedules one after another, the next one from each milestone on.

    As `torch.optim.lr_scheduler.SequentialLR`: each starts from its own step 0.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int],
        last_epoch: int = -1,
    ):  # fmt: skip
        self._check(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                message(
                    "SequentialLR", "the number of schedulers should be one more than that of "
                    "milestones", f"{len(schedulers)} schedulers, {len(milestones)} milestones",
                )
            )
        self._schedulers, self._milestones = schedulers, milestones
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        # The parts have set the rate one after another at their construction: begin anew.
        for group in optimizer.param_groups:
            set_value(group, "lr", group["initial_lr"])
        _undo(self)
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Step the schedule whose turn it is."""
        self.last_epoch += 1
        number = bisect_right(self._milestones, self.last_epoch)
        part = self._schedulers[number]
        if number > 0 and self._milestones[number - 1] == self.last_epoch:
            part._update_lr(0)
        else:
            part.step()
        self._last_lr = part.get_last_lr()


def _undo(schedule: Any) -> None:
    """Take back the step that each part made at its construction."""
    parts = getattr(schedule, "_schedulers", None)
    if parts is None:
        schedule.last_epoch -= 1
    for part in parts or ():
        _undo(part)


class ChainedScheduler(_OfSchedulers):
    """All schedules step together, each from the rate that the one before has set.

    As `torch.optim.lr_scheduler.ChainedScheduler`.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None):
        self._check(None, schedulers)
        self.optimizer = optimizer or schedulers[0].optimizer
        self._check(self.optimizer, schedulers)
        self._schedulers = schedulers
        self._last_lr = self._present()

    def step(self, epoch: int | None = None) -> None:
        """Step all schedules, in order."""
        for part in self._schedulers:
            part.step()
        self._last_lr = self._present()
