"""Batches of sequences of unequal lengths: packed, padded, and back.

A packed sequence holds the first elements of all sequences (the longest first), then the second
ones, and so on; `batch_sizes` says how many there are at each step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

from fanal.core import dtypes
from fanal.core.errors import message
from fanal.ops.gathering import index_select
from fanal.ops.ordering import argsort
from fanal.ops.pointwise import where
from fanal.ops.running import cumsum
from fanal.ops.shape import cat, constant_pad, stack
from fanal.tensor.creation import arange, as_tensor, full
from fanal.tensor.creation import tensor as new_tensor
from fanal.tensor.tensor import Tensor

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence",
    "pad_packed_sequence", "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip


class _Packed(NamedTuple):
    data: Any
    batch_sizes: Any
    sorted_indices: Any
    unsorted_indices: Any


class PackedSequence(_Packed):
    """Sequences of unequal lengths as one tensor; made by `pack_sequence` and its relatives."""

    __slots__ = ()

    def __new__(
        cls, data: Any, batch_sizes: Any = None, sorted_indices: Any = None,
        unsorted_indices: Any = None,
    ) -> PackedSequence:  # fmt: skip
        if batch_sizes is None:
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same sequences in another dtype."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else type(self)(data, *self[1:])

    def float(self) -> PackedSequence:
        """As float32."""
        return self.to(dtypes.float32)

    def double(self) -> PackedSequence:
        """As float64."""
        return self.to(dtypes.float64)

    def half(self) -> PackedSequence:
        """As float16."""
        return self.to(dtypes.float16)

    def cpu(self) -> PackedSequence:
        """The sequences themselves."""
        return self

    @property
    def is_cuda(self) -> bool:
        """False."""
        return False


def invert_permutation(permutation: Any) -> Any:
    """The permutation that undoes another; None for None."""
    return None if permutation is None else argsort(permutation)


def _lengths(lengths: Any) -> list[int]:
    found = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    return [int(n) for n in found]


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A padded batch (T, B, …), or (B, T, …), and its lengths as a packed sequence.

    Without `enforce_sorted` the sequences may come in any order of lengths.
    """
    sizes = _lengths(lengths)
    x = input.transpose(0, 1) if batch_first else input
    if len(sizes) != x.shape[1]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} "
            f"(batch_size={x.shape[1]})"
        )
    if not sizes or min(sizes) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if enforce_sorted and any(a < b for a, b in itertools.pairwise(sizes)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. "
            "You can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    longest = max(sizes)
    if longest > x.shape[0]:
        raise RuntimeError(
            message("pack_padded_sequence", "a length is beyond the input", longest,
                    f"at most {x.shape[0]}")
        )
    extents = new_tensor(sizes, dtype=dtypes.int64)
    order = argsort(-extents, stable=True)
    there = extents[order] > arange(longest).unsqueeze(1)  # (longest, B): a step of a sequence
    steps, ranks = there.nonzero(as_tuple=True)
    data = x[steps, order[ranks]]
    return PackedSequence(data, there.sum(1), None if enforce_sorted else order)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """A packed sequence as a padded batch (T, B, …) and its lengths, in the original order."""
    sizes = sequence.batch_sizes.to(dtypes.int64)
    steps = sizes.shape[0]
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, "
                f"but got total_length={total_length} and max sequence length being {steps}"
            )
        sizes = constant_pad(sizes, (0, total_length - steps), 0)
    data = sequence.data
    ranks = arange(int(sizes[0].item()))
    there = sizes.unsqueeze(1) > ranks  # (steps, B): a step of a sequence
    # Row b of step t lies behind all earlier steps; the extra last row holds the padding.
    begins = (cumsum(sizes, 0) - sizes).unsqueeze(1)
    place, lengths = where(there, begins + ranks, data.shape[0]), there.sum(0)
    if sequence.unsorted_indices is not None:
        place = index_select(place, 1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices]
    last = full((1, *data.shape[1:]), padding_value, dtype=data.dtype)
    padded = cat([data, last], 0)[place.mT if batch_first else place]
    return padded, lengths


def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0,
    padding_side: str = "right",
) -> Any:  # fmt: skip
    """Sequences (L, …) of unequal lengths as one tensor (T, B, …), or (B, T, …)."""
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            message("pad_sequence", "unknown padding_side", padding_side, "'left' or 'right'")
        )
    parts = list(sequences)
    if not parts:
        raise RuntimeError(message("pad_sequence", "received an empty list of sequences"))
    longest = max(p.shape[0] for p in parts)
    wide = []
    for p in parts:
        more = longest - p.shape[0]
        ends = (0, more) if padding_side == "right" else (more, 0)
        wide.append(constant_pad(p, (0, 0) * (p.ndim - 1) + ends, padding_value))
    return stack(wide, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Any]:
    """A padded batch as a list of sequences of their own lengths."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [x[i, :n] for i, n in enumerate(_lengths(lengths))]


def pack_sequence(sequences: Any, enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (L, …) of unequal lengths as a packed sequence."""
    lengths = as_tensor([p.shape[0] for p in sequences])
    return pack_padded_sequence(
        pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted
    )


def unpack_sequence(packed_sequences: PackedSequence) -> list[Any]:
    """A packed sequence as a list of sequences."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
