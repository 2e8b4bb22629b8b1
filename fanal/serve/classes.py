"""The classification extension: instead of numbers, the best positions of an output with their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def best(scores: np.ndarray, count: int, labels: Sequence[str], batched: bool) -> tuple[list[str], list[int]]:
    """`score:position` or `score:position:label` of the `count` highest scores of each row, the best first, and the
    shape of these texts. Of equal scores the first comes first; NaN comes last."""
    if not scores.size:
        return [], [scores.shape[0], 0] if batched else [0]
    rows = scores.reshape(scores.shape[0], -1) if batched else scores.reshape(1, -1)
    count = min(count, rows.shape[1])
    named = len(labels) == rows.shape[1]
    whole = rows.dtype.kind in "iu"
    texts = []
    for row in rows:
        # Of whole numbers ~x is the other order without overflow.
        order = np.argsort(np.invert(row) if whole else -row.astype(np.float64), kind="stable")[:count]
        for i in order.tolist():
            score = str(row[i]) if whole else f"{float(row[i]):f}"
            texts.append(f"{score}:{i}:{labels[i]}" if named else f"{score}:{i}")
    return texts, [rows.shape[0], count] if batched else [count]


def packed(texts: Sequence[str]) -> bytes:
    """Elements of datatype BYTES: each text after its length."""
    encoded = [t.encode() for t in texts]
    return b"".join(len(e).to_bytes(4, "little") + e for e in encoded)
