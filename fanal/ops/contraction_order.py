"""In which order to contract several operands: the cheapest by multiplications.

Up to eight operands all orders are compared (dynamic programming over subsets); more are paired
greedily. The extent of the output's first label, and of an ellipsis, counts as a fixed number: it is
the batch as a rule, and a row must not change its bits with the number of rows beside it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

NOMINAL = 64  # what an extent counts that the order must not depend on
ALL_ORDERS = 8  # operands for which all orders are compared

Labels = frozenset[Hashable]


def order_of(
    inputs: Sequence[Sequence[Any]], output: Sequence[Any], extents: Mapping[Any, int]
) -> list[tuple[int, int]]:
    """Pairs of positions to contract; the result of each goes to the end of the list."""
    count = len(inputs)
    if count <= 2:
        return [(0, 1)] * (count - 1)
    sizes = {
        label: NOMINAL if label in output[:1] or isinstance(label, int) else n
        for label, n in extents.items()
    }
    terms = [frozenset(labels) for labels in inputs]
    if count > ALL_ORDERS:
        return _greedy(terms, frozenset(output), sizes)
    tree = _best_tree(terms, frozenset(output), sizes)
    pairs: list[tuple[int, int]] = []
    _walk(tree, [1 << i for i in range(count)], pairs)
    return pairs


def _size(labels: Labels, sizes: Mapping[Hashable, int]) -> int:
    total = 1
    for label in labels:
        total *= max(sizes[label], 1)
    return total


def _best_tree(
    terms: list[Labels], output: Labels, sizes: Mapping[Hashable, int]
) -> dict[int, tuple[int, int]]:
    """For each set of operands (a bit mask) the two halves that it is best made of."""
    whole = (1 << len(terms)) - 1
    kept: dict[int, Labels] = {}
    for mask in range(1, whole + 1):
        inside = [t for i, t in enumerate(terms) if mask >> i & 1]
        outside = [t for i, t in enumerate(terms) if not mask >> i & 1]
        kept[mask] = frozenset().union(*inside) & output.union(*outside)
    cost = {1 << i: 0 for i in range(len(terms))}
    tree: dict[int, tuple[int, int]] = {}
    for mask in range(1, whole + 1):
        if mask in cost:
            continue
        best = None
        # Of equal orders the first wins: halves are tried from [all but the last, last] on.
        right = mask & -mask
        candidates = []
        part = (mask - 1) & mask
        while part:
            left = mask & ~part
            if left & right:  # each pair of halves once, the lowest operand on the left
                candidates.append((left, part))
            part = (part - 1) & mask
        for left, part in sorted(candidates, key=lambda c: (-c[0].bit_count(), c[1])):
            total = cost[left] + cost[part] + _size(kept[left] | kept[part], sizes)
            if best is None or total < best[0]:
                best = (total, left, part)
        assert best is not None
        cost[mask], tree[mask] = best[0], best[1:]
    return tree


def _walk(tree: dict[int, tuple[int, int]], live: list[int], pairs: list[tuple[int, int]]) -> None:
    """Turn the tree into pairs of positions, inner nodes first."""
    whole = sum(live)
    stack, done = [whole], []
    while stack:
        mask = stack.pop()
        if mask in tree:
            done.append(mask)
            stack += tree[mask]
    for mask in reversed(done):
        i, j = (live.index(half) for half in tree[mask])
        pairs.append((i, j))
        live[:] = [m for m in live if m not in tree[mask]] + [mask]


def _greedy(
    terms: list[Labels], output: Labels, sizes: Mapping[Hashable, int]
) -> list[tuple[int, int]]:
    """Always the pair whose product takes least room beyond what its operands took."""
    live = list(terms)
    pairs = []
    while len(live) > 1:
        best = None
        for i in range(len(live)):
            for j in range(i + 1, len(live)):
                rest = (t for k, t in enumerate(live) if k not in (i, j))
                result = (live[i] | live[j]) & output.union(*rest)
                growth = _size(result, sizes) - _size(live[i], sizes) - _size(live[j], sizes)
                if best is None or growth < best[0]:
                    best = (growth, i, j, result)
        assert best is not None
        _, i, j, result = best
        pairs.append((i, j))
        live = [t for k, t in enumerate(live) if k not in (i, j)] + [result]
    return pairs
