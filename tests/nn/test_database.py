"""What PyTorch's databases of operators and modules found in layers (`tests/peers/opinfo.py`)."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fanal
import fanal.nn.functional as F

nan = math.nan


@pytest.mark.parametrize("dtype", [fanal.float16, fanal.bfloat16])
def test_pooling_and_attention_of_16_bits(dtype: fanal.dtype) -> None:
    x = fanal.arange(8).reshape(1, 2, 4).to(dtype)
    assert F.avg_pool1d(x, 2).tolist() == [[[0.5, 2.5], [4.5, 6.5]]]
    layer = fanal.nn.MultiheadAttention(4, 2).to(dtype)
    assert layer(*[fanal.ones(3, 4, dtype=dtype)] * 3)[0].dtype is dtype


def test_whole_numbers_stay_whole() -> None:
    x = fanal.tensor([[[1, 2, 9, -3]]])
    assert F.avg_pool1d(x, 2).tolist() == [[[1, 3]]]
    assert F.relu6(x).tolist() == [[[1, 2, 6, 0]]]
    assert F.hardtanh(x, -0.5, 0.5).tolist() == [[[0, 0, 0, 0]]]
    out = F.bilinear(*(fanal.ones(*s, dtype=fanal.int32) for s in ((2,), (3,), (1, 2, 3))))
    assert (out.dtype, out.tolist()) == (fanal.int32, [6])
    image = fanal.tensor([[[[0, 255]]]], dtype=fanal.uint8)
    assert F.interpolate(image, (1, 4), mode="bilinear").tolist() == [[[[0, 64, 191, 255]]]]
    with pytest.raises(RuntimeError, match="bias have different dtypes"):
        F.conv1d(x, x[..., :2], fanal.ones(1))


def test_output_padding_of_a_stride_or_more() -> None:
    x, w = fanal.ones(1, 1, 2), fanal.tensor([[[1.0, 2.0]]])
    found = F.conv_transpose1d(x, w, fanal.ones(1), 1, 0, 2, 1, 3)
    # Inputs at 0 and 1, kernel taps 3 apart, then two more, which only the bias reaches.
    assert found.tolist() == [[[2, 2, 1, 3, 3, 1, 1]]]
    # Padding cuts one off at both ends; of output_padding, one element had been cut off.
    found = F.conv_transpose1d(x, w, None, 1, 1, 2, 1, 3)
    assert found.tolist() == [[[1, 0, 2, 2, 0]]]


def test_negative_padding_of_copies() -> None:
    x = fanal.tensor([[1.0, 2.0, 3.0]])
    assert F.pad(x, (-3, 2), "replicate").tolist() == [[3, 3]]
    assert F.pad(x, (2, -1), "replicate").tolist() == [[1, 1, 1, 2]]


def test_margin_losses_of_one_number() -> None:
    x, t = fanal.tensor(0.3), fanal.tensor(0)
    assert F.multi_margin_loss(x, t).item() == 0
    assert F.multilabel_margin_loss(x, t).item() == 0
    for loss in (F.multi_margin_loss, F.multilabel_margin_loss):
        with pytest.raises(RuntimeError):
            loss(fanal.ones(5, 10), fanal.zeros(3, dtype=fanal.int64))
        with pytest.raises(RuntimeError):
            loss(fanal.ones(2, 0), fanal.zeros(2, dtype=fanal.int64))
        with pytest.raises(ValueError):
            loss(fanal.ones(2, 3), fanal.ones(2), reduction="abc")


def test_kl_div_of_a_negative_target() -> None:
    found = F.kl_div(fanal.zeros(3), fanal.tensor([-1.0, 0.0, 1.0]), reduction="none")
    np.testing.assert_array_equal(found.numpy(), [nan, 0, 0])


def test_batch_norm_of_no_rows() -> None:
    layer = fanal.nn.BatchNorm1d(2)
    out = layer(fanal.ones(0, 2, 3))
    assert out.shape == (0, 2, 3)
    assert layer.running_mean.tolist() == [0, 0]
    assert layer.running_var.tolist() == [1, 1]
    out.sum().backward()
    assert layer.weight.grad.tolist() == [0, 0]
    with pytest.raises(ValueError, match="eps"):
        F.batch_norm(fanal.ones(2, 2), None, None, training=True, eps=0.0)


def test_samples_of_more_rows_than_the_input() -> None:
    x = fanal.arange(64.0).reshape(1, 4, 4, 4)
    samples = fanal.zeros(2, 1, 3)
    found = F.fractional_max_pool3d(x, 2, output_size=2, _random_samples=samples)
    assert found.shape == (1, 2, 2, 2)


def test_linear_cross_entropy() -> None:
    fanal.manual_seed(0)
    layer = fanal.nn.LinearCrossEntropyLoss(3, 4, out_features=(2,), bias=True)
    x, t = fanal.randn(5, 3), fanal.randint(0, 4, (5, 2))
    logits = layer.linear(x).reshape(5, 4, 2)
    assert layer(x, t).item() == pytest.approx(F.cross_entropy(logits, t).item(), rel=1e-6)
    with pytest.raises(RuntimeError):
        F.linear_cross_entropy(fanal.ones(2, 3), fanal.ones(4, 2), t)
    with pytest.raises(RuntimeError):
        F.linear_cross_entropy(fanal.ones(3), fanal.ones(4, 2, 3), t)


WRONG = [
    ("F.adaptive_avg_pool2d(f.ones(2, 2), (2, 2))", ValueError),
    ("F.adaptive_avg_pool2d(f.ones(1, 1, 2, 2), (-1, 0))", RuntimeError),
    ("F.adaptive_max_pool1d(f.ones(1, 1, 2), -1)", RuntimeError),
    ("F.conv1d(f.ones(1, 1, 4), f.ones(1, 1, 2), dilation=-1)", RuntimeError),
    ("F.conv1d(f.ones(1, 1, 4), f.ones(1, 1, 2), padding=-1)", RuntimeError),
    ("F.conv3d(f.ones(1, 1, 3, 4, 5), f.ones(1, 1, 4, 3), padding='same')", RuntimeError),
    ("F.conv_transpose1d(f.ones(1, 1, 4), f.ones(1, 1, 2), stride=0)", RuntimeError),
    ("F.prelu(f.ones(2, 8, 3), f.ones(2, 4))", RuntimeError),
    ("f.nn.CircularPad2d(3)(f.ones(2, 3))", ValueError),
]


@pytest.mark.parametrize(("text", "kind"), WRONG)
def test_types_of_errors(text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        eval(text, {"f": fanal, "F": F})
