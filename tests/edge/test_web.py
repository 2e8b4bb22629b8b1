"""WebAssembly with its JavaScript module: Node gives native results, training steps learn the same."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import fanal
import fanal.edge
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.edge.wasm import frame_bytes, imports, memory_pages
from fanal.export import Dim, export

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs node")

# Calls [signature, inputs, dims] one after the other; of each the results with their shapes, or the error.
_DRIVE = """
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const { load } = await import(pathToFileURL(process.argv[1]));
const model = await load();
const found = [];
for (const [signature, inputs, dims] of JSON.parse(readFileSync(0))) {
  try {
    const results = signature === "selftest"
      ? (model.selftest(readFileSync(inputs)), {})
      : signature === "reset" ? (model.reset(), {})
      : signature === "state" ? model.tensors()
      : model.run(signature, inputs, dims);
    found.push(Object.fromEntries(Object.entries(results).map(([k, v]) => [k, { data: Array.from(v, Number), shape: v.shape }])));
  } catch (error) {
    found.push(error.message);
  }
}
process.stdout.write(JSON.stringify(found));
"""


class Digits(nn.Module):
    """A small convolutional network for images of 8×8 pixels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.out = nn.Linear(12 * 4 * 4, 10)

    def forward(self, x):
        return self.out(F.max_pool2d(F.relu(self.norm(self.conv(x))), 2).flatten(1))


@functools.cache
def images():
    """A program that answers, and one that learns."""
    fanal.manual_seed(0)
    model = Digits().eval()
    optimizer = fanal.optim.SGD(model.parameters(), lr=0.05)

    def predict(image):
        return F.softmax(model(image), -1)

    def train(image, label):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(image), label)
        loss.backward()
        optimizer.step()
        return loss

    image = fanal.rand(1, 1, 8, 8)
    program = export(
        predict, (image,), name="digits", output_names=["shares"], labels={"shares": [f"“{i}”" for i in range(10)]},
        card={"licence": "Apache-2.0", "description": "digits </script> & more"},
    )  # fmt: skip
    return program.add("train", train, (image, fanal.tensor([3])), output_names=["loss"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The library for WebAssembly."""
    path = tmp_path_factory.mktemp("web")
    fanal.edge.build(images(), path, "wasm32")
    return path


def drive(module: Path, calls: list) -> list:
    """What the module makes of some calls, in Node."""
    command = [NODE, "--input-type=module", "-e", _DRIVE, str(module)]
    done = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def array(result) -> np.ndarray:
    return np.array(result["data"]).reshape(result["shape"])


def test_the_module_imports_nothing_but_memory(folder):
    code = (folder / "digits.wasm").read_bytes()
    assert imports(code) == ["memory"] and memory_pages(code) >= 1
    text = (folder / "digits.mjs").read_text()
    assert "import(" in text and "node:fs/promises" in text  # in Node only, where files are read
    assert not [line for line in text.splitlines() if line.startswith("import ")]


@needs_node
def test_answers_are_native_ones(folder):
    program = images()
    r = np.random.default_rng(0)
    drawn = r.random((20, 1, 1, 8, 8), np.float32)
    found = drive(folder / "digits.mjs", [["predict", {"image": x.tolist()}, {}] for x in drawn])
    for x, result in zip(drawn, found, strict=True):
        want = program.run({"image": fanal.tensor(x)}, "predict")["shares"].numpy()
        np.testing.assert_allclose(array(result["shares"]), want, rtol=1e-5, atol=1e-6)


@needs_node
def test_training_goes_the_same_way(folder, tmp_path):
    """A hundred steps: the loss curve, and what the model knows then; forgetting; the self-test."""
    r = np.random.default_rng(1)
    kinds = r.random((10, 1, 1, 8, 8), np.float32)
    labels = [int(r.integers(10)) for _ in range(100)]
    steps = [(kinds[y] + r.random((1, 1, 8, 8), np.float32) / 8, y) for y in labels]
    calls = [["train", {"image": x.tolist(), "label": y}, {}] for x, y in steps]
    first = steps[0][0].tolist()
    calls += [["predict", {"image": first}, {}], ["state", None, None], ["reset", None, None]]
    calls += [["train", {"image": first, "label": [steps[0][1]]}, {}]]
    calls += [["selftest", str(folder / "golden.bin"), None]]
    *losses, knows, state, _, again, checked = drive(folder / "digits.mjs", calls)
    path = tmp_path / "digits.fanal"
    fanal.export.save(images(), path)
    program = fanal.export.load(path)  # a copy, which may learn
    want = [
        program.run({"image": fanal.tensor(x), "label": fanal.tensor([y])}, "train")["loss"].item() for x, y in steps
    ]
    np.testing.assert_allclose([x["loss"]["data"][0] for x in losses], want, rtol=1e-4, atol=1e-4)
    assert np.mean(want[-10:]) < np.mean(want[:10]) / 2
    answer = program.run({"image": fanal.tensor(steps[0][0])}, "predict")["shares"].numpy()
    np.testing.assert_allclose(array(knows["shares"]), answer, atol=1e-4)
    weight = next(name for name in state if name.endswith("out.weight"))
    np.testing.assert_allclose(state[weight]["data"], program.state[weight].detach().numpy().ravel(), atol=1e-4)
    assert again == losses[0] and checked == {}


@needs_node
def test_mistakes_are_told(folder):
    image = [0.0] * 64
    found = drive(
        folder / "digits.mjs",
        [
            ["guess", {}, {}], ["predict", {}, {}], ["predict", {"image": [1, 2]}, {}],
            ["train", {"image": image, "label": 10}, {}], ["predict", {"image": image}, {}],
        ],
    )  # fmt: skip
    assert found[:4] == [
        "[digits] no signature guess: expected one of predict, train.",
        "[digits.predict] no image: expected float32.",
        "[digits.predict] image has 2 elements; expected 64 (1 × 1 × 8 × 8).",
        "[digits] an index was out of range",
    ]
    assert isinstance(found[4], dict)  # and the model goes on


@needs_node
def test_all_dtypes_and_deep_stacks(tmp_path):
    """Numbers of every kind in and out; attention, whose kernels need more stack than a page."""

    def function(a, b, c, d, x):
        y = F.scaled_dot_product_attention(x, x, x)
        return a * 2, b.to(fanal.float32) + c.to(fanal.float32), ~d, b, y

    a, d = fanal.tensor([2**40, -3]), fanal.tensor([True, False])
    b = fanal.tensor([1.5, 2.0**-24, -65504.0]).to(fanal.float16)
    c = fanal.tensor([0.25, 3.0e38, -1.0]).to(fanal.bfloat16)
    x = fanal.randn(1, 2, 70, 64)
    program = export(function, (a, b, c, d, x), name="kinds", output_names=["a", "sum", "d", "b", "y"])
    fanal.edge.build(program, tmp_path, "wasm32")
    given = {k: v.to(fanal.float64 if v.is_floating_point() else v.dtype).tolist() for k, v in zip("abcdx", (a, b, c, d, x), strict=True)}
    (found,) = drive(tmp_path / "kinds.mjs", [["predict", given, {}]])
    want = function(a, b, c, d, x)
    for name, w in zip(("a", "sum", "d", "b", "y"), want, strict=True):
        exact = w.to(fanal.float64).numpy() if w.is_floating_point() else w.numpy()
        np.testing.assert_allclose(array(found[name]), exact, rtol=1e-5, atol=1e-6)


def test_declarations(folder):
    text = (folder / "digits.d.mts").read_text()
    assert 'run(signature: "train", inputs: TrainInputs, dims?: Dims): TrainOutputs;' in text
    assert "  image: Numbers;\n" in text and "  shares: Shaped<Float32Array>;\n" in text
    assert "positions are “0”, “1”" in text and '"' in text
    assert "predict(inputs: PredictInputs, dims?: Dims): PredictOutputs;" in text
    assert 'from "./digits.mjs"' in (folder / "digits.d.ts").read_text()


def test_frames_of_functions_are_found():
    from fanal.backends.native.jit import compile_ir
    from fanal.backends.native.target import WASM32

    ir = """
    define void @f(ptr %p) {
      %a = alloca [100000 x i8], align 64
      store ptr %a, ptr %p
      ret void
    }"""
    assert 100000 <= frame_bytes(compile_ir(ir, WASM32)) <= 100064


@needs_node
def test_open_sizes(tmp_path):
    """Sizes follow from shapes, or from numbers of elements; results know theirs; ranges are checked."""
    fanal.manual_seed(2)
    model = nn.Linear(6, 4).eval()

    def function(x, y):
        return model(x), y[:, 1:].sum(0), fanal.cat([x, x])

    rows, columns = Dim("rows", max=20_000), Dim("columns", min=2, max=9)
    program = export(
        function, (fanal.randn(3, 6), fanal.randn(5, 4)), name="sizes", output_names=["z", "sums", "twice"],
        dynamic_shapes=({0: rows}, {1: columns}),
    )  # fmt: skip
    fanal.edge.build(program, tmp_path, "wasm32")
    r = np.random.default_rng(3)
    x, y = r.random((7, 6), np.float32), r.random((5, 6), np.float32)
    flat = {"x": x.ravel().tolist(), "y": y.ravel().tolist()}
    shaped = {"x": {"data": flat["x"], "shape": [7, 6]}, "y": {"data": flat["y"], "shape": [5, 6]}}
    found = drive(
        tmp_path / "sizes.mjs",
        [
            ["predict", flat, {}], ["predict", shaped, {}], ["predict", flat, {"rows": 7}],
            ["predict", {**flat, "x": x[:2].tolist()}, {}],
            ["predict", {**flat, "x": [0.0] * 6 * 20_001}, {}], ["predict", {**flat, "x": [0.0] * 7}, {}],
            ["predict", {**flat, "x": [0.5] * 6 * 20_000}, {}], ["predict", flat, {}],  # memory grows
        ],
    )  # fmt: skip
    want = function(fanal.tensor(x), fanal.tensor(y))
    assert found[0] == found[1] == found[2]
    for name, w in zip(("z", "sums", "twice"), want, strict=True):
        assert found[0][name]["shape"] == list(w.shape)
        np.testing.assert_allclose(array(found[0][name]), w.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(found[3]["z"]), want[0][:2].detach().numpy(), rtol=1e-5, atol=1e-6)
    assert "rows, 1 to 20000" in found[4] and "a dimension is out of its range" in found[4]
    assert found[5].startswith("[sizes.predict] the size of rows is not known: got 1.1666")
    assert found[6]["twice"] == {"data": [0.5] * 240_000, "shape": [40_000, 6]} and found[7] == found[0]
    text = (tmp_path / "sizes.d.mts").read_text()
    assert "/** from 1 to 20000 */\n  rows?: number;" in text
