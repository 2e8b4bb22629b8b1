"""NAME.html: one file, without a network, on which an image model is tried with mouse, pen or finger.

It holds the module, the library and the weights. Shown is what the first signature answers that takes an image and
gives a row of numbers; where a signature learns from an image and a label, whoever draws can correct the answer.
"""

from __future__ import annotations

import base64
import html
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from fanal.core.symbols import is_symbolic
from fanal.edge.interface import Call, Field, Interface
from fanal.edge.web.module import script, template

# Images that can be drawn: pixels of a side.
_SMALLEST, _LARGEST = 4, 512
_FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True, slots=True)
class _Images:
    """What the page works with."""

    answer: Call
    image: Field
    result: Field
    teach: Call | None
    taught: tuple[str, str]  # names of its image and its label


def shows_images(library: Interface) -> bool:
    """Whether there is something to draw for."""
    return _found(library) is not None


def _found(library: Interface) -> _Images | None:
    for call in library.calls:
        if len(call.inputs) != 1 or call.signature.writes or not _is_image(call.inputs[0]):
            continue
        rows = [f for f in call.outputs if f.spec.dtype.name in _FLOATS and _classes(f) > 1]
        if rows:
            labelled = [f for f in rows if f.spec.labels] or rows
            image = call.inputs[0]
            teach, names = _teacher(library, image)
            return _Images(call, image, labelled[0], teach, names)
    return None


def _is_image(f: Field) -> bool:
    """One image with one or three channels: (…, channels, height, width)."""
    shape = [1 if is_symbolic(n) else n for n in f.spec.shape]
    sides = f.spec.shape[-2:]
    return (
        f.spec.dtype.name in _FLOATS and len(shape) >= 3 and math.prod(shape[:-3]) == 1
        and shape[-3] in (1, 3) and not any(map(is_symbolic, f.spec.shape[-3:]))
        and all(_SMALLEST <= n <= _LARGEST for n in sides)
    )  # fmt: skip


def _classes(f: Field) -> int:
    """How many numbers an answer of one image has; 0: it is none."""
    shape = f.spec.shape
    if not shape or is_symbolic(shape[-1]) or any(n != 1 and not is_symbolic(n) for n in shape[:-1]):
        return 0
    return int(shape[-1]) if shape[-1] <= 1000 else 0


def _teacher(library: Interface, image: Field) -> tuple[Call | None, tuple[str, str]]:
    """The signature that learns from such an image and one whole number."""
    for call in library.calls:
        if not call.signature.writes or len(call.inputs) != 2:
            continue
        images = [f for f in call.inputs if f.spec.dtype is image.spec.dtype and _is_image(f)]
        labels = [
            f for f in call.inputs
            if f.spec.dtype.kind in "iu" and all(n == 1 or is_symbolic(n) for n in f.spec.shape)
        ]  # fmt: skip
        if len(images) == len(labels) == 1 and images[0].spec.shape[-3:] == image.spec.shape[-3:]:
            return call, (images[0].spec.name, labels[0].spec.name)
    return None, ("", "")


def page(library: Interface, wasm: bytes, weights: bytes) -> str:
    """The text of NAME.html."""
    found = _found(library)
    assert found is not None
    card = {k: v for k, v in library.card.items() if isinstance(v, str | int | float)}
    channels, height, width = found.image.spec.shape[-3:]
    about = {
        "title": library.program.name, "card": card, "answer": found.answer.signature.name,
        "image": found.image.spec.name, "result": found.result.spec.name,
        "labels": list(found.result.spec.labels) or [str(i) for i in range(_classes(found.result))],
        "channels": channels, "height": height, "width": width,
        "teach": found.teach.signature.name if found.teach else None, "taught": list(found.taught),
        "dims": {c: max(1, r.min) for c, r in library.dims},
        "bytes": {"code": len(wasm), "weights": len(weights)},
    }  # fmt: skip
    texts = {
        "TITLE": html.escape(library.program.name),
        "STYLE": template("page.css"),
        "ABOUT": _data(about),
        "WASM": base64.b64encode(wasm).decode(),
        "WEIGHTS": base64.b64encode(weights).decode(),
        "RUNTIME": script(library, wasm),
        "PAGE": template("page.js"),
    }
    return re.sub(r"@([A-Z]+)@", lambda m: texts[m[1]], template("page.html"))


def _data(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
