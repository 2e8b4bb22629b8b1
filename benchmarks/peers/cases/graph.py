"""Message passing over a graph: gather at edges' sources, a linear map, add up at their targets.

A batch of graphs is one graph of unconnected parts, as graph libraries make it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.cases.case import Arrays, Case

NODES, EDGES, WIDTH, CLASSES, LAYERS = 2000, 10_000, 64, 8, 3


def build(lib: Any) -> Any:
    """The module."""
    nn = lib.nn

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.message, self.own = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
            self.relu = nn.ReLU()

        def forward(self, x: Any, source: Any, target: Any) -> Any:
            messages = self.relu(self.message(x.index_select(0, source)))
            return self.relu(self.own(x).index_add(0, target, messages))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([Layer() for _ in range(LAYERS)])
            self.head = nn.Linear(WIDTH, CLASSES)

        def forward(self, x: Any, source: Any, target: Any) -> Any:
            for layer in self.layers:
                x = layer(x, source, target)
            return self.head(x)

    return Network()


def forward(o: Any, x: Any, source: Any, target: Any) -> Any:
    """The same over functions."""
    for i in range(LAYERS):
        messages = o.relu(o.linear(o.take(x, source), f"layers.{i}.message"))
        x = o.relu(o.add_at(o.linear(x, f"layers.{i}.own"), target, messages))
    return o.linear(x, "head")


def inputs(rng: np.random.Generator, batch: int) -> Arrays:
    """Features of nodes, and where each edge starts and ends; edges stay inside their graph."""
    first = np.repeat(np.arange(batch) * NODES, EDGES)
    ends = rng.integers(0, NODES, (2, batch * EDGES)) + first
    return rng.standard_normal((batch * NODES, WIDTH), np.float32), ends[0], ends[1]


def targets(rng: np.random.Generator, batch: int) -> Arrays:
    """A class for each node."""
    return (rng.integers(0, CLASSES, batch * NODES),)


CASE = Case(
    name="graph",
    title="Graph network",
    about="3 layers of message passing, 64 wide, 2000 nodes, 10,000 edges, one graph",
    build=build,
    forward=forward,
    inputs=inputs,
    targets=targets,
    batch=1,
)
