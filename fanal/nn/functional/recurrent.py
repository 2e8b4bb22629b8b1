"""Recurrent layers: a scan over the time steps, or one program a step where the batch shrinks.

The inputs of all steps meet their weights in one product before the loop. A padded batch is a packed
one whose batch sizes are all the same: then the whole layer is one program, whose loop packs the
recurrent weights once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fanal.core.dispatch import fused
from fanal.nn.functional.composite import composite
from fanal.nn.functional.steps import pieces
from fanal.ops.control import loop
from fanal.ops.layout import slice_dim
from fanal.ops.linear import linear
from fanal.ops.pointwise import sigmoid, tanh, where
from fanal.ops.shape import cat, narrow


def _gates(x: Any, count: int) -> list[Any]:
    last = x.ndim - 1
    size = x.shape[last] // count
    return [slice_dim(x, last, i * size, (i + 1) * size) for i in range(count)]


@composite
def rnn_tanh_step(gates: Any, h: Any, weight: Any, bias: Any) -> Any:
    """h' = tanh(gates + W h + b)."""
    return tanh(gates + linear(h, weight, bias))


@composite
def rnn_relu_step(gates: Any, h: Any, weight: Any, bias: Any) -> Any:
    """h' = max(gates + W h + b, 0)."""
    total = gates + linear(h, weight, bias)
    return where(total <= 0, 0.0, total)


@composite
def lstm_step(gates: Any, h: Any, c: Any, weight: Any, bias: Any, projection: Any) -> Any:
    """i, f, g, o from gates + W h + b; c' = f c + i g, h' = o tanh c'. Hochreiter et al., 1997."""
    i, f, g, o = _gates(gates + linear(h, weight, bias), 4)
    cell = sigmoid(f) * c + sigmoid(i) * tanh(g)
    out = sigmoid(o) * tanh(cell)
    return (out if projection is None else linear(out, projection)), cell


@composite
def gru_step(gates: Any, h: Any, weight: Any, bias: Any) -> Any:
    """r, z from both; n = tanh(gates_n + r · (W h + b)_n); h' = (1 - z) n + z h. Cho et al., 2014."""
    xr, xz, xn = _gates(gates, 3)
    hr, hz, hn = _gates(linear(h, weight, bias), 3)
    z = sigmoid(xz + hz)
    n = tanh(xn + sigmoid(xr + hr) * hn)
    return (h - n) * z + n


State = tuple[Any, ...]


def _advance(mode: str, gates: Any, state: State, weights: Sequence[Any]) -> State:
    """One step; weights are (W_hh, b_hh, W_hr), missing ones None."""
    if mode == "LSTM":
        h, c = lstm_step(gates, *state, *weights)
        return h, c
    step = {"GRU": gru_step, "RNN_TANH": rnn_tanh_step, "RNN_RELU": rnn_relu_step}[mode]
    return (step(gates, *state, *weights[:2]),)


@fused
def _scanned(
    mode: str, x: Any, state: State, weights: Sequence[Any], reverse: bool
) -> tuple[Any, ...]:
    """`run_direction` over steps of one batch size, x (T, B, I): (outputs (T, B, H), *last state)."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights

    def step(carry: Any, slices: Any) -> tuple[Any, Any]:
        new = _advance(mode, slices[0], tuple(carry), (w_hh, b_hh, w_hr))
        return new, new[:1]

    last, (y,) = loop(step, list(state), [linear(x, w_ih, b_ih)], x.shape[0], reverse)
    return (y, *last)


class Even(NamedTuple):
    """Steps of a batch that all have so many rows."""

    steps: int
    batch: int


def run_direction(
    mode: str, x: Any, sizes: Sequence[int] | Even, state: State, weights: Sequence[Any], reverse: bool
) -> tuple[Any, State]:
    """One layer in one direction over packed rows x (ΣB, I): the outputs (ΣB, H), the last state.

    weights: (W_ih, W_hh, b_ih, b_hh, W_hr). Sequences are sorted by length, the longest first.
    """
    if not isinstance(sizes, Even) and sizes and min(sizes) == max(sizes):
        sizes = Even(len(sizes), sizes[0])
    if isinstance(sizes, Even) and sizes.steps == 0:
        sizes = []
    if isinstance(sizes, Even):
        steps = x.reshape(sizes.steps, sizes.batch, x.shape[1])
        y, *last = _scanned(mode, steps, tuple(state), tuple(weights), reverse)
        return y.reshape(x.shape[0], y.shape[2]), tuple(last)
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    gates = pieces(linear(x, w_ih, b_ih), sizes)
    order = range(len(sizes) - 1, -1, -1) if reverse else range(len(sizes))
    outputs: list[Any] = [None] * len(sizes)
    finished: list[State] = []
    begin = state
    rows = sizes[order[0]] if sizes else 0
    current = _rows(state, 0, rows) if reverse else state
    for t in order:
        size = sizes[t]
        if size < rows:  # the shortest sequences have ended
            finished.append(_rows(current, size, rows - size))
            current = _rows(current, 0, size)
        elif size > rows:  # backwards, longer sequences begin
            more = _rows(begin, rows, size - rows)
            pairs = zip(current, more, strict=True)
            current = tuple(cat(pair, 0) for pair in pairs)
        rows = size
        current = _advance(mode, gates[t], current, (w_hh, b_hh, w_hr))
        outputs[t] = current[0]
    if finished:
        parts = [current, *reversed(finished)]
        current = tuple(cat(list(column), 0) for column in zip(*parts, strict=True))
    return cat(outputs, 0), current


def _rows(state: State, start: int, count: int) -> State:
    if start == 0 and count == state[0].shape[0]:
        return state
    return tuple(narrow(s, 0, start, count) for s in state)
