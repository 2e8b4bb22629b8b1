"""Recurrent layers over whole sequences: RNN, LSTM, GRU."""

from __future__ import annotations

import math
import warnings
from typing import Any

from fanal.core.dtypes import DType
from fanal.nn import functional as F
from fanal.nn import init
from fanal.nn.functional.recurrent import Even, run_direction
from fanal.nn.module import Module
from fanal.nn.parameter import Parameter
from fanal.nn.utils.rnn import PackedSequence
from fanal.ops.shape import cat, stack, unbind
from fanal.tensor.creation import empty, zeros

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """Weights and bookkeeping of recurrent layers.

    For layer k and direction: weight_ih_lk (gates, in), weight_hh_lk (gates, hidden), bias_ih_lk,
    bias_hh_lk (gates,), with a projection weight_hr_lk (proj, hidden); those of the backward
    direction end in `_reverse`. They begin uniform in ±1/√hidden_size.
    """

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1,
        bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, proj_size: int = 0, device: Any = None,
        dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        _check(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        if mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights: list[list[str]] = []
        gates = _GATES[mode] * hidden_size
        out = proj_size or hidden_size
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                inner = input_size if layer == 0 else out * (1 + bidirectional)
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (gates, inner), "weight_hh": (gates, out),
                }  # fmt: skip
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = []
                for kind, shape in shapes.items():
                    names.append(f"{kind}_l{layer}{suffix}")
                    setattr(self, names[-1], Parameter(empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(names)
        self._flat_weights_names = [n for names in self._all_weights for n in names]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing to do: it matters on other devices of PyTorch's."""

    @property
    def _flat_weights(self) -> list[Any]:
        return [getattr(self, n, None) for n in self._flat_weights_names]

    @property
    def all_weights(self) -> list[list[Any]]:
        """The weights of each layer and direction."""
        return [[getattr(self, n) for n in names] for names in self._all_weights]

    def _weights(self, number: int) -> tuple[Any, ...]:
        """(W_ih, W_hh, b_ih, b_hh, W_hr) of a layer and direction, None where there is none."""
        layer, reverse = divmod(number, 1 + self.bidirectional)
        suffix = f"_l{layer}" + ("_reverse" if reverse else "")
        biased = self.bias
        return (
            getattr(self, "weight_ih" + suffix), getattr(self, "weight_hh" + suffix),
            getattr(self, "bias_ih" + suffix) if biased else None,
            getattr(self, "bias_hh" + suffix) if biased else None,
            getattr(self, "weight_hr" + suffix) if self.proj_size else None,
        )  # fmt: skip

    # -- checks -------------------------------------------------------------------------------------

    def check_input(self, input: Any, batch_sizes: Any) -> None:
        """RuntimeError unless the input's dimensions fit."""
        dtype = self._flat_weights[0].dtype
        if input.dtype is not dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). Convert "
                f"input: input.to({dtype}), or convert model: model.to({input.dtype})"
            )
        expected = 2 if batch_sizes is not None else 3
        if input.ndim != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.ndim}")
        if self.input_size != input.shape[-1]:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. Expected "
                f"{self.input_size}, got {input.shape[-1]}"
            )

    def _state_shapes(self, batch: int) -> list[tuple[int, int, int]]:
        rows = self.num_layers * (1 + self.bidirectional)
        shapes = [(rows, batch, self.proj_size or self.hidden_size)]
        if self.mode == "LSTM":
            shapes.append((rows, batch, self.hidden_size))
        return shapes

    def _check_state(self, hx: tuple[Any, ...], batch: int) -> None:
        for i, (h, expected) in enumerate(zip(hx, self._state_shapes(batch), strict=True)):
            if tuple(h.shape) != expected:
                what = f"hidden[{i}]" if self.mode == "LSTM" else "hidden"
                raise RuntimeError(
                    f"Expected {what} size {expected}, got {list(h.shape)}"
                )

    # -- the run ------------------------------------------------------------------------------------

    def _run(self, x: Any, sizes: list[int] | Even, hx: tuple[Any, ...]) -> tuple[Any, list[Any]]:
        """All layers over packed rows: the outputs, and the last states as (layers, N, H) each."""
        directions = 1 + self.bidirectional
        begin = [unbind(h, 0) for h in hx]
        ends: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            outputs = []
            for reverse in range(directions):
                number = layer * directions + reverse
                state = tuple(part[number] for part in begin)
                y, end = run_direction(
                    self.mode, x, sizes, state, self._weights(number), bool(reverse)
                )
                outputs.append(y)
                ends.append(end)
            x = outputs[0] if directions == 1 else cat(outputs, -1)
            if self.dropout and self.training and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, True)
        return x, [stack(list(column), 0) for column in zip(*ends, strict=True)]

    def _padded(self, input: Any, hx: tuple[Any, ...] | None) -> tuple[Any, list[Any]]:
        batched = input.ndim == 3
        at = 0 if self.batch_first else 1
        if input.ndim not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.ndim}D instead"
            )
        if hx is not None and any(h.ndim != input.ndim for h in hx):
            kind = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx should also be {input.ndim}-D but got "
                f"{', '.join(f'{h.ndim}-D' for h in hx)} tensor"
            )
        if not batched:
            input = input.unsqueeze(at)
            hx = None if hx is None else tuple(h.unsqueeze(1) for h in hx)
        self.check_input(input, None)
        x = input.transpose(0, 1) if self.batch_first else input
        steps, batch, width = x.shape
        hx = self._begin(hx, batch, x.dtype)
        y, state = self._run(x.reshape(steps * batch, width), Even(steps, batch), hx)
        y = y.reshape(steps, batch, y.shape[-1])
        y = y.transpose(0, 1) if self.batch_first else y
        if not batched:
            return y.squeeze(at), [s.squeeze(1) for s in state]
        return y, state

    def _begin(self, hx: tuple[Any, ...] | None, batch: int, dtype: DType) -> tuple[Any, ...]:
        if hx is None:
            return tuple(zeros(s, dtype=dtype) for s in self._state_shapes(batch))
        self._check_state(hx, batch)
        return hx

    def _packed(self, packed: PackedSequence, hx: tuple[Any, ...] | None) -> tuple[Any, list[Any]]:
        data, batch_sizes, order, back = packed
        sizes = batch_sizes.tolist()
        if hx is not None and order is not None:
            hx = tuple(h[:, order] for h in hx)
        self.check_input(data, batch_sizes)
        y, state = self._run(data, sizes, self._begin(hx, sizes[0], data.dtype))
        if back is not None:
            state = [s[:, back] for s in state]
        return PackedSequence(y, batch_sizes, order, back), state

    def _forward(self, input: Any, hx: tuple[Any, ...] | None) -> tuple[Any, list[Any]]:
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        return self._padded(input, hx)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        output, state = self._forward(input, None if hx is None else (hx,))
        return output, state[0]

    def extra_repr(self) -> str:
        s = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size != 0:
            s += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            s += f", num_layers={self.num_layers}"
        if self.bias is not True:
            s += f", bias={self.bias}"
        if self.batch_first is not False:
            s += f", batch_first={self.batch_first}"
        if self.dropout != 0:
            s += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            s += f", bidirectional={self.bidirectional}"
        return s


def _check(
    input_size: Any, hidden_size: Any, num_layers: int, bias: Any, batch_first: Any,
    dropout: Any, proj_size: int,
) -> None:  # fmt: skip
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an "
            "element being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and "
            f"num_layers={num_layers}",
            stacklevel=4,
        )
    for name, value, kind in (
        ("bias", bias, bool), ("batch_first", batch_first, bool), ("input_size", input_size, int),
        ("hidden_size", hidden_size, int),
    ):  # fmt: skip
        if not isinstance(value, kind):
            raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size),
                        ("num_layers", num_layers)):  # fmt: skip
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNN(RNNBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh) (or relu) over a sequence.

    Shapes: input (T, N, I), hx (layers · directions, N, H) → (T, N, directions · H) and the last h;
    `batch_first`: (N, T, …). Also unbatched (T, I), and packed sequences.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(f"RNN_{nonlinearity.upper()}", *args, **kwargs)
        self.nonlinearity = nonlinearity


class GRU(RNNBase):
    """Gated recurrent units over a sequence; shapes as in `RNN`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class LSTM(RNNBase):
    """Long short-term memory over a sequence; the state is (h, c), shapes as in `RNN`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        output, state = self._forward(input, None if hx is None else tuple(hx))
        return output, (state[0], state[1])
