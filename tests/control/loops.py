"""The obvious twins of the control functions: loops and branches in Python."""

from __future__ import annotations

import fanal
from fanal.core import pytree


def scan(combine_fn, init, xs, *, dim=0, reverse=False, length=None):
    """`fanal.scan` as a loop."""
    leaves, structure = pytree.flatten(xs)
    leaves = [] if xs is None else leaves
    steps = length if length is not None else leaves[0].shape[dim]
    carry, ys = init, [None] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        x = None if xs is None else structure.unflatten([leaf.select(dim, t) for leaf in leaves])
        carry, ys[t] = combine_fn(carry, x)
    first, inside = pytree.flatten(ys[0])
    columns = [pytree.flatten(y)[0] for y in ys]
    stacked = [
        None if leaf is None else fanal.stack([c[i] for c in columns], 0)
        for i, leaf in enumerate(first)
    ]
    return carry, inside.unflatten(stacked)


def while_loop(cond_fn, body_fn, carried_inputs, *, max_steps=None):
    """`fanal.while_loop` as a loop."""
    carried, steps = carried_inputs, 0
    while steps != max_steps and bool(cond_fn(*carried)):
        carried = tuple(body_fn(*carried))
        steps += 1
    return carried


def cond(pred, true_fn, false_fn, operands=()):
    """`fanal.cond` as a branch."""
    return (true_fn if bool(pred) else false_fn)(*operands)


def same_bits(a, b):
    """Whether two structures hold tensors of the same bits."""
    left, first = pytree.flatten(a)
    right, second = pytree.flatten(b)
    assert first == second, (first, second)
    for x, y in zip(left, right, strict=True):
        if x is None or y is None:
            assert x is y
            continue
        assert x.dtype is y.dtype and x.shape == y.shape, (x, y)
        assert bool(((x == y) | ((x != x) & (y != y))).all()), (x, y)
    return True
