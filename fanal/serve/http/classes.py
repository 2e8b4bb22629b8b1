"""The classification extension: instead of scores, the best classes as texts."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from fanal.serve.http.text import numbers


def best(scores: np.ndarray, count: int, labels: Sequence[str], batched: bool) -> tuple[list[str], list[int]]:
    """`score:index` or `score:index:label` of the `count` highest scores of each row, the best first, and the
    shape of these texts. Of equal scores the lower index comes first; NaN comes last."""
    rows = scores.reshape(scores.shape[0], -1) if batched else scores.reshape(1, -1)
    count = min(count, rows.shape[1])
    named = len(labels) == rows.shape[1]
    texts: list[str] = []
    for row in rows:
        order = np.argsort(-row.astype(np.float64), kind="stable")[:count]
        for i in order.tolist():
            texts.append(f"{_number(row[i])}:{i}:{labels[i]}" if named else f"{_number(row[i])}:{i}")
    return texts, [rows.shape[0], count] if batched else [count]


def _number(x: np.generic) -> str:
    return numbers(np.asarray(x)).decode()


def packed(texts: Sequence[str]) -> bytes:
    """BYTES as binary data: each text after its length."""
    encoded = [t.encode() for t in texts]
    return b"".join(struct.pack("<I", len(t)) + t for t in encoded)
