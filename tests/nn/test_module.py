"""Modules: registration, names, state, copies, hooks. The expected values are PyTorch's."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import fanal
from fanal import nn


class Net(nn.Module):
    """Parameters, buffers of both kinds, children, and one child under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 3)
        self.b = nn.BatchNorm1d(3)
        self.shared = self.a
        self.register_buffer("seen", fanal.arange(3.0))
        self.register_buffer("empty", None)
        self.register_buffer("hidden", fanal.ones(1), persistent=False)
        self.w = nn.Parameter(fanal.zeros(2))
        self.register_parameter("none", None)

    def forward(self, x: Any, scale: float = 1.0) -> Any:
        return self.b(self.a(x)) * scale + self.seen


def names(pairs: Any) -> list[str]:
    return [name for name, _ in pairs]


def test_names() -> None:
    net = Net()
    own = ["w", "a.weight", "a.bias", "b.weight", "b.bias"]
    assert names(net.named_parameters()) == own
    assert names(net.named_parameters(remove_duplicate=False))[5:] == ["shared.weight", "shared.bias"]
    assert names(net.named_parameters(prefix="x", recurse=False)) == ["x.w"]
    statistics = ["b.running_mean", "b.running_var", "b.num_batches_tracked"]
    assert names(net.named_buffers()) == ["seen", "hidden", *statistics]
    assert names(net.named_modules()) == ["", "a", "b"]
    assert names(net.named_children()) == ["a", "b"]
    assert list(net.state_dict()) == [
        "w", "seen", "a.weight", "a.bias", "b.weight", "b.bias", *statistics,
        "shared.weight", "shared.bias",
    ]  # fmt: skip


def test_state_is_loaded_and_checked() -> None:
    net, other = Net(), Net()
    assert str(net.load_state_dict(other.state_dict())) == "<All keys matched successfully>"
    assert fanal.equal(net.a.weight, other.a.weight)
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "w", "seen"'):
        net.load_state_dict({})
    with pytest.raises(RuntimeError, match="size mismatch for w"):
        net.load_state_dict({**net.state_dict(), "w": fanal.zeros(3)})
    found = net.load_state_dict({"w": fanal.ones(2), "other": fanal.ones(1)}, strict=False)
    assert found.unexpected_keys == ["other"] and "a.weight" in found.missing_keys
    assert net.w.tolist() == [1.0, 1.0]


def test_state_of_the_users_own() -> None:
    class Extra(nn.Module):
        got = None

        def get_extra_state(self) -> Any:
            return {"v": 3}

        def set_extra_state(self, state: Any) -> None:
            self.got = state

    extra = Extra()
    assert dict(extra.state_dict()) == {"_extra_state": {"v": 3}}
    extra.load_state_dict({"_extra_state": {"v": 4}})
    assert extra.got == {"v": 4}


def test_assignments_are_checked() -> None:
    net = Net()
    with pytest.raises(TypeError, match="as parameter 'w'"):
        net.w = fanal.zeros(2)
    with pytest.raises(TypeError, match="as child module 'a'"):
        net.a = 3
    with pytest.raises(KeyError, match="already exists"):
        net.register_buffer("w", None)
    with pytest.raises(KeyError, match="t contain"):
        net.register_buffer("a.b", None)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = net.nothing
    with pytest.raises(NotImplementedError, match='missing the required "forward"'):
        nn.Module()(1)


def test_copies_are_apart() -> None:
    net = Net()
    other = copy.deepcopy(net)
    other.w.data += 1
    assert net.w.tolist() == [0.0, 0.0] and other.w.tolist() == [1.0, 1.0]
    assert other.a is other.shared and other.a is not net.a
    again = pickle.loads(pickle.dumps(net))
    assert fanal.equal(again.a.weight, net.a.weight) and again.a is again.shared


def test_modes_and_dtypes() -> None:
    net = Net().double()
    assert net.w.dtype is net.b.running_mean.dtype is fanal.float64
    assert net.b.num_batches_tracked.dtype is fanal.int64
    assert not net.eval().b.training and net.train().b.training
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())
    with pytest.raises(TypeError, match="only accepts floating point"):
        net.to(fanal.int32)


def test_forward_hooks() -> None:
    net, log = Net(), []
    x = fanal.tensor([[1.0, 2.0], [3.0, 5.0]])
    plain = net.eval()(x * 2, scale=2.0) + 1
    handles = [
        net.register_forward_pre_hook(lambda m, args: log.append("before") or (args[0] * 2,)),
        net.register_forward_hook(lambda m, args, out: log.append("after") or out + 1),
        net.register_forward_hook(
            lambda m, args, kwargs, out: log.append(kwargs["scale"]), with_kwargs=True
        ),
    ]
    assert fanal.equal(net(x, scale=2.0), plain)
    assert log == ["before", "after", 2.0]
    for handle in handles:
        handle.remove()
    assert fanal.equal(net(x * 2, scale=2.0) + 1, plain) and len(log) == 3


def test_backward_hooks() -> None:
    layer, log = nn.Linear(2, 3), []
    layer.register_full_backward_pre_hook(lambda m, grads: log.append(grads[0].shape) or None)
    layer.register_full_backward_hook(lambda m, inputs, outputs: (inputs[0] * 10,))
    x = fanal.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert log == [(1, 3)]
    assert fanal.allclose(x.grad, layer.weight.sum(0, keepdim=True) * 10)


def test_lazy_layers_learn_their_shape() -> None:
    net = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d())
    assert "LazyLinear(in_features=0" in repr(net)
    net(fanal.ones(2, 5))
    assert repr(net[0]) == "Linear(in_features=5, out_features=3, bias=True)"
    assert type(net[1]) is nn.BatchNorm1d and net[0].weight.shape == (3, 5)


def test_containers_change() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    net.append(nn.Linear(2, 1)).insert(1, nn.Tanh())
    net.extend([nn.Identity()])
    kinds = [type(m).__name__ for m in net]
    assert kinds == ["Linear", "Tanh", "ReLU", "Linear", "Identity"]
    del net[1]
    net[0] = nn.Identity()
    assert [type(m).__name__ for m in net[:2]] == ["Identity", "ReLU"] and len(net) == 4
    table = nn.ModuleDict({"x": nn.ReLU()})
    table.update({"y": nn.ELU()})
    assert list(table) == ["x", "y"] and isinstance(table.pop("x"), nn.ReLU) and len(table) == 1


def test_pytorchs_paths() -> None:
    from fanal.nn.modules.instancenorm import _InstanceNorm
    from fanal.nn.modules.module import Module
    from fanal.nn.modules.utils import _pair

    from fanal.nn.modules.activation import MultiheadAttention
    from fanal.nn.modules.batchnorm import _BatchNorm

    assert MultiheadAttention is nn.MultiheadAttention and Module is nn.Module
    assert issubclass(nn.BatchNorm2d, _BatchNorm) and issubclass(nn.InstanceNorm1d, _InstanceNorm)
    assert _pair(3) == (3, 3) and _pair((1, 2)) == (1, 2)
    assert fanal.utils.data.DataLoader is not None
