"""What PyTorch's own operator database found (`tests/peers/opinfo.py`): one test a finding."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fanal

NARROW = (fanal.float16, fanal.bfloat16)


@pytest.mark.parametrize("name", ["floor", "ceil", "round", "trunc", "sign", "sgn"])
def test_flat_functions_have_a_gradient_of_zero(name: str) -> None:
    x = fanal.tensor([-1.5, 0.2, 2.5], requires_grad=True)
    y = getattr(fanal, name)(x)
    assert y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_flat_parts_of_a_gradient() -> None:
    a = fanal.tensor([1.0, -2.0], requires_grad=True)
    b = fanal.tensor([3.0, -4.0], requires_grad=True)
    fanal.copysign(a, b).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([1, 1], [0, 0])
    a.grad = b.grad = None
    fanal.div(a, b, rounding_mode="floor").sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([0, 0], [0, 0])
    a.grad = b.grad = None
    fanal.nextafter(a, b).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([1, 1], [0, 0])
    assert not (a > 0).requires_grad
    assert not a.argmax().requires_grad


def test_reflected_operators_take_tensors() -> None:
    x, y = fanal.tensor([1.0, 2.0]), fanal.tensor([5.0, 7.0])
    assert x.__radd__(y).tolist() == [6, 9]
    assert x.__rsub__(y).tolist() == [4, 5]
    assert x.__rpow__(y).tolist() == [5, 49]
    assert (x > 1).__rand__(y > 6).tolist() == [False, True]


def test_factors_of_sums_of_products() -> None:
    ones = fanal.ones(2, 2)
    lost = fanal.full((2, 2), math.nan)
    assert fanal.addmm(lost, ones, ones, beta=0).tolist() == [[2, 2], [2, 2]]
    assert fanal.addbmm(lost, ones[None], ones[None], beta=0.0).tolist() == [[2, 2], [2, 2]]
    whole = fanal.ones(2, 2, dtype=fanal.int64)
    found = fanal.addmm(whole, whole, whole, beta=3.7, alpha=2.9)
    assert (found.dtype, found.tolist()) == (fanal.int64, [[7, 7], [7, 7]])
    assert fanal.addmv(whole[0], whole, whole[0], alpha=0.6).tolist() == [1, 1]
    flags = fanal.tensor([True, False])
    out = fanal.addr(flags, flags, flags, beta=3, alpha=2)
    assert (out.dtype, out.tolist()) == (fanal.bool, [[True, False], [True, False]])
    assert fanal.addr(lost, fanal.ones(2), fanal.ones(2), beta=0).tolist() == [[1, 1], [1, 1]]
    assert fanal.add(flags, ~flags, alpha=False).tolist() == [True, False]


def test_index_fill_counts_a_number_once() -> None:
    value = fanal.tensor(2.0, requires_grad=True)
    out = fanal.index_fill(fanal.zeros(2, 3), 1, fanal.tensor([0, 0, -1]), value)
    assert out.tolist() == [[2, 0, 2], [2, 0, 2]]
    out.sum().backward()
    assert value.grad.item() == 4


def test_take_along_dim_counts_from_the_end() -> None:
    x = fanal.arange(6).reshape(2, 3)
    assert fanal.take_along_dim(x, fanal.tensor([[-1], [0]]), 1).tolist() == [[2], [3]]
    assert fanal.take_along_dim(x, fanal.tensor([-1])).tolist() == [5]


def test_gradient_without_spacing() -> None:
    x = fanal.tensor([1.0, 2.0, 4.0])
    assert fanal.gradient(x, spacing=None, dim=None)[0].tolist() == [1, 1.5, 2]
    with pytest.raises(RuntimeError, match="more than once"):
        fanal.gradient(fanal.ones(3, 3), dim=(1, -1))


def test_empty_ranges_of_histograms() -> None:
    hist, edges = fanal.histogram(fanal.tensor([3.0, 3.0]), 2)
    assert (hist.tolist(), edges.tolist()) == ([0, 2], [2.5, 3, 3.5])
    assert fanal.histc(fanal.tensor([3.0]), 2).tolist() == [0, 1]
    _, (first, _) = fanal.histogramdd(fanal.zeros(0, 2), [2, 3])
    assert first.tolist() == [0, 0.5, 1]
    with pytest.raises(RuntimeError, match="one number of bins"):
        fanal.histogramdd(fanal.zeros(3, 2), [2])


def test_sums_of_integers_are_int64() -> None:
    x = fanal.ones(2, 3, dtype=fanal.int32)
    assert x.sum_to_size(1, 3).dtype is fanal.int64
    assert x.bool().sum_to_size(()).item() == 6
    assert x.sum_to_size(2, 3).dtype is fanal.int32
    assert fanal.einsum("ij->i", x).dtype is fanal.int64
    assert fanal.einsum("ij,i->", x, x[:, 0]).dtype is fanal.int64
    one = fanal.ones(1, 2, dtype=fanal.int32)
    assert fanal.tensordot(one, x, dims=([0], [1])).dtype is fanal.int32
    assert fanal.prod(fanal.tensor([2, 0]), dtype=fanal.bool).item() is False


def test_narrow_takes_a_tensor() -> None:
    x = fanal.arange(5)
    part = fanal.narrow(x, 0, fanal.tensor(-3), 2)
    assert part.tolist() == [2, 3]
    assert x.narrow(0, fanal.tensor(1), 2).fill_(9).tolist() == [9, 9]
    assert x.tolist() == [0, 9, 9, 3, 4]
    with pytest.raises(IndexError, match="start out of range"):
        x.narrow(0, 6, 0)
    with pytest.raises(RuntimeError, match="0-d"):
        fanal.tensor(1).narrow(0, 0, 1)


def test_fill() -> None:
    assert fanal.fill(fanal.ones(2), 3).tolist() == [3, 3]
    value = fanal.tensor(2.0, requires_grad=True)
    fanal.fill(fanal.ones(2), value).sum().backward()
    assert value.grad.item() == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f.special.ndtr(x, out=out)", [0.5, 0.5]),
        ("f.xlogy(x, x, out=out)", [0, 0]),
        ("f.sinc(x, out=out)", [1, 1]),
        ("f.logit(x + 0.5, out=out)", [0, 0]),
        ("f.igamma(x + 1, x, out=out)", [0, 0]),
        ("f.polygamma(1, x + 1, out=out)", [math.pi**2 / 6] * 2),
        ("f.mvlgamma(x + 1, 1, out=out)", [0, 0]),
        ("f.special.entr(x, out=out)", [0, 0]),
        ("f.special.legendre_polynomial_p(x, 2, out=out)", [-0.5, -0.5]),
        ("f.slice_scatter(x, x + 1, out=out)", [1, 1]),
        ("f.nn.functional.softplus(x, out=out)", [math.log(2)] * 2),
        ("f.nn.functional.linear(x, x[None] + 1, out=out[:1])", [0]),
        ("f.nn.functional.gelu(x, approximate='tanh', out=out)", [0, 0]),
        ("f.nn.functional.hardshrink(x + 1, out=out)", [1, 1]),
    ],
)
def test_more_functions_take_out(text: str, expected: list[float]) -> None:
    out = fanal.full((2,), 9.0)
    found = eval(text, {"f": fanal, "x": fanal.zeros(2), "out": out})
    np.testing.assert_allclose(out[: len(expected)].numpy(), expected, rtol=1e-6)
    assert found.data_ptr() == out.data_ptr()


def test_cov_of_weights() -> None:
    x = fanal.tensor([[0.0, 2.0]], dtype=fanal.bfloat16)
    assert fanal.cov(x, aweights=fanal.ones(2)).dtype is fanal.float32
    with pytest.raises(RuntimeError, match="negative"):
        fanal.cov(x, fweights=fanal.tensor([1, -1]))


def test_options_of_creation() -> None:
    assert fanal.scalar_tensor(2.0, requires_grad=True).requires_grad
    made = fanal.normal(0.0, 1.0, (2,), layout=fanal.strided, pin_memory=False)
    assert made.shape == (2,)


WRONG = [
    ("f.arange(0, float('inf'))", RuntimeError),
    ("f.eye(-1)", RuntimeError),
    ("f.linspace(0, 3, 1.0)", TypeError),
    ("f.empty_permuted((2, 3), (0, 0))", RuntimeError),
    ("f.empty_permuted((2,), (0, 1))", RuntimeError),
    ("f.ones(3).cauchy_(0, 0)", RuntimeError),
    ("f.ones(3).exponential_(0)", RuntimeError),
    ("f.ones(3).geometric_(-1)", RuntimeError),
    ("f.ones(3).log_normal_(0, 0)", RuntimeError),
    ("f.multinomial(f.ones(3), 0)", RuntimeError),
    ("f.multinomial(f.tensor([1.0, float('nan')]), 1)", RuntimeError),
    ("f.multinomial(f.tensor([1.0, float('inf')]), 1)", RuntimeError),
    ("f.cat([])", ValueError),
    ("f.cat([f.ones(2), None])", TypeError),
    ("f.cat([f.ones(2, 3), f.ones(2, 4)])", RuntimeError),
    ("f.amax(f.ones(0, 3))", RuntimeError),
    ("f.amin(f.ones(0, 3))", RuntimeError),
    ("f.amax(f.ones(0, 3), 0)", IndexError),
    ("f.max(2, 3)", TypeError),
    ("f.roll(f.tensor(1), 1, 0)", IndexError),
    ("f.hsplit(f.ones(3), 'a')", TypeError),
    ("f.gather(f.ones(2, 2), 0, f.tensor([[5, 0]]))", RuntimeError),
    ("f.gather(f.ones(2, 2), 0, f.tensor([[5, 0]]))", IndexError),
    ("f.scatter(f.ones(2, 2), 0, f.tensor([[5, 0]]), 1.0)", RuntimeError),
    ("f.index_add(f.ones(3, 2), 0, f.tensor([0, 1]), f.ones(2))", RuntimeError),
]


@pytest.mark.parametrize(("text", "kind"), WRONG)
def test_types_of_errors(text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        eval(text, {"f": fanal})


def test_windows_of_signals() -> None:
    w = fanal.signal.windows
    third, two = math.sin(math.pi / 6), dict(dtype=fanal.float64)
    expected = {
        "bartlett": [0, 1, 0], "hann": [0, 1, 0], "hamming": [0.08, 1, 0.08],
        "blackman": [0, 1, 0], "cosine": [third, 1, third], "nuttall": [0.0003628, 1, 0.0003628],
        "exponential": [math.exp(-1), 1, math.exp(-1)], "gaussian": [math.exp(-0.5), 1, math.exp(-0.5)],
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(w, name)(3, **two).numpy(), values, atol=1e-7)
    np.testing.assert_allclose(w.hann(4, sym=False, **two).numpy(), [0, 0.5, 1, 0.5], atol=1e-12)
    assert w.kaiser(3, beta=0.0).tolist() == [1, 1, 1]
    assert w.general_cosine(1, a=[0.5, 0.5]).tolist() == [1]
    assert w.general_hamming(0).shape == (0,)
    for call in (lambda: w.hann(-1), lambda: w.hann(3, dtype=fanal.bfloat16), lambda: w.kaiser(3, beta=-1)):
        with pytest.raises(ValueError):
            call()


def test_float_power_in_place_wants_float64() -> None:
    x = fanal.tensor([2.0, 3.0], dtype=fanal.float64)
    assert x.float_power_(2).tolist() == [4, 9]
    with pytest.raises(RuntimeError, match="float64 into"):
        fanal.ones(2).float_power_(2)


def test_no_differences_and_whole_powers() -> None:
    x = fanal.tensor([[1.0, 4.0]])
    assert fanal.diff(x, 0, 0, prepend=fanal.zeros(1, 2)).tolist() == [[1, 4]]
    assert fanal.logspace(2, 1.2, 2, dtype=fanal.int64).tolist() == [100, 10]
    assert fanal.logspace(0, 2, 3, base=2.5, dtype=fanal.int32).tolist() == [1, 2, 4]
    out = fanal.empty(1, 2)
    assert fanal.conj_physical(x, out=out) is out
    assert out.tolist() == [[1, 4]]
