"""Functions of nn.functional called by themselves, with their arguments by position and by name.

Most are behind a layer that other files of this folder compare with its options; here it is their
own signature and defaults that are compared.
"""

from __future__ import annotations

from typing import Any

from tests.nn.cases.case import Cases, X, n, u, v, x

CASES = Cases("direct-")
c = CASES
f = c.function
ones = v([1, -1, -1, 1])

# -- activations -------------------------------------------------------------------------------------
for name in ("relu", "relu6", "selu", "silu", "mish", "logsigmoid", "softsign", "tanhshrink", "sigmoid",
             "tanh", "hardswish", "elu", "celu", "leaky_relu", "hardtanh", "hardshrink", "softshrink",
             "softplus", "gelu", "glu"):  # fmt: skip
    f(name, x(3, 4), rtol32=1e-4)
f("hardsigmoid", x(3, 4), rtol=1e-7)
f("elu", x(3, 4), 0.7)
f("celu", x(3, 4), 0.7, rtol=1e-7)
f("leaky_relu", x(3, 4), negative_slope=0.2)
f("hardtanh", x(3, 4), -0.5, max_val=0.7)
f("hardshrink", x(3, 4), 0.3)
f("softshrink", x(3, 4), 0.3)
f("softplus", x(3, 4), 2, 0.5)
f("gelu", x(3, 4), approximate="tanh")
f("glu", x(4, 3), dim=0)
f("threshold", x(3, 4), 0.1, 20.0)
f("rrelu", x(3, 4), 0.1, 0.3)
for name in ("softmax", "log_softmax", "softmin"):
    f(name, x(3, 4), 0)
    f(name, x(2, 3, 4), dim=1)


def in_place(library: Any, x: Any, name: str, *args: Any) -> Any:
    given = x * 2  # a leaf can't be changed in place
    found = getattr(library.F, name)(given, *args)
    assert found is given
    return found


for name in ("relu_", "elu_", "celu_", "selu_", "leaky_relu_", "hardtanh_"):
    c.body(name, in_place, x(3, 4), name, rtol=1e-7)
c.body("threshold_", in_place, x(3, 4), "threshold_", 0.1, 20.0)
c.body("rrelu_", in_place, x(3, 4), "rrelu_", 0.1, 0.3)

# -- random ones where nothing is random -------------------------------------------------------------
for name, size in (("dropout", (3, 4)), ("dropout1d", (2, 3, 4)), ("dropout2d", (2, 3, 2, 2)),
                   ("dropout3d", (2, 3, 2, 2, 1)), ("alpha_dropout", (3, 4)),
                   ("feature_alpha_dropout", (2, 3, 4))):  # fmt: skip
    f(name, X(size), 0.4, training=False)
    f(name, X(size), p=0.0, training=True)
for name in ("dropout", "dropout1d", "dropout2d", "dropout3d"):
    f(name, X((2, 3, 2, 2, 1)[: {"dropout": 2, "dropout1d": 3, "dropout2d": 4}.get(name, 5)]), p=1.0)
for name, size in (("Dropout", (3, 4)), ("Dropout1d", (2, 3, 4)), ("Dropout2d", (2, 3, 2, 2)),
                   ("Dropout3d", (2, 3, 2, 2, 1)), ("AlphaDropout", (3, 4)),
                   ("FeatureAlphaDropout", (2, 3, 4))):  # fmt: skip
    c.layer(name, on=X(size), train=False)
    c.layer(name, 0.0, on=X(size))
c.layer("Dropout", 1.0, on=x(3, 4))

# -- linear, embeddings, distances -------------------------------------------------------------------
f("linear", x(3, 4), x(2, 4))
f("linear", x(2, 3, 4), x(2, 4), bias=x(2))
f("bilinear", x(5, 3), x(5, 4), x(2, 3, 4), x(2))
f("embedding", n(7, 2, 3), x(7, 4))
f("embedding", v([2, 0, 2]), x(7, 4), padding_idx=0, scale_grad_by_freq=True)
f("embedding_bag", n(7, 2, 3), x(7, 4))
f("embedding_bag", n(7, 6), x(7, 4), v([0, 4]), mode="sum", per_sample_weights=x(6))
f("cosine_similarity", x(3, 4), x(3, 4))
f("cosine_similarity", x(3, 4), x(3, 4), dim=-1, eps=1e-3)
f("pairwise_distance", x(3, 4), x(3, 4))
f("pairwise_distance", x(3, 4), x(3, 4), 1.0, keepdim=True)

# -- convolutions ------------------------------------------------------------------------------------
for d, size in {1: (6,), 2: (5, 6), 3: (3, 4, 3)}.items():
    two = (2,) * d
    f(f"conv{d}d", X((2, 4, *size)), X((6, 4, *two)))
    f(f"conv{d}d", X((2, 4, *size)), X((6, 2, *two)), x(6), stride=2, padding=1, groups=2)
    f(f"conv{d}d", X((4, *size)), X((6, 4, *two)), padding="same")
    f(f"conv_transpose{d}d", X((2, 4, *size)), X((4, 3, *two)))
    f(f"conv_transpose{d}d", X((2, 4, *size)), X((4, 3, *two)), x(6), stride=2, padding=1,
      output_padding=1, groups=2, dilation=1)  # fmt: skip
f("conv_tbc", x(5, 2, 3), x(2, 3, 4), x(4), pad=1)

# -- pools -------------------------------------------------------------------------------------------
for d, size in {1: (9,), 2: (7, 8), 3: (5, 6, 4)}.items():
    given = X((2, 2, *size))
    f(f"max_pool{d}d", given, 2)
    f(f"max_pool{d}d", given, 3, stride=2, padding=1, return_indices=True)
    f(f"max_pool{d}d_with_indices", given, 2)
    f(f"avg_pool{d}d", given, 2)
    f(f"avg_pool{d}d", given, 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
    f(f"lp_pool{d}d", X((2, 2, *size), "uniform", 0.1, 1.0), 2, kernel_size=2)
    f(f"adaptive_avg_pool{d}d", given, 3)
    f(f"adaptive_max_pool{d}d", given, 3)
    f(f"adaptive_max_pool{d}d", given, 2, return_indices=True)
    f(f"adaptive_max_pool{d}d_with_indices", given, 2)
    where = v((__import__("numpy").arange(2**d) * 2).reshape(1, 1, *(2,) * d).tolist())
    f(f"max_unpool{d}d", X((1, 1, *(2,) * d)), where, 2)
for d, size in {2: (7, 8), 3: (5, 6, 5)}.items():
    samples = {"_random_samples": u(2, 2, d, grad=False)}
    f(f"fractional_max_pool{d}d", X((2, 2, *size)), 2, output_size=3, **samples)
    f(f"fractional_max_pool{d}d_with_indices", X((2, 2, *size)), 2, output_ratio=(0.5,) * d, **samples)

# -- rearranging -------------------------------------------------------------------------------------
f("pixel_shuffle", x(1, 8, 2, 3), 2)
f("pixel_unshuffle", x(2, 4, 6), 2)
f("channel_shuffle", x(1, 6, 2, 2), 3)
f("native_channel_shuffle", x(1, 6, 2, 2, grad=False), 3)
f("unfold", x(2, 2, 4, 5), 2, padding=1)
f("fold", x(2, 8, 12), (4, 5), kernel_size=2)
f("local_response_norm", x(2, 5, 3), 3)
for name in ("upsample", "upsample_nearest", "upsample_bilinear"):
    f(name, x(1, 2, 3, 4), scale_factor=2)
    f(name, x(1, 2, 3, 4), (5, 6))

# -- losses ------------------------------------------------------------------------------------------
two, three = (x(3, 4), x(3, 4)), (x(4, 3), x(4, 3), x(4, 3))
for name, inputs in {
    "mse_loss": two, "l1_loss": two, "smooth_l1_loss": two, "huber_loss": two,
    "binary_cross_entropy": (u(3, 4, low=0.05, high=0.95), u(3, 4)),
    "binary_cross_entropy_with_logits": (x(3, 4), u(3, 4)),
    "poisson_nll_loss": (x(3, 4), u(3, 4, high=5, grad=False)),
    "nll_loss": (x(4, 5), n(5, 4)), "cross_entropy": (x(4, 5), n(5, 4)),
    "margin_ranking_loss": (x(4), x(4), ones), "hinge_embedding_loss": (x(4), ones),
    "cosine_embedding_loss": (x(4, 3), x(4, 3), ones),
    "soft_margin_loss": (x(4), v([1.0, -1.0, -1.0, 1.0])),
    "multilabel_margin_loss": (x(2, 4), v([[3, 0, -1, 1], [1, -1, 2, 3]])),
    "multilabel_soft_margin_loss": (x(3, 4), u(3, 4, grad=False)),
    "multi_margin_loss": (x(4, 5), n(5, 4)), "triplet_margin_loss": three,
    "triplet_margin_with_distance_loss": three,
}.items():  # fmt: skip
    f(name, *inputs)
    f(name, *inputs, reduction="none")
f("kl_div", *two, reduction="batchmean", log_target=True)
f("kl_div", x(3, 4), u(3, 4), reduction="sum")
f("binary_cross_entropy_with_logits", x(3, 4), u(3, 4), u(4, grad=False), pos_weight=u(4, grad=False))
f("cross_entropy", x(4, 5), v([0, 1, 4, 1]), u(5, grad=False), ignore_index=1, label_smoothing=0.1)
