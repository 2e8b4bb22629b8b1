"""A recurrent classifier: one LSTM layer, the last step's state into a linear head."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.cases.case import Case, labels, normal


def build(lib: Any) -> Any:
    """The module."""
    nn = lib.nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(64, 128, batch_first=True)
            self.head = nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            states, _ = self.lstm(x)
            return self.head(states[:, -1])

    return Classifier()


def forward(o: Any, x: Any) -> Any:
    """The same over functions; `lstm_last` gives the state after the last step."""
    return o.linear(o.lstm_last(x, "lstm"), "head")


CASE = Case(
    name="lstm",
    title="LSTM",
    about="64 to 128, 64 steps, linear head on the last, cross entropy, batch 32",
    build=build,
    forward=forward,
    inputs=normal(64, 64),
    targets=labels(10),
    batch=32,
)
