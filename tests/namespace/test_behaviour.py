"""What a table of results can't say: memory that is shared, hooks, options, layouts, chance."""

from __future__ import annotations

import itertools
import math
import os

import numpy as np
import pytest

import fanal


def test_views_write_through_with_gradients() -> None:
    base = fanal.zeros(4, 4)
    base.diagonal(1).fill_(2)
    base.unfold(0, 2, 2)[1, :, 0] = 5
    fanal.as_strided(base, (2,), (5,)).add_(1)
    fanal.tensor_split(base, 2, dim=1)[1][3] = 7
    expected = np.diag([2.0] * 3, 1)
    expected[2] = 5
    expected[0, 0] = expected[1, 1] = 1
    expected[3, 2:] = 7
    np.testing.assert_array_equal(base.numpy(), expected)
    x = fanal.ones(3, 3, requires_grad=True)
    y = x * 1
    y.diagonal().mul_(3)
    y.as_strided((2,), (1,), 1).mul_(5)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[3, 5, 5], [1, 3, 1], [1, 1, 3]])


def test_shape_changes_in_place() -> None:
    x = fanal.arange(6).reshape(1, 2, 3)
    assert x.squeeze_() is x
    assert x.shape == (2, 3)
    assert x.t_().unsqueeze_(1).shape == (3, 1, 2)
    y = fanal.arange(6)
    assert y.resize_(2, 2).tolist() == [[0, 1], [2, 3]]
    assert y.resize_(8).tolist()[:6] == [0, 1, 2, 3, 4, 5]
    z = fanal.zeros(2)
    z.set_(fanal.ones(3))
    assert z.tolist() == [1, 1, 1]
    w = fanal.ones(2, requires_grad=True)
    assert (w * 2).detach_().requires_grad is False


def test_tensors_are_keys_by_identity() -> None:
    a, b = fanal.ones(1), fanal.ones(1)
    table = {a: 1, b: 2}
    assert (table[a], table[b]) == (1, 2)
    assert hash(a) == object.__hash__(a)


def test_hooks_after_accumulation() -> None:
    p = fanal.ones(2, requires_grad=True)
    seen = []
    handle = p.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.tolist()))
    (p * 2).sum().backward()
    handle.remove()
    (p * 2).sum().backward()
    assert seen == [[2.0, 2.0]]
    with pytest.raises(RuntimeError, match="not a leaf"):
        (p * 1).register_post_accumulate_grad_hook(print)


def test_memory_is_shared_with_a_forked_process() -> None:
    x = fanal.arange(4.0)[1:].share_memory_()
    assert x.is_shared()
    child = os.fork()
    if child == 0:
        x[0] = 9
        os._exit(0)
    os.waitpid(child, 0)
    assert x.tolist() == [9, 2, 3]


def test_out_is_written_in_place_or_given_memory() -> None:
    a, b = fanal.rand(3, 4), fanal.rand(3, 4)
    whole = fanal.zeros(6, 4)
    part = whole[::2]
    assert fanal.add(a, b, out=part) is part
    np.testing.assert_array_equal(whole[::2].numpy(), (a + b).numpy())
    np.testing.assert_array_equal(whole[1::2].numpy(), np.zeros((3, 4)))
    expected = (a.t() @ a).numpy()[:3]
    square = a[:, :3].clone()
    fanal.matmul(square.t(), a, out=a)  # out is an operand, too
    np.testing.assert_allclose(a.numpy(), expected, rtol=1e-6)
    with pytest.warns(UserWarning, match="other memory"):
        small = fanal.add(b, 1, out=fanal.zeros(2))
    assert small.shape == (3, 4)


def test_numpys_names_of_arguments() -> None:
    x = fanal.rand(2, 3)
    assert fanal.sum(x, axis=1, keepdims=True).shape == (2, 1)
    assert x.std(axis=0).shape == (3,)
    assert fanal.max(x, axis=1).values.shape == (2,)
    assert fanal.add(x1=x, x2=x).shape == (2, 3)


def test_named_results() -> None:
    found = fanal.sort(fanal.tensor([2, 1]))
    assert found.values.tolist() == [1, 2]
    assert found.indices.tolist() == [1, 0]
    assert fanal.aminmax(fanal.tensor([2, 1])).max == 2
    assert fanal.frexp(fanal.tensor([8.0])).exponent.tolist() == [4]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_reductions_of_any_layout(order: tuple[int, ...]) -> None:
    # A dimension of extent 1 between two others hid that they don't lie one after another.
    for shape in ((2, 1, 3), (2, 3, 4)):
        array = np.random.default_rng(0).standard_normal(shape)
        x = fanal.tensor(np.ascontiguousarray(array.transpose(order))).permute(
            [order.index(i) for i in range(3)]
        )
        for dims in ((0, 1), (1, 2), (0, 2), (0, 1, 2)):
            np.testing.assert_allclose(fanal.sum(x, dims).numpy(), array.sum(dims))
            np.testing.assert_allclose(fanal.amax(x, dims).numpy(), array.max(dims))
            norm = np.sqrt((array**2).sum(dims, keepdims=True))
            unit = x / fanal.sqrt(fanal.sum(x * x, dims, keepdim=True))
            np.testing.assert_allclose(unit.numpy(), array / norm)
        np.testing.assert_allclose(
            fanal.renorm(x, 2, 0, 1e9).numpy(), array
        )


def test_numbers_keep_their_precision_in_double() -> None:
    # Run-time numbers once passed through the default dtype.
    x = fanal.linspace(0.1, 0.7, 4, dtype=fanal.float64)
    np.testing.assert_allclose(x.numpy(), np.linspace(0.1, 0.7, 4), rtol=1e-15)
    u = fanal.empty(5, dtype=fanal.float64).uniform_(0.1, 0.1 + 1e-12)
    assert bool(((u >= 0.1) & (u < 0.1 + 1e-12)).all())


def test_memory_formats() -> None:
    x = fanal.rand(2, 3, 4, 5).to(memory_format=fanal.channels_last)
    assert x.stride() == (60, 1, 15, 3)
    assert x.is_contiguous(memory_format=fanal.channels_last)
    assert (x * 2).stride() == x.stride()
    assert x.contiguous().is_contiguous()
    with pytest.raises(RuntimeError, match="is for 4 dimensions"):
        x[0].contiguous(memory_format=fanal.channels_last)


@pytest.mark.parametrize(
    ("fill", "mean", "std"),
    [
        (lambda t: t.uniform_(-1, 3), 1, 4 / math.sqrt(12)), (lambda t: t.normal_(2, 3), 2, 3),
        (lambda t: t.exponential_(2), 0.5, 0.5), (lambda t: t.geometric_(0.25), 4, math.sqrt(12)),
        (lambda t: t.log_normal_(0, 0.5), math.exp(0.125), 0.604), (lambda t: t.bernoulli_(0.3), 0.3, 0.458),
        (lambda t: t.random_(0, 10), 4.5, 2.872),
    ],
    ids=["uniform", "normal", "exponential", "geometric", "log_normal", "bernoulli", "random"],
)  # fmt: skip
def test_sampling(fill: object, mean: float, std: float) -> None:
    fanal.manual_seed(3)
    x = fill(fanal.empty(20000))
    assert abs(float(x.mean()) - mean) < 5 * std / math.sqrt(20000)
    assert abs(float(x.std()) / std - 1) < 0.08


def test_many_elements_are_searched_and_sorted() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(5000)
    x = fanal.tensor(values)
    edges = np.sort(rng.standard_normal(777))
    got = fanal.searchsorted(fanal.tensor(edges), x, right=True)
    np.testing.assert_array_equal(got.numpy(), np.searchsorted(edges, values, side="right"))
    whole = fanal.tensor(rng.integers(0, 300, (50, 40)))
    found, inverse, counts = fanal.unique(whole, return_inverse=True, return_counts=True)
    expected = np.unique(whole.numpy(), return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(found.numpy(), expected[0])
    np.testing.assert_array_equal(inverse.numpy().ravel(), expected[1].ravel())
    np.testing.assert_array_equal(counts.numpy(), expected[2])
    np.testing.assert_array_equal(
        fanal.isin(whole, fanal.arange(0, 300, 3)).numpy(), whole.numpy() % 3 == 0
    )
