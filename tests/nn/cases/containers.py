"""Containers: what they hold, under which names, and gradients through them."""

from __future__ import annotations

from typing import Any

from tests.nn.cases.case import Cases, M, v, x

CASES = Cases()
c = CASES
linear = M("Linear", (4, 4))


def chain(library: Any, module: Any, x: Any) -> Any:
    for layer in module:
        x = layer(x)
    return x


def by_name(library: Any, module: Any, x: Any) -> Any:
    return module["second"](module["first"](x)), *[module[key](x) for key in module]


def ctc(library: Any, module: Any, logits: Any, *rest: Any) -> Any:
    return module(library.F.log_softmax(logits, -1), *rest)


def parameters(library: Any, module: Any, x: Any) -> Any:
    """A list and a dictionary of parameters beside layers, one of them used twice."""
    nn = library.nn

    class Net(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.ParameterList([nn.Parameter(x.detach()[i] * 1) for i in range(2)])
            self.table = nn.ParameterDict({"a": nn.Parameter(x.detach() * 2), "b": self.rows[0]})
            self.register_buffer("seen", x.detach().sum())
            self.register_buffer("hidden", x.detach() * 1, persistent=False)
            self.inner = module

        def forward(self, x: Any) -> Any:
            self.seen += 1
            return self.inner(x * self.rows[0] + self.table["a"] * self.table["b"]) * self.seen

    net = Net()
    found = net(x)
    keys = [name for name, _ in net.named_parameters()]
    assert keys == ["rows.0", "rows.1", "table.a", "inner.weight", "inner.bias"], keys
    assert list(net.state_dict()) == [
        "seen", "rows.0", "rows.1", "table.a", "table.b", "inner.weight", "inner.bias"
    ]  # fmt: skip
    return found, net.seen


c.layer("Sequential", linear, M("ReLU"), M("Sequential", (M("Linear", (4, 2)), M("Tanh"))), on=x(3, 4))
c.body("ModuleList", chain, M("ModuleList", ([linear, M("BatchNorm1d", (4,)), M("ELU")],)), x(3, 4))
c.body("ModuleDict", by_name, M("ModuleDict", ({"first": linear, "second": M("LayerNorm", (4,))},)),
       x(3, 4))  # fmt: skip
c.body("Parameters", parameters, linear, x(3, 4))
for reduction in ("none", "mean", "sum"):
    c.body("CTCLoss", ctc, M("CTCLoss", (), {"reduction": reduction, "blank": 1, "zero_infinity": True}),
           x(8, 3, 5), v([[4, 2, 2], [3, 2, 0], [4, 0, 0]]), [8, 6, 7], [3, 2, 1])  # fmt: skip
