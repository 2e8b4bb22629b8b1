"""Attention by tiles: what it computes, how exactly, and that no cut of the work changes a bit."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fanal
from fanal.nn import functional as F

# Fewer than a vector, a few panels of queries, several blocks of keys; heads that fill no vector.
SHAPES = [(1, 1, 1, 5, 8), (2, 3, 77, 77, 40), (1, 2, 130, 300, 64), (1, 2, 33, 129, 3)]
HALF_ULP = 2.0**-24


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def operands(b, h, rows, keys, width, few=None):
    few = h if few is None else few
    return (
        numbers(b, h, rows, width, seed=1), numbers(b, few, keys, width, seed=2),
        numbers(b, few, keys, width, seed=3),
    )  # fmt: skip


def exact(q, k, v, hidden=None, scale=None):
    """Output and weights in float64; `hidden` is where a key takes no part."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    scores = np.einsum("bhle,bhse->bhls", q, k) * (scale or 1 / math.sqrt(q.shape[-1]))
    if hidden is not None:
        scores = np.where(hidden, -np.inf, scores)
    peak = scores.max(-1, keepdims=True)
    w = np.exp(scores - np.where(peak == -np.inf, 0, peak))
    w /= np.maximum(w.sum(-1, keepdims=True), 1e-300)
    return np.einsum("bhls,bhse->bhle", w, v), w


def exact_gradients(q, k, v, g, hidden=None):
    q, k, v, g = (x.astype(np.float64) for x in (q, k, v, g))
    scale = 1 / math.sqrt(q.shape[-1])
    out, w = exact(q, k, v, hidden)
    slopes = w * (np.einsum("bhle,bhse->bhls", g, v) - (out * g).sum(-1)[..., None])
    return (
        np.einsum("bhls,bhse->bhle", slopes, k) * scale,
        np.einsum("bhls,bhle->bhse", slopes, q) * scale, np.einsum("bhls,bhle->bhse", w, g),
    )  # fmt: skip


def both(arrays, grad, **options):
    """Output and gradients of attention of these arrays, as arrays."""
    tensors = [fanal.from_numpy(a).requires_grad_(True) for a in arrays]
    out = F.scaled_dot_product_attention(*tensors, **options)
    grads = fanal.autograd.grad(out, tensors, fanal.from_numpy(grad))
    return [x.detach().numpy().copy() for x in (out, *grads)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("is_causal", [False, True])
def test_values_and_gradients_within_the_documented_bound(shape, is_causal):
    b, h, rows, keys, width = shape
    arrays, grad = operands(*shape), numbers(b, h, rows, width, seed=4)
    hidden = np.arange(keys)[None] > np.arange(rows)[:, None] if is_causal else None
    out, *grads = both(arrays, grad, is_causal=is_causal)
    wanted, _ = exact(*arrays, hidden)
    q, k, v = arrays
    size = np.einsum("bhle,bhse->bhls", abs(q), abs(k)).max() / math.sqrt(width)
    bound = HALF_ULP * abs(v).max() * (2 * (width + 2) * size + 2 * keys + 8)
    assert abs(out - wanted).max() <= bound
    assert abs(out - wanted).max() <= 2e-6  # and this is what numbers of size one give
    for got, right in zip(grads, exact_gradients(*arrays, grad, hidden)):
        assert abs(got - right).max() <= 4e-6 * (1 + abs(right).max())


@pytest.mark.parametrize("kind", ["bool", "added", "keys", "heads"])
def test_masks(kind):
    b, h, rows, keys, width = 2, 3, 40, 150, 16
    arrays, grad = operands(b, h, rows, keys, width), numbers(b, h, rows, width, seed=4)
    shape = {"bool": (rows, keys), "added": (rows, keys), "keys": (b, 1, 1, keys), "heads": (h, rows, keys)}
    hidden = np.random.default_rng(5).random(shape[kind]) < 0.4
    mask = np.where(hidden, -np.inf, 0).astype(np.float32) if kind == "added" else ~hidden
    out, *grads = both(arrays, grad, attn_mask=fanal.from_numpy(mask))
    wanted, _ = exact(*arrays, hidden)
    np.testing.assert_allclose(out, wanted, atol=3e-6)
    for got, right in zip(grads, exact_gradients(*arrays, grad, hidden)):
        np.testing.assert_allclose(got, right, atol=1e-5)


def test_a_query_that_sees_nothing_gives_zeros_and_no_gradient():
    arrays, grad = operands(1, 2, 20, 30, 8), numbers(1, 2, 20, 8, seed=4)
    seen = np.ones((20, 30), bool)
    seen[7] = False
    out, dq, dk, dv = both(arrays, grad, attn_mask=fanal.from_numpy(seen))
    assert (out[:, :, 7] == 0).all() and (dq[:, :, 7] == 0).all()
    assert all(np.isfinite(x).all() for x in (out, dq, dk, dv))


def test_huge_scores_do_not_overflow_and_nan_stays_in_its_row():
    q, k, v = operands(1, 1, 40, 140, 8)
    out = F.scaled_dot_product_attention(*(fanal.from_numpy(x) for x in (q * 1e4, k * 1e4, v)))
    best = (q[0, 0].astype(np.float64) @ k[0, 0].T).argmax(-1)
    np.testing.assert_array_equal(out.numpy()[0, 0], v[0, 0][best])
    q[0, 0, 3, 2] = np.nan
    out = F.scaled_dot_product_attention(*(fanal.from_numpy(x) for x in (q, k, v))).numpy()
    assert np.isnan(out[0, 0, 3]).all() and not np.isnan(np.delete(out[0, 0], 3, 0)).any()


def test_queries_that_share_heads_of_keys():
    q, k, v = operands(2, 6, 50, 60, 16, few=2)
    grad = numbers(2, 6, 50, 16, seed=4)
    got = both((q, k, v), grad, enable_gqa=True)
    out, dq, dk, dv = both((q, k.repeat(3, 1), v.repeat(3, 1)), grad)
    for x, y in zip(got[:2], (out, dq)):
        np.testing.assert_array_equal(x, y)
    for x, y in zip(got[2:], (dk, dv)):
        np.testing.assert_allclose(x, y.reshape(2, 2, 3, 60, 16).sum(2), atol=1e-5)


@pytest.mark.parametrize("is_causal", [False, True])
def test_bits_depend_on_no_cut_of_the_work(is_causal):
    arrays, grad = operands(3, 2, 150, 150, 24), numbers(3, 2, 150, 24, seed=4)
    before = fanal.get_num_threads()
    try:
        fanal.set_num_threads(1)
        want = both(arrays, grad, is_causal=is_causal)
        for threads in (2, 4):
            fanal.set_num_threads(threads)
            for x, y in zip(both(arrays, grad, is_causal=is_causal), want):
                np.testing.assert_array_equal(x, y)
    finally:
        fanal.set_num_threads(before)
    # One sequence and one head of the batch, alone.
    alone = both([x[1:2, 1:] for x in arrays], grad[1:2, 1:], is_causal=is_causal)
    for x, y in zip(alone, want):
        np.testing.assert_array_equal(x, y[1:2, 1:])
    # The first queries, without those behind them (and, being causal, without the keys behind them).
    rows = [arrays[0][:, :, :45], *arrays[1:]]
    if is_causal:
        rows = [x[:, :, :45] for x in arrays]
    out = F.scaled_dot_product_attention(*map(fanal.from_numpy, rows), is_causal=is_causal)
    np.testing.assert_array_equal(out.numpy(), want[0][:, :, :45])


def test_heads_inside_a_projection_give_the_bits_of_contiguous_ones():
    b, length, heads, width = 2, 70, 3, 40
    x = fanal.from_numpy(numbers(b, length, 3, heads, width)).requires_grad_(True)
    q, k, v = x.permute(2, 0, 3, 1, 4).unbind(0)
    grad = fanal.from_numpy(numbers(b, heads, length, width, seed=1))
    (mine,) = fanal.autograd.grad(F.scaled_dot_product_attention(q, k, v), x, grad)
    arrays = [t.detach().contiguous().numpy().copy() for t in (q, k, v)]
    _, *apart = both(arrays, grad.numpy())
    for i, y in enumerate(apart):
        np.testing.assert_array_equal(mine.numpy()[:, :, i].transpose(0, 2, 1, 3), y)


def test_operands_in_any_order_of_memory():
    arrays, grad = operands(2, 2, 40, 50, 20), numbers(2, 2, 40, 20, seed=4)
    want = both(arrays, grad, is_causal=True)
    turned = [np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0) for x in arrays]
    spread = [np.repeat(x, 2, 3)[..., ::2] for x in arrays]
    for other in (turned, spread):
        got = both(other, grad, is_causal=True)
        for x, y in zip(got, want):
            np.testing.assert_array_equal(x, y)


def test_compiled_steps_have_eagers_bits():
    def step(x, g):
        x = x.detach().requires_grad_(True)
        q, k, v = x.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(2, 70, 120)
        (y * g).sum().backward()
        return y, x.grad

    x = fanal.from_numpy(numbers(2, 70, 3, 3, 40))
    g = fanal.from_numpy(numbers(2, 70, 120, seed=1))
    for a, b in zip(fanal.compile(step)(x, g), step(x, g)):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_second_derivatives():
    q, k, v = (
        fanal.from_numpy(x.astype(np.float64)).requires_grad_(True) for x in operands(1, 2, 3, 4, 3)
    )
    mask = fanal.from_numpy(np.random.default_rng(2).standard_normal((3, 4))).requires_grad_(True)
    attention = F.scaled_dot_product_attention
    assert fanal.autograd.gradcheck(lambda *x: attention(*x[:3], attn_mask=x[3]), (q, k, v, mask))
    assert fanal.autograd.gradgradcheck(lambda *x: attention(*x, is_causal=True), (q, k, v))


def test_scores_are_never_written_down():
    length = 2048
    q, k, v = (fanal.from_numpy(x) for x in operands(1, 1, length, length, 16))
    step = fanal.compile(lambda q, k, v: F.scaled_dot_product_attention(q, k, v) * 2.0)
    with fanal.inference_mode():
        step(q, k, v)
    report = str(step.explain())
    assert "attention" in report and "dot" not in report


@pytest.mark.parametrize("padding", [False, True])
def test_multi_head_attention_without_weights_is_that_with(padding):
    fanal.manual_seed(0)
    layer = fanal.nn.MultiheadAttention(24, 3, batch_first=True)
    x = fanal.from_numpy(numbers(2, 37, 24))
    hidden = fanal.from_numpy(np.arange(37)[None] >= np.array([[37], [20]])) if padding else None
    limit = fanal.nn.Transformer.generate_square_subsequent_mask(37)
    for mask in (None, limit, fanal.isinf(limit)):
        if padding and mask is limit:
            continue  # PyTorch warns of masks of two kinds
        mine, _ = layer(x, x, x, key_padding_mask=hidden, attn_mask=mask, need_weights=False)
        other, _ = layer(x, x, x, key_padding_mask=hidden, attn_mask=mask, need_weights=True)
        np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), atol=2e-6)


def test_wide_heads_and_empty_sequences_are_the_formula():
    arrays, grad = operands(1, 1, 5, 6, 300), numbers(1, 1, 5, 300, seed=4)
    out, *_ = both(arrays, grad)
    np.testing.assert_allclose(out, exact(*arrays)[0], atol=3e-6)
    q, k, v = (fanal.from_numpy(x) for x in operands(1, 1, 5, 0, 4))
    assert (F.scaled_dot_product_attention(q, k, v).numpy() == np.zeros((1, 1, 5, 4))).all()
