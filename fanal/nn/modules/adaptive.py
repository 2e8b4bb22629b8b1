"""Adaptive softmax: frequent classes in a short list, rare ones in clusters with small weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fanal.core import dtypes
from fanal.core.dtypes import DType
from fanal.nn import functional as F
from fanal.nn.module import Module
from fanal.nn.modules.container import ModuleList, Sequential
from fanal.nn.modules.linear import Linear
from fanal.ops.pointwise import where
from fanal.ops.scattering import index_add
from fanal.ops.searching import searchsorted
from fanal.ops.shape import cat
from fanal.tensor.creation import tensor


class _ASMoutput(NamedTuple):
    """Log-probabilities of the targets, and the loss: their negative mean."""

    output: Any
    loss: Any


class AdaptiveLogSoftmaxWithLoss(Module):
    """An approximate softmax for many classes, sorted by frequency. Grave et al., 2016.

    Shapes: input (N, in_features), target (N,) → output (N,) and the loss; or (in_features,), ().
    """

    def __init__(
        self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0,
        head_bias: bool = False, device: Any = None, dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        ends = list(cutoffs)
        if not ends:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        fits = sorted(set(ends)) == ends and min(ends) > 0 and max(ends) <= n_classes - 1
        if not fits or any(int(c) != c for c in ends):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                "order, where each value is between 1 and n_classes-1"
            )
        factory = {"device": device, "dtype": dtype}
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*ends, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, **factory)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // (div_value ** (i + 1)))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, bias=False, **factory),
                    Linear(hidden, size, bias=False, **factory),
                )
            )

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for first, second in self.tail:
            first.reset_parameters()
            second.reset_parameters()

    def forward(self, input_: Any, target_: Any) -> _ASMoutput:
        if target_.ndim not in (0, 1):
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if input_.ndim != target_.ndim + 1:
            raise RuntimeError(
                f"{target_.ndim}D target tensor expects {target_.ndim + 1}D input tensors, but "
                f"found inputs with size {input_.shape}"
            )
        batched = target_.ndim > 0
        if batched and input_.shape[0] != target_.shape[0]:
            raise RuntimeError(
                "Input and target should have the same size in the batch dimension."
            )
        input = input_ if batched else input_.unsqueeze(0)
        target = target_.reshape(-1).to(dtypes.int64)
        if target.numel():
            least, most = int(target.min().item()), int(target.max().item())
            if least < 0 or most >= self.n_classes:
                raise RuntimeError(
                    f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                    f"[{least}, {most}] were found. "
                )
        output = self._target_log_prob(input, target)
        loss = (-output).mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def _target_log_prob(self, input: Any, target: Any) -> Any:
        """log p of each row's target: the head's part, and for rare classes their cluster's."""
        cluster = searchsorted(tensor(self.cutoffs, dtype=dtypes.int64), target, right=True)
        head_index = where(cluster == 0, target, cluster + (self.shortlist_size - 1))
        head = F.log_softmax(self.head(input), dim=1)
        output = -F.nll_loss(head, head_index, reduction="none")
        for number, tail in enumerate(self.tail, 1):
            (rows,) = (cluster == number).nonzero(as_tuple=True)
            if rows.numel():
                log_p = F.log_softmax(tail(input[rows]), dim=1)
                inner = target[rows] - self.cutoffs[number - 1]
                output = index_add(output, 0, rows, -F.nll_loss(log_p, inner, reduction="none"))
        return output

    def log_prob(self, input: Any) -> Any:
        """log p of all classes: (N, in_features) → (N, n_classes)."""
        head = F.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            column = self.shortlist_size + i
            parts.append(F.log_softmax(tail(input), dim=1) + head[:, column : column + 1])
        return cat(parts, 1)

    def predict(self, input: Any) -> Any:
        """The most likely class of each row: (N, in_features) → (N,)."""
        return self.log_prob(input).argmax(dim=1)
