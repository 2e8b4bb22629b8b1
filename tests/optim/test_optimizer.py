"""The base class: groups, hooks, state, saving; and what a step costs in programs."""

from __future__ import annotations

import collections
import warnings
from typing import Any

import numpy as np
import pytest

import fanal
from fanal import optim
from fanal.tensor import update as update_module

ALL = [
    optim.ASGD, optim.Adadelta, optim.Adafactor, optim.Adagrad, optim.Adam, optim.AdamW,
    optim.Adamax, optim.NAdam, optim.RAdam, optim.RMSprop, optim.Rprop, optim.SGD,
    optim.SparseAdam,
]  # fmt: skip


def leaf(*shape: int, value: float = 1.0) -> Any:
    return fanal.full(shape, value).requires_grad_()


def with_grads(*params: Any) -> list[Any]:
    for i, p in enumerate(params):
        p.grad = fanal.full(tuple(p.shape), 0.5 + i)
    return list(params)


# -- groups -------------------------------------------------------------------------------------------


def test_groups_take_their_own_options_and_the_defaults() -> None:
    a, b, c = leaf(2), leaf(3), leaf(4)
    o = optim.SGD([{"params": a, "lr": 0.5}, {"params": [b, c], "momentum": 0.9}], lr=0.1)
    assert [g["lr"] for g in o.param_groups] == [0.5, 0.1]
    assert [g["momentum"] for g in o.param_groups] == [0, 0.9]
    assert [id(p) for p in o.param_groups[1]["params"]] == [id(b), id(c)]
    o.add_param_group({"params": iter([leaf(5)])})
    assert len(o.param_groups) == 3 and len(o.param_groups[2]["params"]) == 1


def test_named_parameters() -> None:
    o = optim.SGD([("w", leaf(2)), ("b", leaf(1))], lr=0.1)
    assert o.param_groups[0]["param_names"] == ["w", "b"]
    assert o.state_dict()["param_groups"][0]["param_names"] == ["w", "b"]
    with pytest.raises(ValueError, match="with/without names"):
        o.add_param_group({"params": [leaf(2)]})
    with pytest.raises(ValueError, match="names are missing"):
        optim.SGD([("w", leaf(2)), leaf(1)], lr=0.1)


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        (lambda: leaf(2), TypeError, "iterable of Tensors or dicts"),
        (lambda: [], ValueError, "empty parameter list"),
        (lambda: [{"params": {leaf(2)}}], TypeError, "ordered collections"),
        (lambda: [3.0], TypeError, "can only optimize Tensors"),
        (lambda: [leaf(2) * 2], ValueError, "non-leaf"),
    ],
)
def test_wrong_parameters(params: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        optim.SGD(params(), lr=0.1)


def test_a_parameter_in_two_groups() -> None:
    p = leaf(2)
    with pytest.raises(ValueError, match="more than one parameter group"):
        optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1)


def test_a_parameter_twice_in_a_group_is_stepped_twice() -> None:
    (p,) = with_grads(leaf(2))
    with pytest.warns(UserWarning, match="duplicate parameters"):
        o = optim.SGD([p, p], lr=0.1)
    o.step()
    assert np.allclose(p.tolist(), 1 - 2 * 0.1 * 0.5)


def test_a_required_option() -> None:
    from fanal.optim.optimizer import required

    class Mine(optim.Optimizer):
        pass

    with pytest.raises(ValueError, match="required optimization parameter lr"):
        Mine([leaf(2)], {"lr": required})
    with pytest.raises(NotImplementedError):
        Mine([leaf(2)], {"lr": 1}).step()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda p: optim.SGD(p, lr=-1), r"\[SGD\] Invalid learning rate: got -1"),
        (lambda p: optim.SGD(p, momentum=-1), "Invalid momentum value"),
        (lambda p: optim.SGD(p, nesterov=True), "Nesterov momentum requires a momentum"),
        (lambda p: optim.AdamW(p, betas=(0.9, 1.0)), r"\[AdamW\] Invalid beta parameter at index 1"),
        (lambda p: optim.Adam(p, eps=-1), "Invalid epsilon value"),
        (lambda p: optim.Adam(p, lr=fanal.ones(2)), "Tensor lr must be 1-element"),
        (lambda p: optim.Rprop(p, etas=(1.5, 2)), "Invalid eta values"),
        (lambda p: optim.Adadelta(p, rho=2), "Invalid rho value"),
        (lambda p: optim.Adafactor(p, d=0.5), "clipping threshold"),
        (lambda p: optim.Muon(p), "only supports 2D parameters"),
        (lambda p: optim.LBFGS([{"params": p}, {"params": [leaf(1)]}]), "per-parameter options"),
        (lambda p: optim.SparseAdam(p, lr=0.0), "Invalid learning rate"),
    ],
)
def test_options_out_of_range(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make([leaf(3)])


def test_repr() -> None:
    text = repr(optim.SGD([leaf(2)], lr=0.1))
    lines = text.splitlines()
    assert lines[0] == "SGD (" and lines[1] == "Parameter Group 0" and lines[-1] == ")"
    assert "    lr: 0.1" in lines and lines[2:-1] == sorted(lines[2:-1])


# -- stepping -----------------------------------------------------------------------------------------


def test_closure() -> None:
    p = leaf(2)
    o = optim.SGD([p], lr=0.1)

    def closure() -> Any:
        o.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with fanal.no_grad():
        loss = o.step(closure)
    assert float(loss.detach()) == 2 and np.allclose(p.tolist(), 0.8)


def test_zero_grad() -> None:
    (p,) = with_grads(leaf(2))
    o = optim.SGD([p], lr=0.1)
    g = p.grad
    o.zero_grad(set_to_none=False)
    assert p.grad is g and g.tolist() == [0, 0]
    o.zero_grad()
    assert p.grad is None
    o.step()
    assert p.tolist() == [1, 1]


@pytest.mark.parametrize("cls", ALL)
def test_one_program_a_step_and_none_for_a_new_rate(cls: Any) -> None:
    params = with_grads(leaf(3), leaf(2), leaf(7), leaf(1))
    o = cls(params)
    o.step()
    o.step()
    before = len(update_module._programs)
    launches = []
    launch, update_module.launch = update_module.launch, lambda *a: launches.append(0) or launch(*a)
    try:
        for rate in (0.5, 0.25, 1e-3):
            for group in o.param_groups:
                group["lr"] = rate
            o.step()
    finally:
        update_module.launch = launch
    assert len(launches) == 3
    assert len(update_module._programs) == before


@pytest.mark.parametrize("cls", [*ALL, optim.Muon])
def test_layouts(cls: Any) -> None:
    """Strides of parameters and gradients don't change the numbers; parts of storages work."""
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((2, 4, 6)).astype(np.float32)
    plain, turned = fanal.tensor(x), fanal.tensor(x.T.copy()).t()
    part = fanal.zeros(6, 8)[1:5, 1:7]
    part.copy_(plain)
    results = []
    for p, grad in ((plain, g), (turned, g.T.copy()), (part, g)):
        p.requires_grad_()
        p.grad = fanal.tensor(grad) if grad.shape == (4, 6) else fanal.tensor(grad).t()
        o = cls([p])
        o.step()
        o.step()
        results.append(p.detach().numpy().copy())
    if cls in (optim.Adafactor, optim.Muon):  # sums over dimensions in another order
        np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


def test_a_missing_gradient_keeps_the_counter() -> None:
    a, b = with_grads(leaf(2), leaf(3))
    o = optim.Adam([a, b])
    o.step()
    kept = o.state[b]["step"]
    b.grad = None
    o.step()
    with_grads(a, b)
    o.step()
    assert float(o.state[a]["step"]) == 3 and float(o.state[b]["step"]) == 2
    assert o.state[b]["step"] is kept and kept.shape == () and kept.dtype is fanal.float32


def test_a_counter_set_by_hand() -> None:
    a, b = with_grads(leaf(2), leaf(3))
    o = optim.Adam([a, b])
    o.step()
    o.state[a]["step"].zero_()
    o.state[b]["step"] = fanal.tensor(7.0)
    o.step()
    assert [float(o.state[p]["step"]) for p in (a, b)] == [1, 8]


def test_state_taken_away_by_hand() -> None:
    a, b = with_grads(leaf(2), leaf(3))
    o = optim.Adam([a, b])

    def steps() -> list[float]:
        o.step()
        return [float(o.state[p]["step"]) for p in (a, b)]

    assert steps() == [1, 1] and steps() == [2, 2]
    o.state.clear()
    assert steps() == [1, 1]
    del o.state[a]
    assert steps() == [1, 2]
    o.state[b] = {}
    assert steps() == [2, 1]
    o.state.pop(a)
    assert steps() == [1, 2]
    o.state = collections.defaultdict(dict)
    assert steps() == [1, 1] and steps() == [2, 2]
    o.state[a]["exp_avg"] = fanal.full((2,), 1e6)
    o.step()
    assert a[0].item() < -0.001
    assert isinstance(optim.SGD([a]).state, collections.defaultdict)


def test_options_changed_by_hand() -> None:
    (p,) = with_grads(leaf(2))
    o = optim.SGD([p], lr=0.1)
    o.step()
    o.param_groups[0]["momentum"] = 0.9
    o.step()
    o.step()
    assert "momentum_buffer" in o.state[p]
    assert np.allclose(p.tolist(), 1 - 0.1 * 0.5 * (1 + 1 + 1.9))
    o.param_groups[0]["params"].append(with_grads(leaf(1))[0])
    o.step()
    assert len(o.state) == 2


def test_versions_are_counted() -> None:
    (p,) = with_grads(leaf(2))
    x = fanal.ones(2, requires_grad=True)
    y = (p * x).sum()  # saves p
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="in-place|in place|modified"):
        y.backward()


def test_tensor_rate_is_read_each_step() -> None:
    (p,) = with_grads(leaf(1))
    rate = fanal.tensor(0.5)
    o = optim.SGD([p], lr=rate)
    o.step()
    rate.fill_(0.25)
    o.step()
    assert np.allclose(p.tolist(), 1 - 0.5 * 0.75)


def test_differentiable() -> None:
    """A gradient flows through a step to the gradient's own inputs."""
    w = fanal.tensor([1.0, 2.0], requires_grad=True)
    p = w.clone()
    scale = fanal.tensor(3.0, requires_grad=True)
    o = optim.SGD([p], lr=0.1, momentum=0.9, differentiable=True)
    for _ in range(2):
        p.grad = scale * fanal.tensor([1.0, -2.0])
        o.step()
    p.sum().backward()
    # Both steps: Σp = Σw - 0.1·(1 + 1.9)·scale·Σg
    assert np.allclose(float(scale.grad), -0.1 * 2.9 * -1.0) and w.grad.tolist() == [1, 1]


def test_differentiable_adam() -> None:
    def result(scale: Any, kind: Any) -> Any:
        p = (scale * 0 + fanal.tensor([1.0, 2.0], dtype=fanal.float64)).clone()
        o = kind([p], lr=0.1, differentiable=True)
        for k in range(3):
            p.grad = scale * scale * (k + 1.0) * p.clone()  # p itself is written to
            o.step()
        return p.sum()

    for kind in (optim.Adam, optim.RMSprop, optim.NAdam, optim.RAdam):
        x = fanal.tensor(1.3, dtype=fanal.float64, requires_grad=True)
        result(x, kind).backward()
        e = 1e-6
        up, down = (float(result(x.detach() + d, kind).detach()) for d in (e, -e))
        assert np.isclose(float(x.grad), (up - down) / (2 * e), rtol=1e-5, atol=1e-8), kind


# -- hooks ----------------------------------------------------------------------------------------------


def test_step_hooks() -> None:
    (p,) = with_grads(leaf(1))
    o = optim.SGD([p], lr=0.1)
    seen: list[str] = []
    handles = [
        optim.register_optimizer_step_pre_hook(lambda o, a, k: seen.append("every before")),
        o.register_step_pre_hook(lambda o, a, k: seen.append("before")),
        o.register_step_post_hook(lambda o, a, k: seen.append("after")),
        optim.register_optimizer_step_post_hook(lambda o, a, k: seen.append("every after")),
    ]
    o.step()
    assert seen == ["every before", "before", "after", "every after"]
    for h in handles:
        h.remove()
    o.step()
    assert len(seen) == 4
    o.register_step_pre_hook(lambda o, a, k: (a, {"closure": lambda: 42}))
    assert o.step() == 42
    o.register_step_pre_hook(lambda o, a, k: "wrong")
    with pytest.raises(RuntimeError, match="pre hook"):
        o.step()


def test_a_subclass_calling_super_runs_hooks_once() -> None:
    class Mine(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    (p,) = with_grads(leaf(1))
    o = Mine([p], lr=0.1)
    count = []
    o.register_step_post_hook(lambda *a: count.append(1))
    o.step()
    assert len(count) == 1


def test_state_dict_hooks() -> None:
    (p,) = with_grads(leaf(1))
    o = optim.SGD([p], lr=0.1)
    order: list[str] = []
    o.register_state_dict_pre_hook(lambda o: order.append("second"))
    o.register_state_dict_pre_hook(lambda o: order.append("first"), prepend=True)
    o.register_state_dict_post_hook(lambda o, d: {**d, "more": 1})
    saved = o.state_dict()
    assert order == ["first", "second"] and saved["more"] == 1
    o.register_load_state_dict_pre_hook(lambda o, d: order.append("pre"))
    o.register_load_state_dict_post_hook(lambda o: order.append("post"))
    o.load_state_dict(saved)
    assert order[2:] == ["pre", "post"]


def test_no_warning_when_all_is_well() -> None:
    (p,) = with_grads(leaf(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optim.AdamW([p], foreach=True, capturable=True).step()
