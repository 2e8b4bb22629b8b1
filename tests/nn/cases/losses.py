"""Losses, with every reduction and their options."""

from __future__ import annotations

from typing import Any

from tests.nn.cases.case import Cases, Function, M, n, u, v, x

CASES = Cases()
c = CASES
REDUCTIONS = ("none", "mean", "sum")


def each(name: str, *args: Any, on: Any, **options: Any) -> None:
    for reduction in REDUCTIONS:
        c.layer(name, *args, on=on, reduction=reduction, **options)


each("L1Loss", on=(x(3, 4), x(3, 4)))
each("MSELoss", on=(x(3, 4), x(3, 4)))
c.layer("MSELoss", size_average=False, on=(x(3), x(3)), tag="legacy")
each("SmoothL1Loss", on=(x(3, 4), x(3, 4)))
each("SmoothL1Loss", beta=0.3, on=(x(3, 4), x(3, 4)))
c.layer("SmoothL1Loss", beta=0.0, on=(x(3, 4), x(3, 4)))
each("HuberLoss", delta=0.6, on=(x(3, 4), x(3, 4)))
for name in ("l1_loss", "mse_loss", "huber_loss"):
    for reduction in REDUCTIONS:
        c.function(name, x(3, 4), x(3, 4), reduction=reduction, weight=u(3, 4, grad=False))
each("PoissonNLLLoss", on=(x(3, 4), u(3, 4, high=5, grad=False)))
each("PoissonNLLLoss", log_input=False, full=True, on=(u(3, 4, low=0.5), u(3, 4, high=5, grad=False)))
each("GaussianNLLLoss", on=(x(3, 4), x(3, 4), u(3, 4, low=0.1)))
c.layer("GaussianNLLLoss", full=True, on=(x(3, 4), x(3, 4), u(3, low=0.1)))
c.layer("GaussianNLLLoss", eps=0.5, on=(x(3, 4), x(3, 4), u(3, 1, low=0.1)))
c.function("gaussian_nll_loss", x(3, 4), x(3, 4), 0.7)
for reduction in (*REDUCTIONS, "batchmean"):
    c.layer("KLDivLoss", reduction=reduction, on=(x(3, 4), u(3, 4)))
    c.layer("KLDivLoss", reduction=reduction, log_target=True, on=(x(3, 4), x(3, 4)))
c.layer("KLDivLoss", reduction="sum", on=(x(1, 4), v([[0.0, 0.2, 0.5, 0.3]])), tag="zero")

each("BCELoss", on=(u(3, 4, low=0.05, high=0.95), u(3, 4)))
c.layer("BCELoss", weight=u(4, grad=False), on=(u(3, 4, low=0.05, high=0.95), u(3, 4)))
c.layer("BCELoss", reduction="none", on=(v([0.0, 1.0, 0.0, 1.0]), v([0.0, 1.0, 1.0, 0.0])), tag="edge")
each("BCEWithLogitsLoss", on=(x(3, 4), u(3, 4)))
each("BCEWithLogitsLoss", pos_weight=u(4, grad=False), weight=u(3, 4, grad=False),
     on=(x(3, 4), u(3, 4, grad=False)))  # fmt: skip
c.layer("BCEWithLogitsLoss", on=(v([-200.0, 200.0], grad=True), v([1.0, 0.0])), tag="large")

classes = {"weight": u(5, low=0.2, grad=False)}
for name in ("NLLLoss", "CrossEntropyLoss"):
    each(name, on=(x(4, 5), n(5, 4)))
    each(name, **classes, ignore_index=1, on=(x(4, 5), v([0, 1, 4, 1])))
    each(name, **classes, on=(x(2, 5, 3, 2), n(5, 2, 3, 2)))
    each(name, on=(x(5), v(2)))
    c.layer(name, on=(x(2, 5, 3), v([[-100, 1, 2], [3, -100, 0]])), tag="ignored")
each("CrossEntropyLoss", label_smoothing=0.2, on=(x(4, 5), n(5, 4)))
each("CrossEntropyLoss", label_smoothing=0.2, ignore_index=1, **classes, on=(x(4, 5), v([0, 1, 4, 1])))
each("CrossEntropyLoss", label_smoothing=0.1, on=(x(2, 5, 3), n(5, 2, 3)))
each("CrossEntropyLoss", on=(x(4, 5), u(4, 5)))
each("CrossEntropyLoss", label_smoothing=0.3, **classes, on=(x(2, 5, 3), u(2, 5, 3)))
c.layer("CrossEntropyLoss", on=(x(5), u(5)), tag="vector")
c.layer("CrossEntropyLoss", on=(v([[1000.0, 0.0, -1000.0]], grad=True), v([1])), tag="large")
c.layer("NLLLoss2d", on=(x(2, 5, 3, 2), n(5, 2, 3, 2)))

ones = v([1, -1, -1, 1])
each("MarginRankingLoss", margin=0.3, on=(x(4), x(4), ones))
each("HingeEmbeddingLoss", on=(x(4), ones))
c.layer("HingeEmbeddingLoss", 0.4, on=(x(3, 4), v([[1, -1, 1, -1]] * 3)))
each("CosineEmbeddingLoss", margin=-0.5, on=(x(4, 3), x(4, 3), ones))
c.layer("CosineEmbeddingLoss", on=(x(3), x(3), v(1)))
each("SoftMarginLoss", on=(x(3, 4), v([[1.0, -1.0, 1.0, -1.0]] * 3)))
c.layer("SoftMarginLoss", on=(v([-300.0, 300.0], grad=True), v([1.0, 1.0])), tag="large", rtol=1e-6)
each("MultiLabelMarginLoss", on=(x(2, 4), v([[3, 0, -1, 1], [1, -1, 2, 3]])))
c.layer("MultiLabelMarginLoss", on=(x(4), v([3, 0, -1, 1])))
each("MultiLabelSoftMarginLoss", on=(x(3, 4), u(3, 4, grad=False)))
c.layer("MultiLabelSoftMarginLoss", weight=u(4, grad=False), on=(x(3, 4), u(3, 4, grad=False)))
each("MultiMarginLoss", on=(x(4, 5), n(5, 4)))
each("MultiMarginLoss", p=2, margin=0.5, **classes, on=(x(4, 5), n(5, 4)))
c.layer("MultiMarginLoss", on=(x(5), v(3)))
each("TripletMarginLoss", on=(x(4, 3), x(4, 3), x(4, 3)))
each("TripletMarginLoss", margin=2.0, p=1.0, swap=True, on=(x(4, 3), x(4, 3), x(4, 3)))
each("TripletMarginWithDistanceLoss", on=(x(4, 3), x(4, 3), x(4, 3)))
c.layer("TripletMarginWithDistanceLoss", distance_function=Function("l1_loss"), swap=True,
        on=(x(4, 3), x(4, 3), x(4, 3)))  # fmt: skip
c.layer("TripletMarginWithDistanceLoss", distance_function=M("PairwiseDistance", (1.0,)),
        on=(x(4, 3), x(4, 3), x(4, 3)))  # fmt: skip


def ctc(library: Any, logits: Any, *rest: Any, **options: Any) -> Any:
    # PyTorch's gradient of log_probs has a term more, which log_softmax takes off again.
    return library.F.ctc_loss(library.F.log_softmax(logits, -1), *rest, **options)


for reduction in REDUCTIONS:
    c.body("ctc", ctc, x(8, 3, 5), v([[1, 2, 2], [3, 1, 0], [4, 0, 0]]), [8, 6, 7], [3, 2, 1],
           call={"reduction": reduction})  # fmt: skip
c.body("ctc", ctc, x(8, 3, 5), v([1, 2, 2, 3, 1, 4]), v([8, 6, 7]), v([3, 2, 1]))
c.body("ctc", ctc, x(8, 3, 5), v([1, 2, 2]), [8, 6, 0], [3, 0, 0], call={"blank": 4})
c.body("ctc", ctc, x(4, 2, 5), v([[1, 1, 1], [2, 3, 1]]), [4, 4], [3, 3],
       call={"zero_infinity": True, "reduction": "none"})  # fmt: skip
c.body("ctc", ctc, x(6, 4), v([1, 2]), v(6), v(2))
c.body("ctc", ctc, x(6, 1, 4), v([[1, 1]]), (6,), (2,))
c.layer("AdaptiveLogSoftmaxWithLoss", 8, 10, [3, 6], div_value=2.0, on=(x(5, 8), v([0, 9, 4, 2, 7])))
c.layer("AdaptiveLogSoftmaxWithLoss", 8, 10, [3, 6], div_value=2.0, head_bias=True, on=(x(8), v(4)))
