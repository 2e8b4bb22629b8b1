"""einsum: sums of products named by letters, contracted pair by pair.

Each operand is first brought to distinct labels (repeated ones are a diagonal, those that nobody
else has are summed); then pairs are contracted in the order that `order_of` finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanal.core import dtypes
from fanal.core.dispatch import bind, fused
from fanal.core.errors import message
from fanal.graph.ir import Value
from fanal.ops.contraction_order import order_of
from fanal.ops.dot import dot_p
from fanal.ops.einsum_equation import Equation, Label, parse, parse_sublists
from fanal.ops.layout import expand_to, slice_dim
from fanal.ops.pointwise import mul
from fanal.ops.promotion import cast
from fanal.ops.reduce import reduce_sum_p
from fanal.ops.shape import permuted, reshaped

Labels = tuple[Label, ...]


def einsum(*args: Any) -> Any:
    """Sum of products of operands named by an equation, as `torch.einsum`.

    `einsum("bij,bjk->bik", x, y)`; an ellipsis stands for any number of broadcast dimensions; a
    label repeated within an operand takes a diagonal; without `->` the output has the labels that
    appear once, in alphabetical order. Or sublists: `einsum(x, [0, 1], y, [1, 2], [0, 2])`.
    Extents of 1 are repeated. Several operands are contracted two at a time in a cheap order.

    >>> fanal.einsum("ij,jk->ik", fanal.ones(2, 3), fanal.ones(3, 4)).shape
    fanal.Size([2, 4])

    Raises RuntimeError for an equation that does not fit its operands.
    """
    if not args:
        raise ValueError(message("einsum", "no equation", hint='einsum("ij,jk->ik", x, y)'))
    if isinstance(args[0], str):
        equation, operands = args[0], list(args[1:])
        if len(operands) == 1 and isinstance(operands[0], list | tuple):
            operands = list(operands[0])
    else:
        equation, operands = parse_sublists(args)
    if not operands:
        raise ValueError(message("einsum", "no operands", hint="at least one tensor"))
    return _einsum(equation, operands)


@fused
def _einsum(equation: str, operands: Sequence[Any]) -> Any:
    for x in operands[1:]:
        if x.dtype is not operands[0].dtype:
            raise RuntimeError(
                message(
                    "einsum", "operands have different dtypes",
                    f"{operands[0].dtype!r} and {x.dtype!r}", "one dtype",
                    "casting one with .to(...)",
                )
            )
    meaning = parse(equation, [x.ndim for x in operands])
    terms = []
    for x, labels in zip(operands, meaning.inputs, strict=True):
        terms.append(_without_repeats(x, labels))
    extents = _extents(equation, operands, meaning)
    terms = [_without_ones(x, labels, extents) for x, labels in terms]
    return _contracted(terms, meaning.output, extents)


def _extents(equation: str, operands: Sequence[Value], meaning: Equation) -> dict[Label, int]:
    """The extent of each label; an extent of 1 gives way to another."""
    found: dict[Label, int] = {}
    for number, (x, labels) in enumerate(zip(operands, meaning.inputs, strict=True)):
        for label, n in zip(labels, x.shape, strict=True):
            known = found.setdefault(label, n)
            if known == 1:
                found[label] = n
            elif n not in (1, known):
                name = label if isinstance(label, str) else "..."
                raise RuntimeError(
                    message(
                        "einsum", f"operands do not broadcast: label {name!r} has extent {n} in "
                        f"operand {number} and {known} before",
                        f"{equation!r} with " + ", ".join(str(tuple(v.shape)) for v in operands),
                    )
                )
    return found


def _without_repeats(x: Value, labels: Labels) -> tuple[Value, Labels]:
    """Diagonals of repeated labels."""
    for label in labels:
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x, labels = _diagonal(x, first, second), labels[:second] + labels[second + 1 :]
    return x, labels


def _diagonal(x: Value, first: int, second: int) -> Value:
    """Elements of equal index in two dimensions, in the place of the first."""
    n, m = x.shape[first], x.shape[second]
    if n != m:
        raise RuntimeError(
            message(
                "einsum", "a repeated label has different extents", f"{n} and {m}", "equal extents"
            )
        )
    rest = [d for d in range(x.ndim) if d not in (first, second)]
    x = permuted(x, [*rest, first, second])
    flat = reshaped(x, (*x.shape[:-2], n * n))
    taken = slice_dim(flat, len(rest), 0, n * n, n + 1) if n else flat
    order = list(range(len(rest)))
    order.insert(first, len(rest))
    return permuted(taken, order)


def _without_ones(x: Value, labels: Labels, extents: dict[Label, int]) -> tuple[Value, Labels]:
    """Dimensions of extent 1 that others broadcast are dropped (a factor that is the same for all)."""
    kept = [d for d, label in enumerate(labels) if x.shape[d] == extents[label]]
    if len(kept) < len(labels):
        x = reshaped(x, [x.shape[d] for d in kept])
    return x, tuple(labels[d] for d in kept)


def _contracted(
    terms: list[tuple[Value, Labels]], output: Labels, extents: dict[Label, int]
) -> Value:
    summed = [_summed(i, terms, output) for i in range(len(terms))]
    if any(a.ndim != b.ndim for (a, _), (b, _) in zip(summed, terms, strict=True)):
        # Sums of integers are int64.
        terms = [(x if x.dtype.kind == "f" else cast(x, dtypes.int64), l) for x, l in terms]
        summed = [_summed(i, terms, output) for i in range(len(terms))]
    terms = summed
    for i, j in order_of([labels for _, labels in terms], output, extents):
        (x, x_labels), (y, y_labels) = terms[i], terms[j]
        rest = [t for k, t in enumerate(terms) if k not in (i, j)]
        needed = set(output).union(*(labels for _, labels in rest))
        terms = [*rest, _pair(x, x_labels, y, y_labels, needed)]
    x, labels = terms[0]
    # No label of the output is missing: its extent comes from some operand. Only the order differs.
    return permuted(x, [labels.index(label) for label in output])


def _summed(i: int, terms: list[tuple[Value, Labels]], output: Labels) -> tuple[Value, Labels]:
    """An operand without the labels that only it has."""
    x, labels = terms[i]
    others = set(output).union(*(t[1] for k, t in enumerate(terms) if k != i))
    gone = tuple(d for d, label in enumerate(labels) if label not in others)
    if gone:
        x = bind(reduce_sum_p, x, dims=gone)
    return x, tuple(label for label in labels if label in others)


def _pair(
    x: Value, x_labels: Labels, y: Value, y_labels: Labels, needed: set[Label]
) -> tuple[Value, Labels]:
    """Product of two operands, summed over what they share and nobody else needs."""
    shared = [label for label in x_labels if label in y_labels]
    batch = [label for label in shared if label in needed]
    over = [label for label in shared if label not in needed]
    free_x = [label for label in x_labels if label not in shared]
    free_y = [label for label in y_labels if label not in shared]
    labels = (*batch, *free_x, *free_y)
    if not over:
        return _outer(x, x_labels, y, y_labels, labels), labels
    out = bind(
        dot_p, x, y,
        contract=(_places(x_labels, over), _places(y_labels, over)),
        batch=(_places(x_labels, batch), _places(y_labels, batch)),
    )  # fmt: skip
    return out, labels


def _places(labels: Labels, wanted: Sequence[Label]) -> tuple[int, ...]:
    return tuple(labels.index(label) for label in wanted)


def _outer(x: Value, x_labels: Labels, y: Value, y_labels: Labels, labels: Labels) -> Value:
    """The product elementwise, broadcast over the labels that one of them lacks."""

    def aligned(v: Value, own: Labels) -> Value:
        v = permuted(v, [own.index(label) for label in labels if label in own])
        left = iter(v.shape)
        return reshaped(v, [next(left) if label in own else 1 for label in labels])

    a, b = aligned(x, x_labels), aligned(y, y_labels)
    shape = tuple(max(n, m) if 0 not in (n, m) else 0 for n, m in zip(a.shape, b.shape, strict=True))
    return mul(expand_to(a, shape), expand_to(b, shape))


def multiplied_in_order(matrices: Sequence[Value]) -> Value:
    """A chain of matrix products in a cheap order; the first and last may be vectors."""
    labels: list[Labels] = []
    for i, m in enumerate(matrices):
        labels.append((f"{i}",) if m.ndim == 1 and i else (f"{i}", f"{i + 1}"))
    if matrices[0].ndim == 1:
        labels[0] = ("1",)
    extents = {
        label: n for m, own in zip(matrices, labels, strict=True)
        for label, n in zip(own, m.shape, strict=True)
    }  # fmt: skip
    last = len(matrices)
    output = ("0",) * (matrices[0].ndim == 2) + (f"{last}",) * (matrices[-1].ndim == 2)
    return _contracted(list(zip(matrices, labels, strict=True)), output, extents)
