"""Optimisers and learning-rate schedules, as `torch.optim`.

A step of any of them is one native program for all parameters of a group: see `rule.py`.
"""

from fanal.optim import lr_scheduler, swa_utils
from fanal.optim.adam import Adam, AdamW
from fanal.optim.adam_family import Adamax, NAdam, RAdam, SparseAdam
from fanal.optim.adaptive import Adadelta, Adagrad, RMSprop
from fanal.optim.hooks import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from fanal.optim.lbfgs import LBFGS
from fanal.optim.matrices import Adafactor, Muon
from fanal.optim.optimizer import Optimizer
from fanal.optim.sgd import SGD
from fanal.optim.sign_and_average import ASGD, Rprop
from fanal.optim.swap import swap_in_optimizer_params_and_state

__all__ = [
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon",
    "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "SGD", "SparseAdam", "lr_scheduler",
    "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook",
    "swa_utils", "swap_in_optimizer_params_and_state",
]  # fmt: skip
