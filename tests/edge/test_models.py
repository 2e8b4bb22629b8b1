"""Libraries give eager mode's bits, at this processor's level, whatever the program is made of."""

from __future__ import annotations

import numpy as np
import pytest

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.export import export
from tests.edge.library import built, model_of, needs_host

pytestmark = needs_host


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.out = nn.Linear(8 * 4 * 4, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)))
        x = F.max_pool2d(self.deep(x) + x, 2)
        return F.log_softmax(self.out(x.flatten(1)), 1)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 12)
        self.lstm = nn.LSTM(12, 16, batch_first=True)
        self.out = nn.Linear(16, 20)

    def forward(self, x):
        y, (h, c) = self.lstm(self.words(x))
        return {"logits": self.out(y), "h": h, "c": c}


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.norm = nn.LayerNorm(16)

    def forward(self, x):
        return self.norm(self.layer(x))


def steps(x, n):
    """A loop that ends when it ends, with a branch in it."""
    def body(i, x):
        return i + 1, fanal.cond(i % 2 == 0, lambda v: v * 1.5 - 0.25, lambda v: v.tanh(), (x,))

    return fanal.while_loop(lambda i, x: i < n, body, (fanal.zeros_like(n), x))


def ordered(x, i):
    values, places = x.sort(dim=1)
    return values, places, x.gather(1, i), x.cumsum(1), x.argmax(1), (x > 0).any(1)


def integers(a, b):
    return a // b, a % b, (a.to(fanal.float32) / 3).to(fanal.float16), a & b


CASES = {
    "mlp": lambda: (nn.Sequential(nn.Linear(10, 33), nn.GELU(), nn.Linear(33, 7), nn.Softmax(1)), (fanal.randn(5, 10),)),
    "conv": lambda: (Convolutional(), (fanal.randn(2, 3, 8, 8),)),
    "lstm": lambda: (Recurrent(), (fanal.randint(0, 20, (3, 6)),)),
    "transformer": lambda: (Attending(), (fanal.randn(2, 9, 16),)),
    "loop": lambda: (steps, (fanal.randn(4, 5), fanal.tensor(5))),
    "order": lambda: (ordered, (fanal.randn(3, 40), fanal.randint(0, 40, (3, 4)))),
    "integers": lambda: (integers, (fanal.randint(-50, 50, (40,)), fanal.randint(1, 9, (40,)))),
}


@pytest.mark.parametrize("name", list(CASES))
def test_gives_eager_bits(name, tmp_path):
    fanal.manual_seed(1)
    function, inputs = CASES[name]()
    if isinstance(function, nn.Module):
        function.eval()
    program = export(function, inputs, name=name)
    signature = program.signatures["predict"]
    samples = {"predict": [dict(zip([t.name for t in signature.inputs], inputs, strict=True))]}
    built(program, tmp_path, samples=samples)
    model = model_of(tmp_path, name)
    with fanal.no_grad():
        wanted = program(*inputs)
        eager = function(*inputs)
    found = model.run("predict", {k: v.numpy() for k, v in samples["predict"][0].items()})
    by_name = program.run(samples["predict"][0])
    assert list(found) == list(by_name)
    for key, array in found.items():
        assert array.tobytes() == by_name[key].numpy().tobytes(), key
    leaves = fanal.core.pytree.flatten(eager)[0], fanal.core.pytree.flatten(wanted)[0]
    for a, b in zip(*leaves, strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()
    model.selftest()


def test_a_random_stream_is_state(tmp_path):
    fanal.manual_seed(3)
    program = export(lambda x: F.dropout(x, 0.5), (fanal.ones(64),), name="drops")
    built(program, tmp_path)
    model = model_of(tmp_path, "drops")
    draws = [model.run("predict", {"x": np.ones(64, np.float32)}) for _ in range(3)]
    wanted = [program(fanal.ones(64)).numpy() for _ in range(3)]
    for found, right in zip(draws, wanted, strict=True):
        np.testing.assert_array_equal(next(iter(found.values())), right)
    assert not np.array_equal(wanted[0], wanted[1])
