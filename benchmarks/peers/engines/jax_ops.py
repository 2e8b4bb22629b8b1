"""The operations of the cases in JAX: channels last, weights by PyTorch's names.

Written as JAX's users write them: `lax.conv_general_dilated`, `jax.nn.dot_product_attention`,
`lax.scan` with the input's products outside of the loop, `.at[].add`. Where there was a choice, the
faster here: rows flattened for products (a third less time for the GPT), the recurrence unrolled in
inference and a loop in training.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# Layout of each kind of weight, as axes of PyTorch's.
AXES = {
    "linear": (1, 0), "conv": (2, 3, 1, 0), "conv1d": (2, 1, 0), "depthwise": (2, 3, 1, 0),
    "transposed": (2, 3, 1, 0),
}  # fmt: skip


class Ops:
    """Operations over one set of weights; new running statistics gather in `updates`."""

    relu = staticmethod(jax.nn.relu)
    relu6 = staticmethod(jax.nn.relu6)
    reshape = staticmethod(jnp.reshape)
    transpose = staticmethod(jnp.transpose)
    concat = staticmethod(jnp.concatenate)
    broadcast = staticmethod(jnp.broadcast_to)
    mean = staticmethod(jnp.mean)

    def __init__(self, weights: dict[str, Any], train: bool):
        self.weights, self.train = weights, train
        self.updates: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        return self.weights[name]

    def _biased(self, y: Any, name: str) -> Any:
        bias = self.weights.get(f"{name}.bias")
        return y if bias is None else y + bias

    def linear(self, x: Any, name: str) -> Any:
        w = self[f"{name}.weight"]
        y = self._biased(x.reshape(-1, x.shape[-1]) @ w, name)
        return y.reshape(*x.shape[:-1], w.shape[-1])

    def embedding(self, ids: Any, name: str) -> Any:
        return self[f"{name}.weight"][ids]

    def take(self, x: Any, index: Any) -> Any:
        return x[index]

    def add_at(self, x: Any, index: Any, values: Any) -> Any:
        return x.at[index].add(values)

    def gelu(self, x: Any) -> Any:
        return jax.nn.gelu(x, approximate=False)

    def conv(self, x: Any, name: str, stride: int = 1, padding: int = 0, groups: int = 1) -> Any:
        axes = x.ndim - 2
        form = ("NHWC", "HWIO", "NHWC") if axes == 2 else ("NHC", "HIO", "NHC")
        y = lax.conv_general_dilated(
            x, self[f"{name}.weight"], (stride,) * axes, [(padding, padding)] * axes,
            dimension_numbers=form, feature_group_count=groups,
        )  # fmt: skip
        return self._biased(y, name)

    def depthwise(self, x: Any, name: str, stride: int = 1, padding: int = 0) -> Any:
        return self.conv(x, name, stride, padding, groups=x.shape[-1])

    def conv_transpose(self, x: Any, name: str, stride: int) -> Any:
        y = lax.conv_transpose(
            x, self[f"{name}.weight"], (stride, stride), "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"), transpose_kernel=True,
        )  # fmt: skip
        return self._biased(y, name)

    def max_pool(self, x: Any, size: int) -> Any:
        # `max` over a reshaped array is faster, but its gradient compares numbers that XLA computes
        # twice with different rounding: a few percent of the gradient are lost.
        window = (1, *(size,) * (x.ndim - 2), 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")

    def batch_norm(self, x: Any, name: str) -> Any:
        mean, var = self[f"{name}.running_mean"], self[f"{name}.running_var"]
        if self.train:
            axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
            old, (mean, var) = (mean, var), (jnp.mean(x, axes), jnp.var(x, axes))
            kept = (mean, var * (count / (count - 1)))
            for which, a, b in zip(("mean", "var"), old, kept):
                self.updates[f"{name}.running_{which}"] = 0.9 * a + 0.1 * b
        scale = self[f"{name}.weight"] * lax.rsqrt(var + 1e-5)
        return (x - mean) * scale + self[f"{name}.bias"]

    def layer_norm(self, x: Any, name: str) -> Any:
        mean, var = jnp.mean(x, -1, keepdims=True), jnp.var(x, -1, keepdims=True)
        return (x - mean) * lax.rsqrt(var + 1e-5) * self[f"{name}.weight"] + self[f"{name}.bias"]

    def attention(self, q: Any, k: Any, v: Any, causal: bool) -> Any:
        return jax.nn.dot_product_attention(q, k, v, is_causal=causal)

    def lstm_last(self, x: Any, name: str) -> Any:
        bias = self[f"{name}.bias_ih_l0"] + self[f"{name}.bias_hh_l0"]
        inside, again = x @ self[f"{name}.weight_ih_l0"] + bias, self[f"{name}.weight_hh_l0"]
        zero = jnp.zeros((x.shape[0], again.shape[0]), x.dtype)

        def step(carry: tuple[Any, Any], gates: Any) -> tuple[tuple[Any, Any], None]:
            h, c = carry
            i, f, g, o = jnp.split(gates + h @ again, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        (h, _), _ = lax.scan(step, (zero, zero), inside.swapaxes(0, 1),
                             unroll=1 if self.train else x.shape[1])  # fmt: skip
        return h


def cross_entropy(output: Any, labels: Any) -> Any:
    """Mean over all but the last axis."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(output), labels[..., None], -1)
    return -jnp.mean(chosen)


def bce(output: Any, mask: Any) -> Any:
    """Binary cross entropy of logits."""
    return jnp.mean(jnp.maximum(output, 0) - output * mask + jnp.log1p(jnp.exp(-jnp.abs(output))))


def huber(output: Any, action: Any, value: Any) -> Any:
    """Of the worth of the action that was taken, with delta 1."""
    error = jnp.abs(jnp.take_along_axis(output, action, 1) - value)
    return jnp.mean(jnp.where(error < 1, 0.5 * error * error, error - 0.5))


LOSSES = {"cross_entropy": cross_entropy, "bce": bce, "huber": huber}
