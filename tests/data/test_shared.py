"""Batches in shared memory: what passes, and when memory is used again."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np

import fanal
from fanal.data.shared import Inbox, Outbox, dump
from fanal.nn.parameter import Parameter


def through(outbox: Outbox, inbox: Inbox, thing: Any) -> Any:
    batch, descriptor = outbox.put(thing)
    if descriptor is not None:
        inbox.add(batch, descriptor)
    return inbox.open(batch)


def test_what_passes_through_shared_memory() -> None:
    outbox, inbox = Outbox(), Inbox()
    x = fanal.arange(60000).reshape(2, 300, 100)
    things = {
        "plain": x, "turned": x.permute(2, 0, 1), "part": x[:, 5:9, ::2], "empty": fanal.ones(0, 3),
        "zero_d": fanal.tensor(2.5), "bf16": x.to(fanal.bfloat16), "bool": x > 7,
        "leaf": fanal.ones(3, requires_grad=True), "array": np.arange(9.0), "text": "t" * 9000,
        "nested": [(x[0], {"k": np.float32(1)})], "param": Parameter(fanal.ones(2)),
    }  # fmt: skip
    found = through(outbox, inbox, things)
    assert found.keys() == things.keys() and found["text"] == things["text"]
    for name, t in things.items():
        if isinstance(t, fanal.Tensor):
            f = found[name]
            assert type(f) is type(t) and f.dtype is t.dtype and f.shape == t.shape, name
            assert f.tolist() == t.tolist() and f.requires_grad == t.requires_grad, name
    assert found["turned"].stride() == things["turned"].stride()
    assert found["array"].flags.writeable and found["nested"][0][0].tolist() == x[0].tolist()
    small = through(outbox, inbox, [fanal.ones(3), np.zeros(2)])
    small[0] += 1
    assert small[0].tolist() == [2, 2, 2] and len(inbox.segments) == 1


def test_segments_are_reused_when_nobody_looks_any_more() -> None:
    outbox, inbox = Outbox(), Inbox()
    big = fanal.ones(100_000)
    first = through(outbox, inbox, big)
    second = through(outbox, inbox, big * 2)
    assert len(inbox.segments) == 2 and not inbox.take_released()
    view = second[5:6]
    del first, second
    gc.collect()
    assert inbox.released == [0] and view.item() == 2  # a view keeps its segment
    outbox.give_back(inbox.take_released(), 4)
    outbox.begin()
    kind = fanal.ones(50_000)._layout
    collated = outbox.allocate(kind)
    collated.fill_(7)
    address = outbox.filling.address
    third = through(outbox, inbox, collated)
    assert len(inbox.segments) == 2 and third.sum().item() == 350_000
    assert collated.data_ptr() == address  # made in place, not copied
    del third
    outbox.give_back(inbox.take_released(), 4)
    outbox.begin()
    assert outbox.filling is None  # the worker itself still holds the batch
    del collated
    outbox.begin()
    assert outbox.filling is not None
    assert outbox.give_back([1], 0) and not dump(1)[1]
