"""Kernels and whole graphs of other machines compute what this one does: under qemu-user, wasmtime, Node.

Everyday: models, and a few primitives. On demand (`-m slow`): every primitive × dtype on every machine.
What is not installed is skipped, with a reason.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.export import export
from fanal.graph.ir import Graph
from fanal.ops.passes import improved
from tests.native.elsewhere import ENGINES, Engine
from tests.ops import test_forward
from tests.ops.runner import native, reference, trace

CASES = [c for c in test_forward.CASES if c[0].kind not in ("host", "composed")]
# A few that need what some target lacks: divisions, conversions, rounding, half precision, 64-bit products.
FEW = {
    "add-bfloat16", "argmax-float32", "cast-float16", "cast-float32", "cast-int64", "conv-float32", "cumulative-int64",
    "dot-float64", "erf-float32", "exp-float64", "floor-float32", "floor_div-int32", "fmod-float64", "gather-float32",
    "power-int64", "pow-float32", "remainder-int64", "scatter-float32", "sort-int64", "trunc_div-uint64",
}  # fmt: skip


def present(engine: Engine):
    return pytest.param(
        engine, id=engine.name, marks=pytest.mark.skipif(engine.execute is None, reason=engine.missing)
    )


MACHINES = [present(e) for e in ENGINES]


def check_primitive(engine: Engine, primitive, dtype, monkeypatch) -> None:
    def compute(graph, arrays):
        return seen(engine.run(graph, arrays), graph.outputs)

    def expected(graph, arrays):
        return seen(reference(graph, seen(arrays, graph.inputs)), graph.outputs)

    seen = flushed if engine.flushes else lambda arrays, values: arrays
    monkeypatch.setattr(test_forward, "native", compute)
    monkeypatch.setattr(test_forward, "reference", expected)
    test_forward.test_primitive(primitive, dtype)


# The least normal numbers, where subnormal ones may be zero (those of float16 are none in float32).
TINY = {"float32": 2.0**-126, "bfloat16": 2.0**-126, "float64": 2.0**-1022}


def flushed(arrays, values) -> list[np.ndarray]:
    """Arrays of a graph's values, as a machine takes them for which subnormal numbers are zero."""
    found = []
    for x, value in zip(arrays, values, strict=True):
        small = np.abs(x.astype(np.float64)) < TINY.get(value.dtype.name, 0.0)
        found.append(np.where(small, np.zeros_like(x), x).astype(x.dtype) if small.any() else x)
    return found


def named(cases):
    return [pytest.param(p, d, id=f"{p.name}-{d.name}") for p, d in cases]


@pytest.mark.parametrize(
    ("primitive", "dtype"), named(c for c in CASES if f"{c[0].name}-{c[1].name}" in FEW)
)
@pytest.mark.parametrize("engine", [m for m, e in zip(MACHINES, ENGINES, strict=True) if e.name != "node"])
def test_some_primitives(engine, primitive, dtype, monkeypatch):
    check_primitive(engine, primitive, dtype, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(("primitive", "dtype"), named(CASES))
@pytest.mark.parametrize("engine", MACHINES)
def test_every_primitive(engine, primitive, dtype, monkeypatch):
    check_primitive(engine, primitive, dtype, monkeypatch)


@pytest.mark.parametrize("engine", MACHINES)
def test_places_in_vectors_change_no_bit(engine):
    """Subnormal numbers and NaNs: in whole vectors and in what is left over of them."""
    values = np.array([1e-40, -3e-39, 2e-38, np.nan, 1.0], np.float32)
    values.view(np.uint32)[3] |= 0x1234  # a NaN of its own
    x = np.repeat(values, 19)
    graph = trace(lambda x: (x + x, x * 0.5, x - 1e-40), [x])
    for y in engine.run(graph, [x]):
        bits = y.view(np.uint32).reshape(5, 19)
        np.testing.assert_array_equal(bits, np.repeat(bits[:, :1], 19, 1))


# -- whole graphs --------------------------------------------------------------------------------------


class Images(nn.Module):
    """Convolutions of three kinds, normalisation, pooling, a residual."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 24, 3, padding=1)
        self.norm = nn.BatchNorm2d(24)
        self.apart = nn.Conv2d(24, 24, 3, padding=1, groups=24)
        self.point = nn.Conv2d(24, 24, 1)
        self.out = nn.Linear(24 * 4 * 4, 10)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        x = x + F.relu(self.point(self.apart(x)))
        return F.softmax(self.out(F.max_pool2d(x, 2).flatten(1)), -1)


class Recurrent(nn.Module):
    """A cell in a scan, and a loop that ends when the data says so."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(6, 20)

    def forward(self, x):
        start = (fanal.zeros(3, 20), fanal.zeros(3, 20))

        def step(carry, x):
            h, c = self.cell(x, carry)
            return (h, c), h

        (h, _), all_of_it = fanal.scan(step, start, x)
        grown = fanal.while_loop(lambda v: v.abs().max() < 10, lambda v: (v * 1.5 + 0.1,), (h,))[0]
        return all_of_it, grown, fanal.cond(h.sum() > 0, lambda v: v.sin(), lambda v: v.exp(), (h,))


def ordering(x):
    values, places = x.sort(1)
    total = fanal.zeros(9, 5).scatter_add(0, (places % 9)[:, :5], values[:, :5])
    return values, places, total, x.cumsum(1), x.argmax(1), x[places[:, 0] % 12]


def training_step():
    fanal.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))
    optimizer = fanal.optim.AdamW(model.parameters(), lr=1e-2)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, (fanal.randn(6, 1, 6, 6), fanal.randint(0, 5, (6,)))


def models():
    fanal.manual_seed(0)
    block = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    return {
        "matmul": (nn.Sequential(nn.Linear(70, 90), nn.GELU(), nn.LayerNorm(90), nn.Linear(90, 33)), (fanal.randn(37, 70),)),
        "images": (Images().eval(), (fanal.randn(2, 3, 8, 8),)),
        "attention": (block, (fanal.randn(2, 19, 32),)),
        "recurrent": (Recurrent(), (fanal.randn(7, 3, 6),)),
        "ordering": (ordering, (fanal.randn(12, 40),)),
        "training": training_step(),
    }  # fmt: skip


MODELS = ["matmul", "images", "attention", "recurrent", "ordering", "training"]


@functools.cache
def graph_of(name: str) -> tuple[Graph, list[np.ndarray], list[np.ndarray]]:
    """A model's graph, what it is given, and what this machine makes of it."""
    function, args = models()[name]
    program = export(function, args)
    (signature,) = program.signatures.values()
    given = dict(zip((t.name for t in signature.inputs), args, strict=True))
    arrays = [(given if p.kind == "input" else program.state)[p.name].detach().numpy() for p in signature.takes]
    arrays = [np.ascontiguousarray(a) for a in arrays]
    graph = improved(signature.graph, (), False)[0]
    return graph, arrays, native(graph, arrays)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("engine", MACHINES)
def test_models(engine, name):
    graph, arrays, wanted = graph_of(name)
    for got, want in zip(engine.run(graph, arrays, whole=True), wanted, strict=True):
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(got, want)
            continue
        largest = float(np.abs(want).max(initial=0))
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6 * max(largest, 1e-3))
