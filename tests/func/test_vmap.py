"""`vmap`: arguments and results in any structure, writes, closures, what is refused and how."""

from __future__ import annotations

import functools
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest

import fanal
from fanal.func import grad, vmap
from tests.func.check import close, loop

Pair = namedtuple("Pair", "a b")


@dataclass
class Point:
    x: fanal.Tensor
    name: str


@pytest.fixture
def x():
    fanal.manual_seed(0)
    return fanal.randn(3, 4)


# -- arguments and results ---------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -3])
def test_in_dims_and_out_dims_at_every_place(dim):
    a = fanal.randn(2, 3, 4)
    want = fanal.stack([v.sin() for v in a.unbind(dim)])
    close(vmap(lambda v: v.sin(), in_dims=dim)(a), want)
    close(vmap(lambda v: v.sin(), in_dims=dim, out_dims=dim)(a), a.sin())


def test_none_is_the_same_for_all(x):
    w = fanal.randn(4)
    close(vmap(fanal.dot, in_dims=(0, None))(x, w), x @ w)
    close(vmap(fanal.dot, in_dims=(None, 0))(w, x), x @ w)
    close(vmap(lambda a, n: a * n, in_dims=(0, None))(x, 3), x * 3)


def test_structures(x):
    def f(d, pair):
        return {"s": d["x"] + pair.a, "rest": [pair.b * d["y"][0], (d["x"],)]}

    args = ({"x": x, "y": [fanal.ones(4)]}, Pair(x * 2, x * 3))
    dims = ({"x": 0, "y": [None]}, 0)
    close(vmap(f, in_dims=dims)(*args), loop(f, *args, in_dims=dims))
    close(vmap(lambda v: Pair(v, v + 1), out_dims=Pair(0, 1))(x), Pair(x, (x + 1).T))
    found = vmap(lambda v: OrderedDict(k=v + 1))(x)
    assert type(found) is OrderedDict
    close(found["k"], x + 1)


def test_dataclasses_are_looked_into(x):
    found = vmap(lambda p: Point(p.x * 2, p.name), Point(0, None), out_dims=Point(0, None)) if False else None
    assert found is None
    twice = vmap(lambda p: Point(p.x * 2, p.name), (Point(0, None),), out_dims=Point(0, None))
    found = twice(Point(x, "p"))
    assert found.name == "p"
    close(found.x, x * 2)


def test_keyword_arguments_are_not_mapped(x):
    close(vmap(lambda a, scale=1: a * scale)(x, scale=x), x[:, None] * x)


def test_results_that_do_not_depend_on_the_samples(x):
    w = fanal.randn(2)
    close(vmap(lambda a: w)(x), w.expand(3, 2))
    close(vmap(lambda a: fanal.ones(2), out_dims=1)(x), fanal.ones(2, 3))
    assert vmap(lambda a: w, out_dims=None)(x) is w
    assert vmap(lambda a: (a, 3.0), out_dims=(0, None))(x)[1] == 3.0


def test_no_samples_and_one():
    assert tuple(vmap(lambda v: v * 2)(fanal.ones(0, 3)).shape) == (0, 3)
    close(vmap(lambda v: v * 2)(fanal.ones(1, 3)), fanal.full((1, 3), 2.0))


def test_nested(x):
    close(vmap(vmap(lambda a, b: a * b, (0, None)), (None, 0))(x[0], x[1]), x[1][:, None] * x[0])
    deep = fanal.randn(2, 3, 4)
    close(vmap(vmap(vmap(fanal.sin)))(deep), deep.sin())
    close(vmap(vmap(lambda v: v.cumsum(0), 1, 1), 0)(deep), deep.cumsum(1))


def test_partials_and_modules(x):
    close(vmap(functools.partial(fanal.sum, dim=0))(x), x.sum(1))
    layer = fanal.nn.Linear(4, 2)
    close(vmap(layer)(x), layer(x), 1e-5)


@pytest.mark.parametrize("chunk", [1, 2, 3, 5])
def test_chunks(x, chunk):
    def f(a, w):
        return a * w, (a.sum(),)

    w = fanal.randn(4)
    got = vmap(f, in_dims=(0, None), out_dims=(1, 0), chunk_size=chunk)(x, w)
    close(got, ((x * w).T, (x.sum(1),)))


# -- what the function may do ------------------------------------------------------------------------


def test_closures_and_python_state(x):
    scale = fanal.tensor(2.0)
    seen = []

    def f(a):
        seen.append(tuple(a.shape))
        return a * scale * len(seen)

    close(vmap(f)(x), x * 2)
    close(vmap(f)(x), x * 4)
    scale.fill_(5.0)
    close(vmap(f)(x), x * 15)
    assert seen == [(4,)] * 3


def test_writes_to_tensors_of_its_own(x):
    def f(a):
        y = fanal.zeros(5)
        y[1:] = a
        y[0] += a.sum()
        y.view(5, 1)[2].mul_(3)
        return y.clamp_(max=1.0)

    close(vmap(f)(x), loop(f, x))


def test_strided_views_inside():
    def f(a):
        b = a.clone()
        b.fill_diagonal_(0)
        b.diagonal(1).add_(5.0)
        fanal.as_strided(b, (2,), (5,), 1).mul_(2.0)
        return b

    a = fanal.randn(3, 4, 4, requires_grad=True)
    close(vmap(f)(a), loop(f, a))
    grads = [fanal.autograd.grad(y.square().sum(), a)[0] for y in (vmap(f)(a), loop(f, a))]
    close(*grads)


def test_writes_to_arguments_reach_the_caller(x):
    before = x.clone()
    close(vmap(lambda a: a.add_(1) * 2)(x), (before + 1) * 2)
    close(x, before + 1)
    vmap(lambda a: a[0].zero_(), in_dims=1)(x)
    close(x[0], fanal.zeros(4))


def test_writes_to_tensors_from_outside(x):
    count = fanal.zeros(())
    vmap(lambda a: (count.add_(1), a)[1])(x)
    assert count.item() == 1
    table = fanal.zeros(3)

    def f(a):
        table[1:].add_(2.0)
        return a

    vmap(f)(x)
    close(table, fanal.tensor([0.0, 2.0, 2.0]))
    with pytest.raises(RuntimeError, match="a value of each sample is written to a tensor that is one"):
        vmap(lambda a: count.add_(a.sum()))(x)


def test_one_memory_under_two_names_is_refused_where_it_is_written_to(x):
    with pytest.raises(RuntimeError, match="under another name"):
        vmap(lambda a, b: (a.add_(1), b * 1)[1])(x, x)
    parts = fanal.zeros(2, 3, 4)
    vmap(lambda a, b: a.add_(b + 1))(parts[0], parts[1])
    close(parts, fanal.stack([fanal.ones(3, 4), fanal.zeros(3, 4)]))


def test_values_that_do_not_depend_on_the_samples_can_be_looked_at(x):
    w = fanal.tensor([1.0, 2.0])

    def f(a):
        if (w * 2).sum().item() > 3 and w[0] < 2:
            return a * (w + 1)[0].item()
        return a

    close(vmap(f)(x), x * 2)


def test_elements_of_samples_are_refused_at_the_users_line(x):
    for look in (lambda a: a.sum().item(), lambda a: bool(a.sum() > 0), lambda a: a.tolist(),
                 lambda a: a[a > 0], lambda a: a.numpy()):  # fmt: skip
        with pytest.raises(RuntimeError, match=r"\[vmap\] the function asks for the value.*fanal.where") as e:
            vmap(look)(x)
        assert any(str(entry.path) == __file__ for entry in e.traceback[1:])


def test_a_mask_with_one_value_is_fine(x):
    def f(a):
        b = a.clone()
        b[a > 0] = 5.0
        return b

    close(vmap(f)(x), fanal.where(x > 0, 5.0, x))


def test_a_traced_tensor_can_be_printed(x):
    texts = []
    vmap(lambda a: (texts.append(repr(a)), a)[1])(x)
    assert texts == ["tensor(..., shape=(4,), dtype=fanal.float32, traced by vmap)"]


def test_tensors_must_not_leave_the_function(x):
    kept = []
    vmap(lambda a: (kept.append(a * 2), a)[1])(x)
    with pytest.raises(RuntimeError, match="used after it has ended"):
        kept[0].sum().item()


def test_an_error_inside_leaves_everything_as_it_was(x):
    def f(a):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        vmap(grad(f))(x)
    x.requires_grad_()
    x.sum().backward()  # not inside of a transform any more
    close(vmap(lambda a: a * 2)(x), x * 2)


# -- random numbers ------------------------------------------------------------------------------------


def test_random_numbers_are_refused_unless_meant(x):
    for draw in (lambda a: a + fanal.rand(4), lambda a: fanal.nn.functional.dropout(a, 0.5)):
        with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
            vmap(draw)(x)


def test_randomness_same():
    got = vmap(lambda a: a + fanal.randn(2), randomness="same")(fanal.zeros(5, 2))
    close(got, got[0].expand(5, 2))


def test_randomness_different_is_reproducible():
    def f(a):
        return a + fanal.rand(1000) + fanal.rand(1000)

    fanal.manual_seed(3)
    one = vmap(f, randomness="different")(fanal.zeros(4, 1000))
    fanal.manual_seed(3)
    close(vmap(f, randomness="different")(fanal.zeros(4, 1000)), one)
    assert len({float(r[0]) for r in one}) == 4
    rows = one - one.mean(1, keepdim=True)
    correlation = (rows @ rows.T) / (rows.square().sum(1).sqrt()[:, None] * rows.square().sum(1).sqrt())
    assert float((correlation - fanal.eye(4)).abs().max()) < 0.15
    assert abs(float(one.mean()) - 1) < 0.05
    next_ = vmap(f, randomness="different")(fanal.zeros(4, 1000))
    assert float((next_ - one).abs().max()) > 0.1


def test_randomness_nested():
    def f(a):
        return a + fanal.rand(())

    x = fanal.zeros(3, 2)
    both = vmap(vmap(f, randomness="different"), randomness="different")(x)
    assert len(set(both.flatten().tolist())) == 6
    inner = vmap(vmap(f, randomness="different"), randomness="same")(x)
    close(inner, inner[0].expand(3, 2))
    outer = vmap(vmap(f, randomness="same"), randomness="different")(x)
    close(outer, outer[:, :1].expand(3, 2))
    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(vmap(f, randomness="different"))(x)


def test_randomness_in_chunks_and_shapes():
    same = vmap(lambda a: fanal.rand(2), randomness="same", chunk_size=2)(fanal.zeros(5))
    close(same, same[0].expand(5, 2))
    for draw in (lambda: fanal.randint(0, 1000, (8,)), lambda: fanal.randperm(50),
                 lambda: fanal.normal(fanal.zeros(8), 1.0), lambda: fanal.bernoulli(fanal.full((64,), 0.5)),
                 lambda: fanal.multinomial(fanal.ones(40), 20)):  # fmt: skip
        got = vmap(lambda a: draw(), randomness="different")(fanal.zeros(3))
        assert not bool((got[0] == got[1]).all())
        assert got.dtype is draw().dtype


# -- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: vmap(lambda a, b: a, (0, 1))(x, x), ValueError,
         r"same size in the mapped dimension, got sizes \[3, 4\]"),
        (lambda x: vmap(lambda a: a, None)(x), ValueError, "expected `in_dims` to be int or"),
        (lambda x: vmap(lambda a: a, (None,))(x), ValueError, "at least one Tensor to vmap over"),
        (lambda x: vmap(lambda: x)(), ValueError, "got no inputs"),
        (lambda x: vmap(lambda a, b: a)(x, 2), ValueError, "input is of type <class 'int'>"),
        (lambda x: vmap(lambda a: a, "a")(x), ValueError, "expected `in_dims` to be int or"),
        (lambda x: vmap(lambda a: a, [0])(x), ValueError, "expected `in_dims` to be int or"),
        (lambda x: vmap(lambda a: a, (0, 0))(x), ValueError,
         r"in_dims has structure \(\*, \*\) but inputs has structure \(\*,\)"),
        (lambda x: vmap(lambda a: a, ({"x": 0},))({"y": x}), ValueError, "not compatible with the structure"),
        (lambda x: vmap(lambda a: a, (0.5,))(x), ValueError, "in_dim must be either an integer"),
        (lambda x: vmap(lambda a: a, 3)(x), ValueError, "dimensionality 2 so expected in_dim to satisfy"),
        (lambda x: vmap(lambda a: 3.0)(x), ValueError, "must only return Tensors, got type <class 'float'>"),
        (lambda x: vmap(lambda a: None)(x), ValueError, "must only return Tensors"),
        (lambda x: vmap(lambda a: a, out_dims=None)(x), ValueError, "can not return a BatchedTensor when"),
        (lambda x: vmap(lambda a: (a, a), out_dims=(0, 0, 0))(x), ValueError, "out_dims is not compatible"),
        (lambda x: vmap(lambda a: a, out_dims=(0, 0))(x), ValueError, "out_dims is not compatible"),
        (lambda x: vmap(lambda a: a, out_dims="a")(x), ValueError, "`out_dims` must be an int, None"),
        (lambda x: vmap(lambda a: a, out_dims=3)(x), IndexError, r"out_dims is out of range: got 3"),
        (lambda x: vmap(lambda a: a, chunk_size=0), ValueError, "chunk_size should be None or greater"),
        (lambda x: vmap(lambda a: a, randomness="x"), RuntimeError, "Only allowed values for randomness"),
        (lambda x: vmap(lambda a: (a * x).sum().backward())(x.requires_grad_()), RuntimeError,
         r"\[backward\] backward\(\) is called inside of a function transform"),
    ],
)  # fmt: skip
def test_errors(x, call, error, text):
    with pytest.raises(error, match=text):
        call(x)


def test_a_message_names_the_function(x):
    def mine(a):
        return 3

    with pytest.raises(ValueError, match=r"vmap\(mine, ...\): `mine` must only return Tensors"):
        vmap(mine)(x)


def test_it_stands_at_the_top():
    assert fanal.vmap is vmap
    assert vmap(fanal.sin).__name__ == "sin"
