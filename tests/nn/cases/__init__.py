"""What is compared with PyTorch: every layer and function, with its options, on small inputs."""

from __future__ import annotations

from tests.nn.cases import (
    activations,
    attention,
    containers,
    convolutions,
    functions,
    losses,
    norms,
    pools,
    sequences,
    utilities,
)  # fmt: skip
from tests.nn.cases import shapes as shapes_
from tests.nn.cases.case import Case

ALL: list[Case] = []
for _module in (
    activations, losses, norms, convolutions, pools, shapes_, attention, sequences, functions, containers,
    utilities,
):  # fmt: skip
    ALL += _module.CASES

KEYS = [c.key for c in ALL]
assert len(set(KEYS)) == len(KEYS), [k for k in KEYS if KEYS.count(k) > 1]
