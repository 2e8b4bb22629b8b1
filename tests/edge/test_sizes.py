"""Open sizes: every size in the range gives eager mode's bits, in an arena of just so many bytes."""

from __future__ import annotations

import ctypes
import itertools
import json

import numpy as np
import pytest

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.core.errors import Limit
from fanal.edge.expressions import evaluated
from fanal.export import Dim, export
from tests.edge.library import HERE, aligned, built, model_of, needs_cc, needs_host, run_c

pytestmark = needs_host
BATCH = Dim("batch", max=40)


class Small(nn.Module):
    """Convolution, pooling, a wide layer: what a batch goes through."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.hidden = nn.Linear(8 * 3 * 3, 40)
        self.out = nn.Linear(40, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return F.softmax(self.out(F.gelu(self.hidden(x.flatten(1)))), 1)


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)

    def forward(self, x):
        y = self.layer(x)
        return y, y.mean(1)


def summed(x, y):
    """Means, a join and a length that follows from two others."""
    z = fanal.cat([x, y], 0)
    return z.mean(0), z.cumsum(0), z[1:] - z[:-1], z.sort(0)[0]


def compared(program, folder, sizes_of, **options):
    """Build, and compare at each of some sizes with what the program gives here."""
    made = built(program, folder, **options)
    model = model_of(folder, program.name)
    signature = program.signatures["predict"]
    for sizes in sizes_of:
        value = program.symbols.at(sizes)
        given = {t.name: fanal.randn(*map(value, t.shape)) for t in signature.inputs}
        wanted = program.run(given)
        found = model.run("predict", {k: v.numpy() for k, v in given.items()})
        for name, array in found.items():
            assert array.shape == tuple(wanted[name].shape), sizes
            assert array.tobytes() == wanted[name].numpy().tobytes(), (sizes, name)
    model.selftest()
    return made, model


def test_every_batch_size(tmp_path):
    fanal.manual_seed(1)
    program = export(Small().eval(), (fanal.randn(3, 2, 6, 6),), name="small", dynamic_shapes={"x": {0: BATCH}})
    made, model = compared(program, tmp_path, [(n,) for n in range(1, 41)])
    assert made.driver <= 4096
    assert made.arena["predict"] <= 1.05 * made.bound["predict"] + 4096 + made.tables
    record = json.loads((tmp_path / "small.json").read_text())
    assert record["dims"] == [{"name": "batch", "c": "batch", "min": 1, "max": 40}]
    assert record["signatures"][0]["inputs"][0]["shape"] == ["batch", 2, 6, 6]
    assert record["signatures"][0]["forms"][0] == [40]
    with pytest.raises(RuntimeError, match=r"a dimension is out of its range \(batch\)"):
        model.run("predict", {"x": np.zeros((41, 2, 6, 6), np.float32)})


def test_two_open_sizes(tmp_path):
    fanal.manual_seed(2)
    dims = ({0: Dim("batch", max=5), 1: Dim("length", max=40)},)
    program = export(Attending().eval(), (fanal.randn(2, 7, 16),), name="attending", dynamic_shapes=dims)
    some = [*itertools.product((1, 2, 5), (1, 2, 3, 16, 17, 33, 40)), (3, 3), (4, 12)]
    compared(program, tmp_path, some)


def test_sizes_that_follow_from_others(tmp_path):
    a, b = Dim("first", max=12), Dim("second", max=9)
    program = export(summed, (fanal.randn(4, 3), fanal.randn(5, 3)), name="summed", dynamic_shapes={"x": {0: a}, "y": {0: b}})
    compared(program, tmp_path, itertools.product(range(1, 13), range(1, 10)))
    header = (tmp_path / "summed.h").read_text()
    assert "int64_t first;" in header and "int64_t second;" in header
    assert "float[first + second][3]" in header or "float[second + first][3]" in header


def test_images_of_any_size(tmp_path):
    fanal.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, stride=2), nn.AdaptiveAvgPool2d(1))
    h, w = Dim("h", min=8, max=24), Dim("w", min=8, max=24)
    program = export(model.eval(), (fanal.randn(1, 3, 12, 15),), name="images", dynamic_shapes=({2: h, 3: w},))
    compared(program, tmp_path, [(8, 8), (24, 24), (9, 24), (24, 9), (13, 17), (16, 16)])


def test_a_recurrent_network_of_any_length(tmp_path):
    fanal.manual_seed(4)
    model = nn.GRU(6, 10, batch_first=True).eval()
    program = export(model, (fanal.randn(2, 5, 6),), name="recurrent", dynamic_shapes=({1: Dim("length", max=20)},))
    compared(program, tmp_path, [(n,) for n in range(1, 21)])


def test_a_training_step_of_any_batch(tmp_path):
    fanal.manual_seed(5)
    model = nn.Linear(6, 3)
    optimizer = fanal.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def train(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = fanal.randn(7, 6), fanal.randint(0, 3, (7,))
    dims = {"x": {0: BATCH}, "y": {0: BATCH}}
    program = export(train, (x, y), name="any", signature="train", dynamic_shapes=dims)
    program.add("predict", model, (x,), dynamic_shapes=({0: BATCH},))
    built(program, tmp_path)
    made = model_of(tmp_path, "any")
    for n in (1, 2, 7, 16, 33, 40):
        x, y = fanal.randn(n, 6), fanal.randint(0, 3, (n,))
        wanted = program.run({"x": x, "y": y}, "train")
        found = made.run("train", {"x": x.numpy(), "y": y.numpy()})
        assert [v.tobytes() for v in found.values()] == [v.numpy().tobytes() for v in wanted.values()]
    for name, array in made.tensors().items():
        assert array.tobytes() == program.state[name].detach().numpy().tobytes(), name


def test_what_is_asked_of_sizes(tmp_path):
    program = export(Small().eval(), (fanal.randn(3, 2, 6, 6),), name="asks", dynamic_shapes={"x": {0: BATCH}})
    built(program, tmp_path)
    library = ctypes.CDLL(str(tmp_path / "libasks.so"))
    library.asks_arena_bytes.restype = ctypes.c_size_t

    def dims(*sizes):
        return (ctypes.c_int64 * max(len(sizes), 1))(*sizes), ctypes.c_size_t(len(sizes))

    assert [library.asks_check(*dims(n)) for n in (0, 1, 40, 41, -1)] == [64, 0, 0, 64, 64]
    assert library.asks_check(*dims()) == 10
    assert library.asks_check(None, ctypes.c_size_t(1)) == 5
    assert library.asks_arena_bytes(*dims(0)) == 0
    bytes_ = [library.asks_arena_bytes(*dims(n)) for n in range(1, 41)]
    header = (tmp_path / "asks.h").read_text()
    assert f"#define ASKS_ARENA_MAX {max(bytes_)} " in header
    assert bytes_[0] < bytes_[-1] / 4
    # The library uses all of that, and no more.
    weights = aligned((tmp_path / "asks.weights").stat().st_size, (tmp_path / "asks.weights").read_bytes())
    x, y = np.ones((7, 2, 6, 6), np.float32), np.zeros((7, 5), np.float32)

    class In(ctypes.Structure):
        _fields_ = [("batch", ctypes.c_int64), ("x", ctypes.c_void_p)]

    how = (ctypes.c_int * 8)(HERE[-1])
    memory = np.full(bytes_[6] + 192, 0xA5, np.uint8)
    start = -memory.ctypes.data % 64
    for size, status in ((bytes_[6] - 1, 3), (bytes_[6], 0)):
        given, out = In(7, x.ctypes.data), ctypes.c_void_p(y.ctypes.data)
        found = library.asks_predict(
            ctypes.byref(given), ctypes.byref(out), ctypes.c_void_p(memory.ctypes.data + start), ctypes.c_size_t(size),
            ctypes.c_void_p(weights.ctypes.data), ctypes.byref(how),
        )  # fmt: skip
        assert found == status
    assert (memory[:start] == 0xA5).all() and (memory[start + bytes_[6] :] == 0xA5).all()
    given = In(41, x.ctypes.data)
    assert library.asks_predict(ctypes.byref(given), ctypes.byref(out), None, ctypes.c_size_t(0), None, None) != 0


@needs_cc
def test_from_c(tmp_path):
    program = export(lambda x: (x * 2).sum(0), (fanal.randn(3, 2),), name="any_c", dynamic_shapes={"x": {0: BATCH}})
    built(program, tmp_path, levels=["x86-64"])
    source = """
#include <stdio.h>
#include "any_c.h"
static _Alignas(64) char arena[ANY_C_ARENA_MAX];
int main(void) {
    int64_t sizes[ANY_C_DIMS] = {3};
    float x[] = {1, 2, 3, 4, 5, 6}, y[2];
    any_c_predict_in in = {3, x};
    any_c_predict_out out = {y};
    if (any_c_check(sizes, 1) != ANY_C_OK) return 1;
    sizes[0] = ANY_C_BATCH_MAX + 1;
    if (any_c_check(sizes, 1) != ANY_C_BAD_BATCH) return 2;
    if (any_c_predict(&in, &out, arena, sizeof arena, NULL, NULL) != ANY_C_OK) return 3;
    printf("%g %g", (double)y[0], (double)y[1]);
    return 0;
}
""".replace("_Alignas(64)", "__attribute__((aligned(64)))")
    assert run_c(tmp_path, source, "any_c", True) == "18 24"


def test_fixed_sizes(tmp_path):
    program = export(Small().eval(), (fanal.randn(3, 2, 6, 6),), name="fixed", dynamic_shapes={"x": {0: BATCH}})
    built(program, tmp_path, dims={"batch": 2})
    x = fanal.randn(2, 2, 6, 6)
    found = model_of(tmp_path, "fixed").run("predict", {"x": x.numpy()})["output"]
    assert found.tobytes() == program(x).numpy().tobytes()
    assert "#define FIXED_DIMS 0 " in (tmp_path / "fixed.h").read_text()
    with pytest.raises(ValueError, match="dimension 'batch' is out of its range: got 41; expected 1 to 40"):
        built(program, tmp_path, dims={"batch": 41})


def test_a_size_of_zero(tmp_path):
    dims = ({0: Dim("n", min=0, max=9)},)
    program = export(lambda x: (x.sum(0), x.cumsum(0), x.softmax(1), x.mean()), (fanal.randn(4, 3),), name="none", dynamic_shapes=dims)
    compared(program, tmp_path, [(n,) for n in range(10)])


def test_some_sizes_fixed_and_others_open(tmp_path):
    dims = ({0: Dim("batch", max=5), 1: Dim("length", max=9)},)
    program = export(lambda x: (x.cumsum(1), x.mean(1)), (fanal.randn(2, 7, 3),), name="some", dynamic_shapes=dims)
    built(program, tmp_path, dims={"batch": 2})
    model = model_of(tmp_path, "some")
    for n in range(1, 10):
        x = fanal.randn(2, n, 3)
        found = list(model.run("predict", {"x": x.numpy()}).values())
        assert [v.tobytes() for v in found] == [v.numpy().tobytes() for v in program(x)]


def test_a_dimension_needs_an_end(tmp_path):
    program = export(lambda x: x + 1, (fanal.randn(3),), name="endless", dynamic_shapes={"x": {0: Dim("n")}})
    with pytest.raises(ValueError, match=r"dimension 'n' has no end.*Try: Dim\('n', max=...\), or a fixed size"):
        built(program, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_code_is_carried_out_as_here():
    values = [7]
    words = [1, 3, 4 | 0 << 8 | 1 << 36, 15 | 2 << 8 | 0 << 36, 0]  # 3; 7 // 3; 2 < 7
    assert evaluated(words, values) and values == [7, 3, 2]
    assert not evaluated([14 | 0 << 8 | 0 << 36, 0], [7])
    assert not evaluated([1, 0, 4 | 0 << 8 | 1 << 36, 0], [7])


def test_too_many_forms_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fanal.edge.forms.MOST", 2)
    program = export(Small().eval(), (fanal.randn(3, 2, 6, 6),), name="many", dynamic_shapes={"x": {0: BATCH}})
    with pytest.raises(Limit, match="needs another program at too many sizes: got more than 2"):
        built(program, tmp_path)
