"""Functions whose Python asks for values of tensors: a call compiled, eagerly, and on PyTorch where it is.

    python -m benchmarks.asking [case ...]

Calls are made in turn, one thread; medians in microseconds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import fanal

ROUNDS = 400


def one_if(fw: Any) -> Any:
    def function(x: Any) -> Any:
        if x.sum() > 3:
            return x * 2
        return x - 1

    return function, fw.ones(8)


def returns_a_float(fw: Any) -> Any:
    return lambda x: (x * x).sum().item(), fw.ones(8)


def boolean_mask(fw: Any) -> Any:
    return lambda x: x[x > 0] * 2, fw.tensor([1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 4.0, -4.0])


def training(fw: Any, clip: bool) -> Any:
    layers = []
    for _ in range(10):
        layers += [fw.nn.Linear(16, 16), fw.nn.ReLU()]
    net = fw.nn.Sequential(*layers)
    parameters = list(net.parameters())
    optimizer = fw.optim.SGD(parameters, lr=1e-3)
    y = fw.zeros(4, 16)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = fw.nn.functional.mse_loss(net(x), y)
        loss.backward()
        if clip:
            norm = fw.stack([p.grad.pow(2).sum() for p in parameters]).sum().sqrt()
            if norm > 0.01:
                for p in parameters:
                    p.grad.mul_(0.01 / (norm + 1e-6))
        optimizer.step()
        if not clip and loss.item() > 10:
            raise ValueError("it diverges")
        return loss

    return step, fw.ones(4, 16)


def training_step(fw: Any) -> Any:
    return training(fw, False)


def clipped_by_hand(fw: Any) -> Any:
    return training(fw, True)


def hundred_parameters(fw: Any) -> Any:
    layers = [fw.nn.Linear(4, 4) for _ in range(50)]

    def function(x: Any) -> Any:
        with fw.no_grad():
            out = fw.stack([layer(x) for layer in layers]).sum(0)
            if out.sum() > 1e9:
                return out * 2
            return out + 1

    return function, fw.ones(1, 4)


def loop_of_100(fw: Any) -> Any:
    def function(x: Any) -> Any:
        error = x.sum()
        while error > 1:
            x = x * 0.97
            error = x.sum()
        return x

    return function, fw.full((8,), 2.6)


CASES = [one_if, returns_a_float, boolean_mask, training_step, clipped_by_hand, hundred_parameters, loop_of_100]


def medians(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Of each call, made in turn."""
    for call in calls.values():
        for _ in range(30):  # past the launches that are timed
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(found) * 1e6 for name, found in times.items()}


def main() -> None:
    """Print a table."""
    fanal.set_num_threads(1)
    frameworks: dict[str, Any] = {"eager": fanal}
    try:
        import torch

        torch.set_num_threads(1)
        frameworks["PyTorch"] = torch
    except ImportError:
        pass
    for make in CASES:
        if len(sys.argv) > 1 and make.__name__ not in sys.argv:
            continue
        calls = {}
        for name, fw in frameworks.items():
            fw.manual_seed(0)
            function, x = make(fw)
            calls[name] = lambda function=function, x=x: function(x)
        fanal.manual_seed(0)
        function, x = make(fanal)
        compiled = fanal.compile(function)
        calls["compiled"] = lambda compiled=compiled, x=x: compiled(x)
        found = medians(calls)
        print(f"{make.__name__:20}" + "".join(f"{name:>10} {found[name]:8.1f} µs" for name in found))


if __name__ == "__main__":
    main()
