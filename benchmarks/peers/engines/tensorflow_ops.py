"""The operations of the cases in TensorFlow: channels last, weights by PyTorch's names.

Written with the kernels that Keras' layers call on a CPU: `tf.nn.conv2d`, fused batch norm,
`unsorted_segment_sum`. The recurrence is unrolled or a `while_loop`, as in `keras.layers.LSTM`:
whichever the engine found faster.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

# Layout of each kind of weight, as axes of PyTorch's.
AXES = {
    "linear": (1, 0), "conv": (2, 3, 1, 0), "conv1d": (2, 1, 0), "depthwise": (2, 3, 0, 1),
    "transposed": (2, 3, 1, 0),
}  # fmt: skip


class Ops:
    """Operations over one set of weights; new running statistics gather in `updates`."""

    relu = staticmethod(tf.nn.relu)
    relu6 = staticmethod(tf.nn.relu6)
    reshape = staticmethod(tf.reshape)
    transpose = staticmethod(tf.transpose)
    concat = staticmethod(tf.concat)
    broadcast = staticmethod(tf.broadcast_to)
    mean = staticmethod(tf.reduce_mean)

    def __init__(self, weights: dict[str, Any], train: bool, unroll: bool):
        self.weights, self.train, self.unroll = weights, train, unroll
        self.updates: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        return self.weights[name]

    def _biased(self, y: Any, name: str) -> Any:
        bias = self.weights.get(f"{name}.bias")
        return y if bias is None else tf.nn.bias_add(y, bias)

    def linear(self, x: Any, name: str) -> Any:
        w = self[f"{name}.weight"]
        flat = x if len(x.shape) == 2 else tf.reshape(x, (-1, x.shape[-1]))
        y = self._biased(tf.matmul(flat, w), name)
        return y if len(x.shape) == 2 else tf.reshape(y, (*x.shape[:-1], w.shape[-1]))

    def embedding(self, ids: Any, name: str) -> Any:
        return tf.gather(self[f"{name}.weight"], ids)

    def take(self, x: Any, index: Any) -> Any:
        return tf.gather(x, index)

    def add_at(self, x: Any, index: Any, values: Any) -> Any:
        return x + tf.math.unsorted_segment_sum(values, index, x.shape[0])

    def gelu(self, x: Any) -> Any:
        return tf.nn.gelu(x, approximate=False)

    def conv(self, x: Any, name: str, stride: int = 1, padding: int = 0) -> Any:
        w = self[f"{name}.weight"]
        if len(x.shape) == 3:
            # Of the two names that 1-d convolutions know, the one that pads as much.
            if padding and (stride != 1 or w.shape[0] != 2 * padding + 1):
                raise ValueError(f"[tensorflow] no name for padding {padding} of {w.shape}")
            y = tf.nn.conv1d(x, w, stride, "SAME" if padding else "VALID")
        else:
            y = tf.nn.conv2d(x, w, stride, _around(padding))
        return self._biased(y, name)

    def depthwise(self, x: Any, name: str, stride: int = 1, padding: int = 0) -> Any:
        w = self[f"{name}.weight"]
        y = tf.nn.depthwise_conv2d(x, w, (1, stride, stride, 1), _around(padding))
        return self._biased(y, name)

    def conv_transpose(self, x: Any, name: str, stride: int) -> Any:
        w = self[f"{name}.weight"]
        b, height, width, _ = x.shape
        shape = (b, height * stride, width * stride, w.shape[2])
        return self._biased(tf.nn.conv2d_transpose(x, w, shape, stride, "VALID"), name)

    def max_pool(self, x: Any, size: int) -> Any:
        pool = tf.nn.max_pool1d if len(x.shape) == 3 else tf.nn.max_pool2d
        return pool(x, size, size, "VALID")

    def batch_norm(self, x: Any, name: str) -> Any:
        mean, var = self[f"{name}.running_mean"], self[f"{name}.running_var"]
        wide = x if len(x.shape) == 4 else tf.expand_dims(x, 1)
        scale, shift = self[f"{name}.weight"], self[f"{name}.bias"]
        if self.train:
            y, *kept = tf.compat.v1.nn.fused_batch_norm(wide, scale, shift, epsilon=1e-5)
            for which, a, b in zip(("mean", "var"), (mean, var), kept):
                self.updates[f"{name}.running_{which}"] = 0.9 * a + 0.1 * b
        else:
            y, *_ = tf.compat.v1.nn.fused_batch_norm(
                wide, scale, shift, mean, var, epsilon=1e-5, is_training=False
            )
        return y if len(x.shape) == 4 else tf.squeeze(y, 1)

    def layer_norm(self, x: Any, name: str) -> Any:
        mean, var = tf.nn.moments(x, -1, keepdims=True)
        shift, scale = self[f"{name}.bias"], self[f"{name}.weight"]
        return tf.nn.batch_normalization(x, mean, var, shift, scale, 1e-5)

    def attention(self, q: Any, k: Any, v: Any, causal: bool) -> Any:
        scores = tf.einsum("bqhd,bkhd->bhqk", q, k) * (q.shape[-1] ** -0.5)
        if causal:
            steps = tf.range(q.shape[1])
            scores = tf.where(steps[:, None] >= steps, scores, scores.dtype.min)
        return tf.einsum("bhqk,bkhd->bqhd", tf.nn.softmax(scores), v)

    def lstm_last(self, x: Any, name: str) -> Any:
        bias = self[f"{name}.bias_ih_l0"] + self[f"{name}.bias_hh_l0"]
        again = self[f"{name}.weight_hh_l0"]
        h = c = tf.zeros((x.shape[0], again.shape[0]), x.dtype)
        inside = tf.tensordot(x, self[f"{name}.weight_ih_l0"], 1) + bias

        def step(gates: Any, h: Any, c: Any) -> tuple[Any, Any]:
            i, f, g, o = tf.split(gates + tf.matmul(h, again), 4, -1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            return tf.sigmoid(o) * tf.tanh(c), c

        count = x.shape[1]
        if self.unroll:
            for gates in tf.unstack(inside, axis=1):
                h, c = step(gates, h, c)
            return h
        steps = tf.TensorArray(x.dtype, count).unstack(tf.transpose(inside, (1, 0, 2)))
        return tf.while_loop(
            lambda t, h, c: t < count, lambda t, h, c: (t + 1, *step(steps.read(t), h, c)),
            (0, h, c), maximum_iterations=count,
        )[1]  # fmt: skip


def _around(padding: int) -> Any:
    return [[0, 0], [padding, padding], [padding, padding], [0, 0]] if padding else "VALID"


def cross_entropy(output: Any, labels: Any) -> Any:
    """Mean over all but the last axis."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, output))


def bce(output: Any, mask: Any) -> Any:
    """Binary cross entropy of logits."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(mask, output))


def huber(output: Any, action: Any, value: Any) -> Any:
    """Of the worth of the action that was taken, with delta 1."""
    error = tf.abs(tf.gather(output, action, axis=1, batch_dims=1) - value)
    return tf.reduce_mean(tf.where(error < 1, 0.5 * error * error, error - 0.5))


LOSSES = {"cross_entropy": cross_entropy, "bce": bce, "huber": huber}
