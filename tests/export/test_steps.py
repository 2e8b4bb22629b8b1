"""Exported training steps: loaded, they go on exactly as the compiled step does, with all their state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.export import Dim, ExportError, export, load, save

BATCH = Dim("batch", min=2, max=32)
OPTIMISERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: fanal.optim.SGD(p, lr=0.05),
    "momentum": lambda p: fanal.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "AdamW": lambda p: fanal.optim.AdamW(p, lr=1e-2),
    "Adam with groups": lambda p: fanal.optim.Adam([{"params": [q], "lr": 1e-2 / (i + 1)} for i, q in enumerate(p)]),
    "RMSprop": lambda p: fanal.optim.RMSprop(p, lr=1e-3),
    "Adagrad": lambda p: fanal.optim.Adagrad(p, lr=1e-2),
}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.out = nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Linear(16, 4)

    def forward(self, x):
        return self.out(F.dropout(F.relu(self.norm(self.first(x))), 0.2, self.training))


def made(optimiser: str) -> tuple[nn.Module, Any, Any]:
    fanal.manual_seed(0)
    model = Net()
    optimizer = OPTIMISERS[optimiser](list(model.parameters()))

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return model, optimizer, step


def batch(seed: int, size: int = 8) -> tuple[fanal.Tensor, fanal.Tensor]:
    g = fanal.Generator().manual_seed(seed)
    return fanal.randn(size, 6, generator=g), fanal.randint(0, 4, (size,), generator=g)


DIMS = {"x": {0: BATCH}, "y": {0: BATCH}}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_goes_on_as_the_step_itself(optimiser: str, tmp_path: Path) -> None:
    model, _, step = made(optimiser)
    program = export(step, batch(0), dynamic_shapes=DIMS, signature="train")
    save(program, tmp_path / "step.fanal")
    loaded = load(tmp_path / "step.fanal")
    train = loaded.runner("train")
    fanal.manual_seed(7)
    loaded.state["random"].copy_(fanal.get_rng_state())
    for i in range(6):
        given = batch(i, 8 + i % 3)
        assert step(*given).item() == train(*given).item()
    for name, t in model.state_dict().items():
        assert (t == loaded.state[f"model.{name}"]).all(), name
    assert loaded.state["random"].tolist() == fanal.get_rng_state().tolist()


def test_the_rate_is_state(tmp_path: Path) -> None:
    _, optimizer, step = made("AdamW")
    save(export(step, batch(0), signature="train"), tmp_path / "step.fanal")
    train = load(tmp_path / "step.fanal")
    train.state["random"].copy_(fanal.get_rng_state())
    for rate in (0.5, 0.01):
        optimizer.param_groups[0]["lr"] = rate
        train.state["optimizer.lr"].fill_(rate)
        for i in range(3):
            assert step(*batch(i)).item() == train(*batch(i)).item()


def test_answers_and_learns_from_one_state(tmp_path: Path) -> None:
    model, _, step = made("momentum")
    model.eval()
    program = export(model, (batch(0)[0],), dynamic_shapes=({0: BATCH},), name="net")
    model.train()
    program.add("train", step, batch(0), dynamic_shapes=DIMS)
    save(program, tmp_path / "net.fanal")
    net = load(tmp_path / "net.fanal")
    assert list(net.signatures) == ["predict", "train"]
    assert "first.weight" in net.state and "optimizer.first.weight.momentum_buffer" in net.state
    x, y = batch(3)
    before = net.run({"x": x}, "predict")["output"]
    first = net.run({"x": x, "y": y}, "train")["output"].item()
    for _ in range(40):
        last = net.run({"x": x, "y": y}, "train")["output"].item()
    after = net.run({"x": x}, "predict")["output"]
    assert last < first and (before != after).any()
    assert (after.argmax(1) == y).all()


def test_training_does_not_change_the_original() -> None:
    """A program holds the tensors of what it was captured from; a loaded one has its own."""
    model, _, step = made("SGD")
    program = export(step, batch(0))
    weight = model.first.weight.clone()
    program(*batch(0))
    assert (model.first.weight != weight).any()


def test_steps_that_would_differ_are_refused() -> None:
    model, optimizer, _ = made("SGD")

    def adds_up(x, y):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    with pytest.raises(ExportError, match=r"gradients are added to those of the call before.*zero_grad"):
        export(adds_up, batch(0))
    schedule = fanal.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

    def schedules(x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()

    with pytest.raises(ExportError, match="a learning-rate schedule steps"):
        export(schedules, batch(0))
    dampened = fanal.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, dampening=0.5)

    def first(x, y):
        dampened.zero_grad()
        F.cross_entropy(model(x), y).backward()
        dampened.step()

    with pytest.raises(ExportError, match="the first step of an optimiser with momentum differs"):
        export(first, batch(0))
    first(*batch(0))
    export(first, batch(0))
