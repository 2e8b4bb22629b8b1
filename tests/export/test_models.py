"""Exported modules and functions give eager's bits, saved and loaded, at every size that their dims allow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.core import pytree
from fanal.export import Dim, ExportedProgram, export, load, save

BATCH, TIME = Dim("batch", max=64), Dim("time", min=2, max=128)
N = Dim("n", max=16)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(6, 8, 2, batch_first=True), nn.Linear(8, 5)

    def forward(self, x):
        y, (h, _) = self.lstm(x)
        return self.out(y[:, -1]), h


class Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, 16), nn.Embedding(128, 16)
        self.norm, self.heads, self.out = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, ids):
        b, t = ids.shape
        x = self.words(ids) + self.places(fanal.arange(t))
        q, k, v = self.heads(self.norm(x)).split(16, 2)
        q, k, v = (z.view(b, t, 4, 4).transpose(1, 2) for z in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, 16)
        return self.out(x + y) @ self.words.weight.t()  # tied


class Picture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 8, 3, stride=2, groups=8)
        self.up, self.out = nn.ConvTranspose2d(8, 4, 2, stride=2), nn.Linear(4, 7)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)))
        x = self.up(F.silu(self.depth(F.max_pool2d(x, 2))))
        return self.out(x.mean((2, 3))).log_softmax(-1)


def ids(b: int, t: int) -> tuple[Any]:
    return (fanal.randint(0, 50, (b, t)),)


def floats(*shape: int) -> fanal.Tensor:
    return fanal.randn(*shape)


SIZES = [(4, 10), (1, 10), (4, 33), (7, 2), (64, 3)]
ONES = [(4,), (1,), (9,), (16,)]
CASES: dict[str, tuple[Callable[[], Any], Callable[..., tuple[Any, ...]], Any, list[tuple[int, ...]]]] = {
    "lstm": (Recurrent, lambda b, t: (floats(b, t, 6),), {"x": {0: BATCH, 1: TIME}}, SIZES),
    "lstm of a fixed length": (Recurrent, lambda b: (floats(b, 10, 6),), {"x": {0: BATCH}}, ONES),
    "gru": (lambda: nn.GRU(6, 8), lambda t, b: (floats(t, b, 6),), ({0: BATCH, 1: TIME},), SIZES),
    "language model": (Language, ids, {"ids": (BATCH, TIME)}, SIZES),
    "encoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2),
        lambda b, t: (floats(b, t, 16),), ({0: BATCH, 1: TIME},), SIZES,
    ),
    "convolutions": (Picture, lambda b: (floats(b, 3, 14, 14),), {"x": {0: BATCH}}, ONES),
    "pictures of any size": (
        Picture, lambda h, w: (floats(2, 3, h, w),), ({2: Dim("h", min=8, max=40), 3: Dim("w", min=8, max=40)},),
        [(14, 14), (8, 40), (31, 9)],
    ),
    "sound": (
        lambda: nn.Sequential(nn.Conv1d(2, 8, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()),
        lambda b, t: (floats(b, 2, t),), ({0: BATCH, 2: Dim("t", min=8, max=200)},), [(4, 50), (1, 51), (2, 200)],
    ),
    "containers": (
        lambda: lambda d, scale: {"a": d["x"] * scale + 1, "b": [d["y"].sum(), 3, "text", None]},
        lambda b: ({"x": floats(b, 3), "y": floats(3, b)}, 2.5), ({"x": {0: N}, "y": {1: N}}, None), ONES,
    ),
    "sizes as numbers": (
        lambda: lambda x: (x.mean(0), x / x.shape[0], x.sum() * len(x), x.std(0)), lambda b: (floats(b, 3),),
        ({0: Dim("n", min=2, max=16)},), [(4,), (2,), (16,)],
    ),
    "sorting": (
        lambda: lambda x: (x.argmax(1), x.topk(2).values, x.softmax(-1), x.sort(0)[0], x.cumsum(0)),
        lambda b: (floats(b, 30),), ({0: N},), ONES,
    ),
    "two sizes": (
        lambda: lambda x, y: (fanal.cat([x, y]), x @ y.t()), lambda a, b: (floats(a, 3), floats(b, 3)),
        ({0: Dim("a", max=9)}, {0: Dim("b", max=9)}), [(4, 2), (2, 9), (9, 1), (1, 1), (3, 3)],
    ),
    "multiples": (
        lambda: lambda x: x.view(x.shape[0] // 2, 2, 3).sum(1), lambda a: (floats(2 * a, 3),),
        ({0: 2 * Dim("half", max=9)},), ONES[:3],
    ),
    "the same again": (
        lambda: lambda x: (x, x, x.t(), x[1:], x[:, 1]), lambda b: (floats(b, 3),),
        ({0: Dim("b", min=2, max=8)},), [(4,), (2,), (8,)],
    ),
    "while": (
        lambda: lambda x: fanal.while_loop(lambda i, v: v.sum() < 100, lambda i, v: (i + 1, v * v + 1), (fanal.tensor(0), x)),
        lambda b: (floats(b, 3),), ({0: N},), ONES,
    ),
    "cond": (
        lambda: lambda x: fanal.cond(x.sum() > 0, lambda x: x * 2, lambda x: x - 1, (x,)),
        lambda b: (floats(b, 3),), ({0: N},), ONES,
    ),
    "scan": (
        lambda: lambda x: fanal.scan(lambda c, v: (c + v, c * v), fanal.zeros(3), x),
        lambda b: (floats(b, 3),), ({0: N},), ONES,
    ),
    "indices": (
        lambda: lambda x, i: (x[i], x.index_select(1, i % 3)),
        lambda b: (floats(10, 3), fanal.randint(0, 10, (b,))), (None, {0: N}), ONES,
    ),
    "writes of its own": (lambda: _written, lambda b: (floats(b, 3),), ({0: N},), ONES),
    "16 bits": (
        lambda: lambda x: (x.to(fanal.bfloat16) * 3).softmax(-1), lambda b: (floats(b, 8),), ({0: N},), ONES,
    ),
}  # fmt: skip


def _written(x):
    y = x.clone()
    y[0] = 0
    y[:, 1] += 2
    return y.mul_(3).t()


def bits(t: fanal.Tensor) -> bytes:
    flat = t.detach().contiguous().reshape(-1)
    return flat.view(fanal.uint8).numpy().tobytes() if flat.dtype is not fanal.bool else flat.numpy().tobytes()


def agree(a: Any, b: Any) -> None:
    left, shape = pytree.flatten(a)
    right, other = pytree.flatten(b)
    assert str(shape) == str(other)
    for x, y in zip(left, right, strict=True):
        if isinstance(x, fanal.Tensor):
            assert x.dtype is y.dtype and x.shape == y.shape and bits(x) == bits(y)
        else:
            assert x == y


@pytest.mark.parametrize("name", CASES)
def test_bits_of_eager(name: str, tmp_path: Path) -> None:
    make, arguments, dims, sizes = CASES[name]
    fanal.manual_seed(0)
    function = make()
    if isinstance(function, nn.Module):
        function.eval()
    program = export(function, arguments(*sizes[0]), dynamic_shapes=dims)
    save(program, tmp_path / "program.fanal")
    loaded = load(tmp_path / "program.fanal")
    for size in sizes:
        given = arguments(*size)
        with fanal.no_grad():
            wanted = function(*given)
        agree(wanted, program(*given))
        agree(wanted, loaded(*given))


def test_nothing_changes_while_exporting() -> None:
    model = Picture()
    optimizer = fanal.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    before = {k: bits(v) for k, v in model.state_dict().items()}
    stream = fanal.get_rng_state().tolist()

    def step(x):
        optimizer.zero_grad()
        loss = F.dropout(model(x)).sum()
        loss.backward()
        optimizer.step()
        return loss

    export(step, (fanal.randn(2, 3, 14, 14, generator=fanal.Generator()),))
    assert {k: bits(v) for k, v in model.state_dict().items()} == before
    assert fanal.get_rng_state().tolist() == stream
    for p in model.parameters():
        assert p.grad is None


def test_names() -> None:
    program = export(
        Picture().eval(), (fanal.randn(2, 3, 14, 14),), dynamic_shapes={"x": {0: BATCH}}, output_names=["scores"],
        labels={"scores": [f"class {i}" for i in range(7)]}, name="pictures", card={"license": "Apache-2.0"},
    )  # fmt: skip
    s = program.signatures["predict"]
    assert (program.name, [t.name for t in s.inputs], [t.name for t in s.outputs]) == ("pictures", ["x"], ["scores"])
    assert s.outputs[0].labels[3] == "class 3" and program.card == {"license": "Apache-2.0"}
    assert program.dims == (("batch", 1, 64),)
    assert set(program.state) == {k for k in Picture().state_dict() if "num_batches" not in k}
    found = program.run({"x": fanal.randn(5, 3, 14, 14)})
    assert list(found) == ["scores"] and found["scores"].shape == (5, 7)


def test_arguments_by_name_and_keywords() -> None:
    def function(x, *, scale, flip=False):
        return (x.flip(0) if flip else x) * scale

    a, b = fanal.randn(3), fanal.randn(3)
    program = export(function, (a,), {"scale": b, "flip": True}, dynamic_shapes={"x": {0: N}, "scale": {0: N}})
    agree(program(a, scale=b, flip=True), function(a, scale=b, flip=True))
    agree(program(x=a, scale=b), function(a, scale=b, flip=True))
    assert [t.name for t in program.signatures["predict"].inputs] == ["x", "scale"]


def test_module_of_pytorchs_name() -> None:
    program = export(nn.Linear(3, 2), (fanal.randn(4, 3),))
    assert isinstance(program, ExportedProgram)
    assert program.module()(fanal.ones(4, 3)).shape == (4, 2)
    assert set(program.state_dict) == {"weight", "bias"}


def test_zero_rows() -> None:
    program = export(nn.Linear(3, 2), (fanal.randn(4, 3),), dynamic_shapes=({0: Dim("n", min=0, max=9)},))
    assert program(fanal.ones(0, 3)).shape == (0, 2)
    assert program(fanal.ones(1, 3)).shape == (1, 2)
    program = export(lambda x: x.softmax(1) @ x.t(), (fanal.randn(4, 3),), dynamic_shapes=({0: Dim("n", min=0, max=9)},))
    assert program(fanal.ones(0, 3)).shape == (0, 0)


def test_strided_arguments() -> None:
    program = export(lambda x: x * 2, (fanal.randn(4, 3),))
    x = fanal.randn(3, 4).t()
    agree(program(x), x * 2)
    row = fanal.randn(1, 3).expand(4, 3)
    agree(program(row), row * 2)
