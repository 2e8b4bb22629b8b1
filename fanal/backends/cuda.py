"""Switches of CUDA kernels, which are not used here, for programs that set them."""

from __future__ import annotations


class _Matmul:
    """Precision switches; products are always of the highest precision here."""

    allow_tf32 = False
    allow_fp16_reduced_precision_reduction = False
    allow_bf16_reduced_precision_reduction = False


matmul = _Matmul()


def is_built() -> bool:
    """Whether this program could use CUDA: no."""
    return False
