"""What programs keep between calls follows every change of what it was made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fanal
from fanal import nn
from fanal.compiler import kept
from tests.training import classifying


@pytest.fixture
def network() -> nn.Module:
    fanal.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)).eval()


def halved(net: nn.Module) -> None:
    net.load_state_dict({k: v * 0.5 for k, v in net.state_dict().items()})


def through_an_array(net: nn.Module) -> None:
    array = net[0].weight.detach().numpy()
    array[:] = 1.0


def through_an_address(net: nn.Module) -> None:
    import ctypes

    address = net[0].weight.data_ptr()
    ctypes.c_float.from_address(address).value = 7.0


def another_layer(net: nn.Module) -> None:
    net[2] = nn.Linear(256, 10)


def a_step(net: nn.Module) -> None:
    optimizer = fanal.optim.SGD(net.parameters(), lr=0.1)
    with fanal.inference_mode(False), fanal.enable_grad():
        net(fanal.ones(3, 64)).sum().backward()
        optimizer.step()


def a_compiled_step(net: nn.Module) -> None:
    step = classifying(net, fanal.optim.AdamW(net.parameters(), lr=0.1))
    with fanal.inference_mode(False), fanal.enable_grad():
        for _ in range(3):
            step(fanal.randn(5, 64), fanal.randint(0, 10, (5,)))


CHANGES: list[Callable[[Any], None]] = [
    lambda net: net[0].weight.data.mul_(2.0), halved, through_an_array, through_an_address,
    another_layer, a_step, a_compiled_step,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_a_change_counts(network: nn.Module, change: Callable[[Any], None]) -> None:
    compiled, x = fanal.compile(network, options={"exact": True}), fanal.randn(3, 64)
    with fanal.inference_mode():
        before = compiled(x)
        compiled(x)
    change(network)
    with fanal.inference_mode():
        for _ in range(2):
            after = compiled(x)
            assert fanal.equal(after, network(x))
    assert not fanal.equal(before, after)


def test_memory_that_is_open_to_others_is_read_at_every_call(network: nn.Module) -> None:
    compiled, x = fanal.compile(network, options={"exact": True}), fanal.randn(3, 64)
    array = network[0].weight.detach().numpy()
    with fanal.inference_mode():
        for value in (1.0, 2.0, 3.0):
            array[0] = value
            assert fanal.equal(compiled(x), network(x))


def test_nobody_gets_what_is_being_replaced(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is made anew, other threads must not take the old memory for the new contents."""
    compiled, x = fanal.compile(network), fanal.randn(3, 64)
    stale: list[bool] = []
    original = kept.launch

    with fanal.inference_mode():
        compiled(x)
        (kind,) = compiled._compiled.kinds
        mine = kind.replays[0].kept
        assert mine.filled is not None and mine.filled.same()

        def launch(*words: Any) -> int:
            stale.append(mine.filled.same())
            return original(*words)

        monkeypatch.setattr(kept, "launch", launch)
        network[0].weight.data.mul_(2.0)
        compiled(x)
    assert stale == [False]
