"""One step of a recurrent layer, as a layer."""

from __future__ import annotations

import math
from typing import Any

from fanal.core.dtypes import DType
from fanal.nn import functional as F
from fanal.nn import init
from fanal.nn.functional.recurrent import gru_step, lstm_step, rnn_relu_step, rnn_tanh_step
from fanal.nn.module import Module
from fanal.nn.parameter import Parameter
from fanal.tensor.creation import empty, zeros
from fanal.tensor.tensor import Tensor


class RNNCellBase(Module):
    """The weights of a cell: weight_ih (gates, in), weight_hh (gates, hidden), two biases."""

    nonlinearity: str

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None,
        dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = num_chunks * hidden_size
        factory = {"device": device, "dtype": dtype}
        self.weight_ih = Parameter(empty(gates, input_size, **factory))
        self.weight_hh = Parameter(empty(gates, hidden_size, **factory))
        for name in ("bias_ih", "bias_hh"):
            made = Parameter(empty(gates, **factory)) if bias else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew, uniform in ±1/√hidden_size."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        s = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            s += f", bias={self.bias}"
        if self.__dict__.get("nonlinearity", "tanh") != "tanh":
            s += f", nonlinearity={self.nonlinearity}"
        return s

    def _rows(self, input: Any, hx: tuple[Any, ...] | None, states: int) -> tuple[Any, ...]:
        """The gates' input part and the states, with a batch dimension; whether there was one."""
        name = type(self).__name__
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        if hx is not None and any(h.ndim not in (1, 2) for h in hx):
            raise ValueError(f"{name}: Expected hidden to be 1D or 2D, got {hx[0].ndim}D instead")
        batched = input.ndim == 2
        x = input if batched else input.unsqueeze(0)
        if x.shape[1] != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {x.shape[1]} expected {self.input_size}"
            )
        if hx is None:
            h = zeros(x.shape[0], self.hidden_size, dtype=x.dtype)
            state = (h,) * states
        else:
            state = tuple(v if batched else v.unsqueeze(0) for v in hx)
        for v in state:
            if tuple(v.shape) != (x.shape[0], self.hidden_size):
                raise RuntimeError(
                    f"hidden has inconsistent size: got {tuple(v.shape)}, expected "
                    f"{(x.shape[0], self.hidden_size)}"
                )
        return F.linear(x, self.weight_ih, self.bias_ih), state, batched


class RNNCell(RNNCellBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh) (or relu); input (N, I) or (I,), hx (N, H)."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
        device: Any = None, dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        step = rnn_tanh_step if self.nonlinearity == "tanh" else rnn_relu_step
        gates, state, batched = self._rows(input, None if hx is None else (hx,), 1)
        h = step(gates, *state, self.weight_hh, self.bias_hh)
        return h if batched else h.squeeze(0)


class GRUCell(RNNCellBase):
    """One step of gated recurrent units."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
        dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        gates, state, batched = self._rows(input, None if hx is None else (hx,), 1)
        h = gru_step(gates, *state, self.weight_hh, self.bias_hh)
        return h if batched else h.squeeze(0)


class LSTMCell(RNNCellBase):
    """One step of long short-term memory; the state is (h, c)."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None,
        dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        gates, state, batched = self._rows(input, None if hx is None else tuple(hx), 2)
        h, c = lstm_step(gates, *state, self.weight_hh, self.bias_hh, None)
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))
