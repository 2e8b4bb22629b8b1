"""Activations, softmax, linear layers, embeddings, distances."""

from __future__ import annotations

from tests.nn.cases.case import Cases, b, n, u, v, x

CASES = Cases()
c = CASES

wide = v([-30.0, -4.0, -3.0, -1.5, -1.0, -0.5, -0.1, 0.0, 0.1, 0.5, 1.0, 2.5, 3.0, 7.0, 25.0], grad=True)
for name in (
    "ReLU", "ReLU6", "ELU", "CELU", "SELU", "Hardshrink", "Softshrink", "LeakyReLU", "Hardsigmoid",
    "Hardswish", "Hardtanh", "Sigmoid", "Tanh", "SiLU", "Mish", "GELU", "LogSigmoid", "Softplus",
    "Softsign", "Tanhshrink",
):  # fmt: skip
    # PyTorch computes with 1/6 in float32 also in float64.
    rtol = 1e-7 if name == "Hardsigmoid" else 1e-9
    c.layer(name, on=wide, rtol=rtol)
    c.layer(name, on=x(3, 4), rtol=rtol, rtol32=1e-4)
for name in ("ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardsigmoid", "Hardswish"):
    c.layer(name, inplace=True, on=x(3, 4, grad=False), tag="inplace")
c.layer("Threshold", 0.2, -7.0, on=x(3, 4))
c.layer("Threshold", 0.2, -7, True, on=x(3, 4, grad=False))
c.layer("ELU", alpha=0.7, on=x(3, 4))
c.layer("CELU", alpha=0.7, on=x(3, 4), rtol=1e-7)
c.layer("Hardshrink", 0.3, on=x(3, 4))
c.layer("Softshrink", lambd=0.3, on=x(3, 4))
c.layer("LeakyReLU", 0.2, True, on=x(3, 4, grad=False))
c.layer("Hardtanh", -0.4, 0.6, on=x(3, 4))
c.layer("GELU", approximate="tanh", on=x(3, 4))
c.layer("Softplus", 2.0, 1.5, on=x(3, 4))
c.layer("RReLU", train=False, on=x(3, 4))
c.layer("PReLU", on=x(3, 4))
c.layer("PReLU", 4, init=0.1, on=x(3, 4, 2))
c.layer("GLU", on=x(3, 4))
c.layer("GLU", 0, on=x(4, 3))
for name in ("Softmax", "Softmin", "LogSoftmax"):
    c.layer(name, 1, on=x(3, 5))
    c.layer(name, dim=0, on=x(3, 2, 2))
c.layer("Softmax2d", on=x(2, 3, 2, 2))
c.layer("Softmax2d", on=x(3, 2, 2))
c.function("softmax", x(2, 3), dim=-1)
c.function("prelu", x(2, 3), x(1))
c.function("normalize", x(3, 4))
c.function("normalize", x(3, 4), p=1, dim=0)
c.function("normalize", x(3, 4), p=3.0, dim=(0, 1))
c.function("normalize", v([[0.0, 0.0], [3.0, 4.0]], grad=True))
c.layer("CosineSimilarity", on=(x(3, 4), x(3, 4)))
c.layer("CosineSimilarity", dim=0, eps=0.1, on=(x(3, 1), x(1, 4)))
c.layer("PairwiseDistance", on=(x(3, 4), x(3, 4)))
c.layer("PairwiseDistance", 1.0, keepdim=True, on=(x(3, 4), x(4)))
c.layer("PairwiseDistance", 3.0, 1e-3, on=(x(3, 4), x(3, 4)))
c.layer("PairwiseDistance", float("inf"), on=(x(3, 4), x(3, 4)))
c.function("pdist", x(5, 3))
c.function("pdist", x(4, 3), p=1)
c.function("pdist", x(4, 3), p=3.0)

c.layer("Identity", 54, unused=1, on=x(2, 3))
c.layer("Linear", 4, 3, on=x(2, 4))
c.layer("Linear", 4, 3, bias=False, on=x(2, 5, 4))
c.layer("Linear", 4, 3, on=x(4))
c.layer("LazyLinear", 3, on=x(2, 4))
c.layer("Bilinear", 3, 4, 2, on=(x(5, 3), x(5, 4)))
c.layer("Bilinear", 3, 4, 2, bias=False, on=(x(2, 2, 3), x(2, 2, 4)))

c.layer("Embedding", 7, 3, on=n(7, 2, 4))
c.layer("Embedding", 7, 3, padding_idx=2, on=v([[2, 1, 2], [0, 6, 2]]))
c.layer("Embedding", 7, 3, padding_idx=-1, on=v([[6, 1, 2]]))
c.layer("Embedding", 7, 3, max_norm=0.5, on=v([0, 3, 3, 5]))
c.layer("Embedding", 7, 3, max_norm=0.5, norm_type=1.0, on=v([0, 3, 3, 5]))
c.layer("Embedding", 7, 3, scale_grad_by_freq=True, on=v([0, 3, 3, 5, 3]))
for mode in ("sum", "mean", "max"):
    c.layer("EmbeddingBag", 7, 3, mode=mode, on=n(7, 3, 4))
    c.layer("EmbeddingBag", 7, 3, mode=mode, on=(v([1, 2, 4, 5, 4, 3]), v([0, 2, 2, 4])))
    c.layer("EmbeddingBag", 7, 3, mode=mode, padding_idx=2, on=(v([1, 2, 2, 5, 4, 2]), v([0, 2, 3])))
c.layer("EmbeddingBag", 7, 3, mode="sum", include_last_offset=True,
        on=(v([1, 2, 4, 5, 4, 3]), v([0, 2, 4, 6])))  # fmt: skip
# PyTorch divides by the frequency of a wrong index where several occur.
c.layer("EmbeddingBag", 7, 3, mode="sum", scale_grad_by_freq=True, on=v([[1, 1, 1], [1, 1, 1]]))
c.layer("EmbeddingBag", 7, 3, mode="sum", on=n(7, 2, 3), call={"per_sample_weights": x(2, 3)})
c.layer("EmbeddingBag", 7, 3, max_norm=0.5, on=v([[1, 1, 2], [3, 1, 1]]))
c.function("one_hot", n(5, 2, 3), num_classes=6)
c.function("one_hot", v([0, 3, 1]))
_ = (b, u)
