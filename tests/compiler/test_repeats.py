"""Layers of one form are emitted once: the same programs as if each were, and little more work."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

import fanal
from fanal import nn
from fanal.backends.native import executable
from fanal.backends.native.listing import Listings
from fanal.backends.native.lower import repeats
from fanal.backends.native.outline import Outline
from fanal.core.cache import BoundedCache


def _step(layers: int, width: int = 24) -> tuple[Any, Any]:
    fanal.manual_seed(0)
    layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
    model = nn.Sequential(nn.Conv1d(3, width, 3), nn.ReLU(), nn.TransformerEncoder(layer, layers))
    optimizer = fanal.optim.AdamW(model.parameters(), lr=1e-3)

    @fanal.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        for part in (model[0], model[1]):
            x = part(x)
        loss = model[2](x.transpose(1, 2)).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return step, model


def _listings(monkeypatch: pytest.MonkeyPatch, layers: int) -> tuple[bytes, int]:
    """The program of a step as text, and how many entries were emitted for it."""
    found: list[Listings] = []
    emitted = [0]
    writing, emitting = Outline.written, repeats._emitted

    def written(outline: Outline) -> Any:
        made = writing(outline)
        found.append(made.listings)
        return made

    def counted(*args: Any) -> Any:
        emitted[0] += 1
        return emitting(*args)

    monkeypatch.setattr(Outline, "written", written)
    monkeypatch.setattr(repeats, "_emitted", counted)
    monkeypatch.setattr(executable.saved, "recalled", lambda name: None)
    step, _ = _step(layers)
    step(fanal.randn(2, 3, 18))
    largest = max(found, key=lambda x: len(x.main.entries))
    monkeypatch.undo()
    return largest.text(), emitted[0]


def test_programs_are_the_same_as_if_every_entry_were_emitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "_known", BoundedCache(4096))
    shared, _ = _listings(monkeypatch, 3)
    monkeypatch.setattr(repeats, "_repeat", None)
    monkeypatch.setattr(repeats, "emit", lambda entry, form, p, real: entry.emit(p, real))
    apart, _ = _listings(monkeypatch, 3)
    assert shared == apart


def test_more_layers_are_hardly_more_work(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for layers in (3, 9):
        monkeypatch.setattr(repeats, "_known", BoundedCache(4096))
        counts.append(_listings(monkeypatch, layers)[1])
    assert 0 < counts[1] <= 1.15 * counts[0]


def test_a_replay_keeps_no_gradients_of_earlier_calls() -> None:
    step, model = _step(1)
    x = fanal.randn(2, 3, 18)
    seen = []
    for _ in range(5):
        step(x)
        seen.append(weakref.ref(model[0].weight.grad))
    assert [r() is not None for r in seen] == [False] * 4 + [True]
