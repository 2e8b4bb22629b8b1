"""Optimisers and learning-rate schedules, as `torch.optim`.

A step of any of them is one native program for all parameters of a group: see `rule.py`.
"""

from fanal.optim import lr_scheduler
from fanal.optim.adam import Adam, AdamW
from fanal.optim.hooks import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from fanal.optim.optimizer import Optimizer
from fanal.optim.sgd import SGD

__all__ = [
    "Adam", "AdamW", "Optimizer", "SGD", "lr_scheduler", "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
]  # fmt: skip
