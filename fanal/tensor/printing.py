"""Tensors as text, in PyTorch's format: four digits, columns aligned, long ones summarised."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fanal.core import dtypes

options = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}


def set_printoptions(
    precision: int | None = None, threshold: int | None = None, edgeitems: int | None = None,
    linewidth: int | None = None, profile: str | None = None, sci_mode: bool | None = None,
) -> None:  # fmt: skip
    """How tensors are printed; see `torch.set_printoptions`."""
    profiles = {
        "default": (4, 1000, 3, 80),
        "short": (2, 1000, 2, 80),
        "full": (4, 10**18, 3, 80),
    }
    if profile is not None:
        names = ("precision", "threshold", "edgeitems", "linewidth")
        options.update(zip(names, profiles[profile], strict=True))
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems}
    given["linewidth"] = linewidth
    options.update({k: v for k, v in given.items() if v is not None})
    options["sci_mode"] = sci_mode


class _Formatter:
    """The one format of all shown elements."""

    def __init__(self, values: Any, dtype: dtypes.DType):
        self.float, self.integral, self.scientific, self.width = dtype.kind == "f", True, False, 1
        self.bool = dtype.kind == "b"
        if not self.float:
            self.width = max((len(self._plain(v)) for v in values.flat), default=1)
            return
        finite = [abs(float(v)) for v in values.flat if math.isfinite(v) and v != 0]
        if not finite:
            self.width = max((len(self(v)) for v in values.flat), default=1)
            return
        low, high = min(finite), max(finite)
        self.integral = all(v == math.ceil(v) for v in finite)
        if self.integral:
            self.scientific = (high / low > 1000.0 and high > 1e8) or high > 1e8
        else:
            self.scientific = high / low > 1000.0 or high > 1e8 or low < 1e-4
        if options["sci_mode"] is not None:
            self.scientific = bool(options["sci_mode"])
        self.width = 0
        self.width = max(len(self(v)) for v in values.flat)

    def _plain(self, v: Any) -> str:
        return str(bool(v)) if self.bool else str(int(v))

    def __call__(self, v: Any) -> str:
        if not self.float:
            text = self._plain(v)
        elif not math.isfinite(v):
            text = "nan" if math.isnan(v) else "inf" if v > 0 else "-inf"
        elif self.scientific:
            text = f"{float(v):.{options['precision']}e}"
        elif self.integral:
            text = f"{float(v):.0f}."
        else:
            text = f"{float(v):.{options['precision']}f}"
        return text.rjust(self.width)


def _shown(array: Any, summarize: bool) -> Any:
    """The elements that appear (edges only, if summarised)."""
    edge = int(options["edgeitems"] or 3)
    if not summarize:
        return array
    for axis, n in enumerate(array.shape):
        if n > 2 * edge:
            keep = [*range(edge), *range(n - edge, n)]
            array = np.take(array, keep, axis)
    return array


def _rows(array: Any, indent: int, summarize: bool, form: _Formatter) -> str:
    edge = int(options["edgeitems"] or 3)
    n = array.shape[0]
    cut = summarize and n > 2 * edge
    if array.ndim == 1:
        items = [form(v) for v in (array[:edge] if cut else array)]
        if cut:
            items += [" ..."] + [form(v) for v in array[-edge:]]
        per_line = max(1, (int(options["linewidth"] or 80) - indent) // (form.width + 2))
        lines = [items[i : i + per_line] for i in range(0, len(items), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(", ".join(line) for line in lines) + "]"
    picks: list[Any] = list(range(n)) if not cut else [*range(edge), None, *range(n - edge, n)]
    parts = [
        "..." if i is None else _rows(array[i], indent + 1, summarize, form) for i in picks
    ]
    gap = "," + "\n" * (array.ndim - 1) + " " * (indent + 1)
    return "[" + gap.join(parts) + "]"


def text_of(t: Any) -> str:
    """`tensor([[1., 2.]])` and so on."""
    from fanal.tensor.interop import as_array

    array = as_array(t.detach())
    if t.dtype.name in ("float16", "bfloat16"):
        array = array.astype(np.float32)
    name = type(t).__name__
    prefix = "tensor(" if name == "Tensor" else "Parameter containing:\ntensor("
    indent = len("tensor(")
    suffixes = []
    if array.size == 0:
        body = "[]"
        if t.ndim != 1:
            suffixes.append(f"size={tuple(t.shape)}")
    else:
        summarize = array.size > int(options["threshold"] or 1000)
        form = _Formatter(_shown(array, summarize), t.dtype)
        body = form(array[()]).strip() if array.ndim == 0 else _rows(array, indent, summarize, form)
    natural = (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool_)
    if t.dtype not in natural or (array.size == 0 and t.dtype is not dtypes.get_default_dtype()):
        suffixes.append(f"dtype={t.dtype!r}")
    node = t._current_node()
    if node is not None:
        suffixes.append(f"grad_fn=<{_class_name(node.name)}Backward0>")
    elif t.requires_grad:
        suffixes.append("requires_grad=True")
    return prefix + ", ".join([body, *suffixes]) + ")"


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
