"""einsum against NumPy's: values, gradients, messages, and the order of contraction."""

from __future__ import annotations

import numpy as np
import pytest

import fanal
from fanal.ops.contraction_order import order_of

EQUATIONS = [
    ("ii", [(3, 3)]), ("ii->i", [(3, 3)]), ("ij->ji", [(2, 3)]), ("ij->", [(2, 3)]),
    ("i,j", [(2,), (3,)]), ("ij,jk", [(2, 3), (3, 4)]), ("ij,ij->ij", [(2, 3), (2, 3)]),
    ("b...ij,b...jk->b...ik", [(2, 5, 3, 4), (2, 5, 4, 2)]),
    ("...ij,...jk", [(5, 3, 4), (2, 1, 4, 2)]), ("bn,anm,bm->ba", [(2, 3), (4, 3, 5), (2, 5)]),
    ("ij,jk,kl,lm->im", [(2, 3), (3, 4), (4, 5), (5, 2)]), ("iij,jk->ik", [(3, 3, 2), (2, 4)]),
    ("a,b,c,d->dcba", [(2,), (3,), (2,), (4,)]), ("ij,jk->ik", [(2, 0), (0, 3)]),
    ("...ii->...i", [(2, 3, 3)]), ("...,...", [(2, 3), (3,)]), ("iiii->i", [(3, 3, 3, 3)]),
    ("Aa,aB", [(2, 3), (3, 2)]), ("ij,->j", [(2, 3), ()]), ("ab,bc,ca->", [(2, 3), (3, 4), (4, 2)]),
    (
        "ab,bc,cd,de,ef,fg,gh,hi,ij->aj",
        [(2, 3), (3, 2), (2, 4), (4, 3), (3, 2), (2, 2), (2, 3), (3, 2), (2, 2)],
    ),
]  # fmt: skip


def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(s)) for s in shapes]


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS, ids=[e for e, _ in EQUATIONS])
def test_is_numpys(equation, shapes):
    arrays = drawn(shapes)
    got = fanal.einsum(equation, *map(fanal.from_numpy, arrays))
    want = np.einsum(equation, *arrays)
    assert tuple(got.shape) == want.shape
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("equation", ["ij,jk,kl->il", "...ii,i->...i", "bi,bj->ij", "ij,ij->"])
def test_gradients(equation):
    shapes = {
        "ij,jk,kl->il": [(2, 3), (3, 2), (2, 2)], "...ii,i->...i": [(2, 3, 3), (3,)],
        "bi,bj->ij": [(2, 3), (2, 2)], "ij,ij->": [(2, 3), (2, 3)],
    }[equation]  # fmt: skip
    inputs = [fanal.from_numpy(a).requires_grad_() for a in drawn(shapes)]
    assert fanal.autograd.gradcheck(lambda *xs: fanal.einsum(equation, *xs), inputs)


def test_sublists_and_a_list_of_operands():
    x, y = map(fanal.from_numpy, drawn([(2, 3), (3, 4)]))
    want = (x @ y).numpy()
    np.testing.assert_allclose(fanal.einsum(x, [0, 1], y, [1, 2], [0, 2]).numpy(), want)
    np.testing.assert_allclose(fanal.einsum(x, [..., 1], y, [1, 2], [..., 2]).numpy(), want)
    np.testing.assert_allclose(fanal.einsum("ij,jk", [x, y]).numpy(), want)


def test_extents_of_one_are_repeated():
    x, y = drawn([(2, 1), (2, 3)])
    got = fanal.einsum("ij,ij->j", fanal.from_numpy(x), fanal.from_numpy(y))
    np.testing.assert_allclose(got.numpy(), (x * y).sum(0))


@pytest.mark.parametrize(
    ("equation", "shapes", "text"),
    [
        ("ij,jk", [(2, 3)], "fewer operands"),
        ("ij", [(2, 3), (2, 3)], "more operands"),
        ("ij->k", [(2, 3)], "output label 'k' does not appear"),
        ("ij->ii", [(2, 3)], "appears more than once in the output"),
        ("i", [(2, 3)], "number of labels is not that of operand 0's dimensions"),
        ("i1", [(2, 3)], "invalid label '1'"),
        ("i.j", [(2, 3)], "a lone '.'"),
        ("ij,jk", [(2, 3), (4, 3)], "label 'j' has extent 4 in operand 1 and 3 before"),
        ("ii", [(2, 3)], "label has different extents|label 'i' has extent"),
    ],
)
def test_messages(equation, shapes, text):
    with pytest.raises(RuntimeError, match=rf"^\[einsum\] .*({text})"):
        fanal.einsum(equation, *map(fanal.from_numpy, drawn(shapes)))


def test_dtypes_must_agree():
    with pytest.raises(RuntimeError, match="different dtypes"):
        fanal.einsum("i,i", fanal.ones(2), fanal.ones(2, dtype=fanal.float64))


def test_the_cheap_order_is_taken_and_ignores_the_batch():
    sizes = {"i": 1000, "j": 1000, "k": 1000, "l": 2}
    chain = ["ij", "jk", "kl"]
    assert order_of(chain, "il", sizes)[0] == (1, 2)  # the thin end first
    for rows in (1, 10, 10**6):
        assert order_of(chain, "il", {**sizes, "i": rows}) == order_of(chain, "il", sizes)
    pairs = order_of(["ab"] * 12, "ab", {"a": 2, "b": 3})  # many operands: greedy
    assert len(pairs) == 11


def test_a_row_does_not_change_with_the_rows_beside_it():
    x, y, z = (a.astype(np.float32) for a in drawn([(64, 33), (33, 47), (47, 5)]))
    y, z = fanal.from_numpy(y), fanal.from_numpy(z)
    whole = fanal.einsum("ij,jk,kl->il", fanal.from_numpy(x), y, z).numpy()
    for i in (0, 17, 63):
        row = fanal.einsum("ij,jk,kl->il", fanal.from_numpy(x[i : i + 1].copy()), y, z).numpy()
        np.testing.assert_array_equal(row[0], whole[i])


def test_tensordot():
    x, y = drawn([(2, 3, 4), (4, 3, 5)])
    a, b = fanal.from_numpy(x), fanal.from_numpy(y)
    got = fanal.tensordot(a, b, dims=([1, 2], [1, 0]))
    np.testing.assert_allclose(got.numpy(), np.tensordot(x, y, ([1, 2], [1, 0])))
    one = fanal.tensordot(a[:, :1], b, dims=([1], [1]))
    np.testing.assert_allclose(one.numpy(), np.tensordot(x[:, :1], y.sum(1, keepdims=True), ([1], [1])))
    with pytest.raises(RuntimeError, match="extents to contract differ"):
        fanal.tensordot(a, b, dims=1 + 1)
    with pytest.raises(RuntimeError, match="lists of dimensions differ in length"):
        fanal.tensordot(a, b, dims=([1], [0, 1]))
