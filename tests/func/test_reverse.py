"""`grad` and its kind: closed forms, nesting, what stays on the tape and what leaves it."""

from __future__ import annotations

import pytest

import fanal
from fanal.func import grad, grad_and_value, jacrev, jvp, value_and_grad, vjp, vmap
from tests.func.check import close


@pytest.fixture
def x():
    return fanal.tensor([0.3, -1.2, 0.7])


def test_gradients_in_the_arguments_structure(x):
    def f(d, y, n):
        return (d["a"] * d["b"][0] * y).sum() * n

    args = ({"a": x, "b": [x * 2]}, x * 3, 2)
    close(grad(f)(*args), {"a": x * x * 12, "b": [x * x * 6]})
    close(grad(f, argnums=1)(*args), x * x * 4)
    close(grad(f, argnums=(1, 0))(*args), (x * x * 4, {"a": x * x * 12, "b": [x * x * 6]}))
    close(grad(f, argnums=-2)(*args), x * x * 4)


def test_values_and_aux(x):
    def f(a, b=1.0):
        return (a * a).sum() * b, (a * 2, {"k": a.sum()})

    value, aux = (x * x).sum() * 3, (x * 2, {"k": x.sum()})
    close(grad(f, has_aux=True)(x, b=3.0), (x * 6, aux))
    close(grad_and_value(f, has_aux=True)(x, b=3.0), (x * 6, (value, aux)))
    close(value_and_grad(f, has_aux=True)(x, b=3.0), ((value, aux), x * 6))
    close(grad_and_value(lambda a: f(a)[0])(x), (x * 2, (x * x).sum()))
    close(value_and_grad(lambda a: f(a)[0])(x), ((x * x).sum(), x * 2))


def test_what_has_no_part_has_zeros(x):
    close(grad(lambda a, b: a.sum(), argnums=1)(x, x), fanal.zeros(3))
    close(grad(lambda a: fanal.ones(()))(x), fanal.zeros(3))
    close(grad(lambda a: a.floor().sum())(x), fanal.zeros(3))


def test_higher_orders():
    f = lambda a: a**5
    a = fanal.tensor(1.5, dtype=fanal.float64)
    for order in range(1, 6):
        f = grad(f)
        factor = 1
        for k in range(order):
            factor *= 5 - k
        assert float(f(a)) == pytest.approx(factor * 1.5 ** (5 - order))
    assert float(grad(f)(a)) == 0


def test_no_perturbation_is_taken_for_another():
    one, three = fanal.tensor(1.0), fanal.tensor(3.0)
    close(grad(lambda x: x * grad(lambda y: x + y)(one))(three), one)
    close(grad(lambda x: x * grad(lambda y: x * y)(one))(three), fanal.tensor(6.0))
    close(jvp(lambda x: x * jvp(lambda y: x * y, (one,), (one,))[1], (three,), (one,))[1], fanal.tensor(6.0))
    x = fanal.tensor(2.0, requires_grad=True)
    close(grad(lambda y: vmap(lambda a: a * y * x)(fanal.ones(3)).sum())(x), fanal.tensor(6.0))


def test_vjp(x):
    out, pull = vjp(lambda a, b: {"p": a * b, "s": (a.sum(),)}, x, x * 2)
    close(out, {"p": x * x * 2, "s": (x.sum(),)})
    close(pull({"p": x, "s": (fanal.tensor(3.0),)}), (x * x * 2 + 3, x * x))
    close(pull({"p": x, "s": (fanal.tensor(0.0),)}), (x * x * 2, x * x))  # as often as one likes
    out, pull, aux = vjp(lambda a: (a.sin(), a * 2), x, has_aux=True)
    close((out, pull(x)[0], aux), (x.sin(), x * x.cos(), x * 2))


def test_vjp_functions_can_be_mapped_and_derived(x):
    _, pull = vjp(lambda a: a**3, x)
    close(vmap(pull)(fanal.eye(3))[0], fanal.diag(3 * x**2))
    close(grad(lambda u: (pull(u)[0] ** 2).sum())(x), 2 * x * 9 * x**4, 1e-5)
    close(jvp(lambda u: pull(u)[0], (x,), (x,))[1], x * 3 * x**2)


# -- the tape outside ------------------------------------------------------------------------------------


def test_results_are_off_the_tape_unless_something_outside_is_on_it(x):
    g, (value, aux) = grad_and_value(lambda a: ((a * a).sum(), a * 2), has_aux=True)(x)
    assert not (g.requires_grad or value.requires_grad or aux.requires_grad)
    out, pull = vjp(fanal.sin, x)
    assert not out.requires_grad
    assert not pull(x)[0].requires_grad
    w = fanal.tensor([1.0, 2.0, 3.0], requires_grad=True)
    g, value = grad_and_value(lambda a: (a * a * w).sum())(x)
    assert g.requires_grad and value.requires_grad
    (g.sum() + value).backward()
    close(w.grad, 2 * x + x * x)


def test_gradients_of_gradients_reach_the_arguments():
    x = fanal.tensor([0.5, 2.0], requires_grad=True)
    g = grad(lambda a: (a**3).sum())(x)
    g.sum().backward()
    close(x.grad, 6 * x.detach())


def test_no_grad_outside_is_ignored_and_inside_respected(x):
    def f(a):
        with fanal.no_grad():
            c = a * a
        return (a * 3 - c).sum()

    close(grad(f)(x), fanal.full((3,), 3.0))
    with fanal.no_grad():
        close(grad(f)(x), fanal.full((3,), 3.0))
        close(grad(lambda a: (a * a).sum())(x), 2 * x)
        close(vmap(grad(lambda a: a * a))(x), 2 * x)
        w = x.clone().requires_grad_()
        assert not grad(lambda a: (a * w).sum())(x).requires_grad
    # Tangents know no such mode.
    close(jvp(f, (x,), (fanal.ones(3),))[1], (3 - 2 * x).sum())


# How the tape sees each of these stands beside it (as PyTorch has it).
def through_detach(a):
    return (a * a.detach() * a.detach()).sum()


def written_detached(a):
    b = a * 2
    b.detach().mul_(10)
    return (b * b).sum()


def written_in_no_grad(a):
    b = a * 2
    with fanal.no_grad():
        b.mul_(10)
    return (b * a).sum()


def detached_then_written(a):
    b = a * 2
    c = b.detach()
    c += 1
    return (c * a).sum()


def detached_leaf(a):
    inner = a.detach().requires_grad_()
    (g,) = fanal.autograd.grad((inner**3).sum(), inner)
    return (g * a).sum()


@pytest.mark.parametrize(
    ("f", "gradient"),
    [
        (through_detach, lambda x: x * x),
        (written_in_no_grad, lambda x: 22 * x),
        (detached_then_written, lambda x: 2 * x + 1),
        (detached_leaf, lambda x: 3 * x * x),
    ],
)
def test_detach_and_no_grad_mean_the_same_in_every_transform(x, f, gradient):
    want = gradient(x)
    close(grad(f)(x), want)
    close(vmap(grad(f))(x[:, None])[:, 0], want)
    close(grad(lambda v: vmap(f)(v).sum())(x[:, None])[:, 0], want)
    if f is not written_in_no_grad:
        close(jvp(f, (x,), (fanal.ones(3),))[1], want.sum())
    traced = x[:, None].clone().requires_grad_()
    vmap(f)(traced).sum().backward()
    close(traced.grad[:, 0], want)


def test_a_write_that_the_tape_does_not_see_keeps_the_derivative(x):
    close(grad(lambda v: vmap(written_detached)(v).sum())(x[:, None])[:, 0], 80 * x)
    close(jvp(written_detached, (x,), (fanal.ones(3),))[1], (80 * x).sum())


def test_elements_can_be_looked_at(x):
    def f(a):
        return (a * a.sum().item()).sum() if a[0] > 0 else a.sum()

    close(grad(f)(x), x.sum().expand(3))
    close(jvp(f, (x,), (fanal.ones(3),))[1], x.sum() * 3)
    close(jacrev(lambda a: a * int(a.max() > 0))(x), fanal.eye(3))


def test_in_place_operations(x):
    def f(a):
        y = a * 2
        y[1:].mul_(a[:-1])
        y += a
        return (y * y).sum()

    want = grad(lambda a: ((fanal.cat([a[:1] * 2, a[1:] * 2 * a[:-1]]) + a) ** 2).sum())(x)
    close(grad(f)(x), want)
    close(vmap(grad(f))(fanal.stack([x, x]))[1], want)
    close(grad(lambda v: vmap(f)(v).sum())(fanal.stack([x, x]))[0], want)
    with pytest.raises(RuntimeError, match="a leaf that requires grad was used in an in-place"):
        grad(lambda a: a.mul_(2).sum())(x)


def test_autograd_grad_inside(x):
    w = fanal.tensor([1.0, 2.0, 3.0], requires_grad=True)

    def f(a):
        (g,) = fanal.autograd.grad((w * a * a).sum(), w, create_graph=True)
        return (g * a).sum()

    close(grad(f)(x), 3 * x * x)
    close(vmap(grad(lambda a: f(a * fanal.ones(3))))(x), 9 * x * x)


def test_hooks_inside(x):
    def f(a):
        y = a * 2
        y.register_hook(lambda g: g * 10)
        return y.sum()

    close(grad(f)(x), fanal.full((3,), 20.0))
    close(vmap(grad(f))(x), fanal.full((3,), 20.0))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: grad(lambda a: a)(x), RuntimeError, "to return a scalar Tensor, got tensor with 1 dims"),
        (lambda x: grad(lambda a: 3.0)(x), RuntimeError, "to return a Tensor, got <class 'float'>"),
        (lambda x: grad(lambda a: a.sum())(x.long()), RuntimeError, "only Tensors of floating point dtype"),
        (lambda x: grad(lambda a: a)(3.0), ValueError, "Thing passed to transform API must be Tensor"),
        (lambda x: grad(lambda a: a.sum(), argnums=2)(x), RuntimeError, "Got argnum=2, but only 1 posit"),
        (lambda x: grad(lambda a: a.sum(), argnums=(0, 0))(x), RuntimeError, "elements must be unique"),
        (lambda x: grad(lambda a: a.sum(), argnums=())(x), RuntimeError, "argnums must be non-empty"),
        (lambda x: grad(lambda a: a.sum(), argnums=[0])(x), RuntimeError, "argnums must be int or Tuple"),
        (lambda x: grad(lambda a: a.sum(), has_aux=True)(x), RuntimeError, "should be a tuple: .output, aux"),
        (lambda x: grad(lambda a: (a.sum(), "hi"), has_aux=True)(x), RuntimeError, "Expected tensors, got"),
        (lambda x: vjp(lambda a: a.argmax(), x), RuntimeError, "All outputs of f must be floating-point"),
        (lambda x: vjp(lambda a: a, x)[1]((x,)), RuntimeError, r"cotangents: \(\*,\), primal output: \*"),
        (lambda x: vjp(lambda a: a, x)[1](x[:2]), RuntimeError, "Mismatch in shape: grad_output"),
        (lambda x: vjp(lambda a: None, x), RuntimeError, "non-empty output"),
        (lambda x: vjp(lambda a: 3.0, x), RuntimeError, "to return only tensors, got unsupported type"),
        (lambda x: grad(lambda a: (a.sum().backward(), a.sum())[1])(x), RuntimeError,
         "inside of a function transform"),
    ],
)  # fmt: skip
def test_errors(x, call, error, text):
    with pytest.raises(error, match=text):
        call(x)
