"""Every primitive that ONNX can say, in every dtype, by ONNX Runtime, against its reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the package 'onnx' is not installed")
pytest.importorskip("onnxruntime", reason="the package 'onnxruntime' is not installed")

from fanal.core import dtypes
from fanal.core.dispatch import bind
from fanal.core.errors import Limit
from fanal.export.onnx.conversion import sayable
from fanal.ops.primitive import TABLE
from tests.export.onnx_models import results
from tests.ops.runner import trace
from tests.ops.samples import draw, dtypes_of, samples_of

TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 3e-5, "float64": 1e-9}
# Composed of what ONNX has not. (`det` has an operator of its own.)
REFUSED = {"cofactors", "pair_products", "slogdet", "pinv"}
SAID = [p for n, p in TABLE.items() if sayable()[n] in ("rule", "body") and n not in REFUSED]
UNSAID = [p for n, p in TABLE.items() if sayable()[n] not in ("rule", "body")]
# ONNX's reference, which runs what ONNX Runtime has no kernel for, is not right there.
WRONG_THERE = {
    ("conv_input_grad", "float64"): "fails for groups",
    **{(n, "float64"): "has erf to 1e-8 only" for n in ("erf", "gelu", "gelu_slope")},
}  # fmt: skip


@pytest.mark.parametrize("p", SAID, ids=lambda p: p.name)
def test_a_runtime_gives_what_the_reference_says(p, tmp_path):
    ran = 0
    for dtype in dtypes_of(p):
        if (p.name, dtype.name) in WRONG_THERE or (p.name == "scatter" and dtype.kind == "b"):
            continue
        for number, (kinds, attributes) in enumerate(samples_of(p)):
            arrays = draw(p, kinds, dtype, number)
            try:
                graph = trace(lambda *xs: bind(p, *xs, **attributes), arrays)
            except (TypeError, NotImplementedError, RuntimeError):
                continue  # not for this dtype
            check(p, arrays, attributes, results(graph, tmp_path, arrays))
            ran += 1
    assert ran


def check(p, arrays, attributes, got):
    wide = [a.astype(np.float64) if dtypes.from_numpy_dtype(a.dtype).kind == "f" else a for a in arrays]
    with np.errstate(all="ignore"):
        found = p.reference(*wide, **attributes)
    for have, want in zip(got, found if isinstance(found, tuple) else (found,), strict=True):
        assert have.shape == np.shape(want)
        dtype = dtypes.from_numpy_dtype(have.dtype)
        if dtype.kind != "f":
            np.testing.assert_array_equal(have, np.asarray(want).astype(have.dtype))
            continue
        exact, bound = np.asarray(want, np.float64), TOLERANCE[dtype.name]
        scale = np.abs(exact[np.isfinite(exact)]).max(initial=1.0)
        np.testing.assert_allclose(have.astype(np.float64), exact, rtol=bound, atol=bound * scale)


@pytest.mark.parametrize("p", UNSAID, ids=lambda p: p.name)
def test_what_cannot_be_said_is_an_error_that_names_it(p, tmp_path):
    if p.kind == "missing":
        pytest.skip("no program has it: it stands for a derivative that there is not")
    dtype = dtypes.float32
    kinds, attributes = samples_of(p)[0]
    arrays = draw(p, kinds, dtype, 0)
    graph = trace(lambda *xs: bind(p, *xs, **attributes), arrays)
    with pytest.raises(Limit, match=rf"^\[to_onnx\] '{p.name}' can't be said in ONNX"):
        results(graph, tmp_path, arrays)


def test_the_list_in_the_documentation_is_this_one():
    text = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()
    listed = text.split("<!-- refused -->")[1]
    for p in UNSAID:
        assert f"`{p.name}`" in listed, p.name
    for name in REFUSED:
        assert f"`{name}`" in listed, name
    assert listed.count("`") == 2 * (len(UNSAID) + len(REFUSED) + 1)
