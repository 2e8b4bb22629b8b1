"""Models as functions: `functional_call`, ensembles, gradients of each sample."""

from __future__ import annotations

import pytest

import fanal
import fanal.nn.functional as F
from fanal import nn
from fanal.func import (
    functional_call,
    grad,
    grad_and_value,
    replace_all_batch_norm_modules_,
    stack_module_state,
    vmap,
)
from fanal.utils.checkpoint import checkpoint
from tests.func.check import close


@pytest.fixture(autouse=True)
def seeded():
    fanal.manual_seed(0)


class Recurrent(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(4, 6, 2, batch_first=True, bidirectional=kind == "LSTM")
        self.out = nn.Linear(12 if kind == "LSTM" else 6, 5)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.out = nn.Linear(8, 5)

    def forward(self, x):
        return self.out(self.layer(self.table(x)).mean(1))


class Recomputed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x):
        return self.out(checkpoint(lambda v: self.a(v).tanh(), x))


def convolutional(norm):
    return lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), norm(), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 3, stride=2), nn.Flatten(), nn.Linear(4, 5),
    )  # fmt: skip


def image():
    return fanal.randn(4, 3, 8, 8)


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 5)), lambda: fanal.randn(4, 8)),
    "group norm": (convolutional(lambda: nn.GroupNorm(2, 6)), image),
    "layer norm": (convolutional(lambda: nn.LayerNorm([6, 8, 8])), image),
    "instance norm": (convolutional(lambda: nn.InstanceNorm2d(6, affine=True)), image),
    "batch norm, eval": (convolutional(lambda: nn.BatchNorm2d(6).eval()), image),
    "batch norm, no statistics": (
        convolutional(lambda: replace_all_batch_norm_modules_(nn.BatchNorm2d(6))), image,
    ),
    "LSTM": (lambda: Recurrent("LSTM"), lambda: fanal.randn(4, 7, 4)),
    "GRU": (lambda: Recurrent("GRU"), lambda: fanal.randn(4, 7, 4)),
    "attention": (Attention, lambda: fanal.randint(0, 11, (4, 7))),
    "checkpoint": (Recomputed, lambda: fanal.randn(4, 8)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_each_sample(name):
    make, inputs = MODELS[name]
    model, x, y = make(), inputs(), fanal.randint(0, 5, (4,))
    params, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    detached = {k: p.detach() for k, p in params.items()}

    def loss(p, x, y):
        return F.cross_entropy(functional_call(model, (p, buffers), (x[None],)), y[None])

    grads, losses = vmap(grad_and_value(loss), (None, 0, 0))(detached, x, y)
    total = {k: fanal.zeros_like(p) for k, p in detached.items()}
    for i in range(4):
        model.zero_grad()
        alone = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        alone.backward()
        # A sample's numbers don't depend on the others: the same bits.
        assert float(losses[i]) == float(alone)
        for k, p in params.items():
            close(grads[k][i], p.grad, 1e-6, 1e-7)
            total[k] += p.grad
    # The mean over the batch has the mean of the gradients.
    mean = grad(lambda p: vmap(loss, (None, 0, 0))(p, x, y).sum())(detached)
    close(mean, total, 1e-4, 1e-5)
    assert all(p is dict(model.named_parameters())[k] for k, p in params.items())


def test_gradients_of_samples_with_dropout():
    model = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 5))
    params = {k: p.detach() for k, p in model.named_parameters()}
    x, y = fanal.randn(1, 8).expand(3, 8), fanal.ones(3, dtype=fanal.int64)

    def loss(p, x, y):
        return F.cross_entropy(functional_call(model, p, (x[None],)), y[None])

    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(grad(loss), (None, 0, 0))(params, x, y)
    same = vmap(grad(loss), (None, 0, 0), randomness="same")(params, x, y)
    assert float((same["0.bias"][0] - same["0.bias"][1]).abs().max()) == 0
    other = vmap(grad(loss), (None, 0, 0), randomness="different")(params, x, y)
    assert float((other["0.bias"][0] - other["0.bias"][1]).abs().max()) > 0
    dropped = (other["2.weight"] == 0).all(1)  # forward and backward share the mask
    assert 0.3 < float(dropped.float().mean()) < 0.7


def test_ensembles_with_batch_norm_in_training():
    models = [
        nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)) for _ in range(3)
    ]
    params, buffers = stack_module_state(models)
    assert all(p.is_leaf and p.requires_grad for p in params.values())
    x = fanal.randn(10, 8)

    def call(p, b, x):
        return functional_call(models[0], (p, b), (x,))

    out = vmap(call, (0, 0, None))(params, buffers, x)
    close(out, fanal.stack([m(x) for m in models]), 1e-6)
    for k, b in buffers.items():  # what the modules write went to the tensors given
        assert not b.requires_grad
        close(b, fanal.stack([dict(m.named_buffers())[k] for m in models]))
    assert buffers["1.num_batches_tracked"].tolist() == [1, 1, 1]
    out.square().sum().backward()
    for m in models:
        m.zero_grad()
        m(x).square().sum().backward()
    for k, p in params.items():
        close(p.grad, fanal.stack([dict(m.named_parameters())[k].grad for m in models]), 1e-5, 5e-6)


def test_ensembles_of_samples():
    models = [nn.Linear(3, 2) for _ in range(2)]
    params, _ = stack_module_state(nn.ModuleList(models))
    x = fanal.randn(5, 3)
    call = vmap(vmap(lambda p, x: functional_call(models[0], p, (x,)), (None, 0)), (0, None))
    close(call(params, x), fanal.stack([m(x) for m in models]), 1e-6)


def test_a_whole_model_is_mapped():
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU()).eval()
    x = fanal.randn(3, 5, 2, 8)
    close(vmap(model)(x), fanal.stack([model(v) for v in x]), 1e-6)
    model.train()  # batch norm writes what each sample sees
    with pytest.raises(RuntimeError, match="a value of each sample is written to"):
        vmap(model)(x)


# -- functional_call ---------------------------------------------------------------------------------------


@pytest.fixture
def layer():
    return nn.Linear(2, 2)


ONE, ZERO, X = fanal.ones(2, 2), fanal.zeros(2), fanal.ones(1, 2)
WHOLE = {"weight": ONE, "bias": ZERO}


def test_functional_call(layer):
    two = fanal.full((1, 2), 2.0)
    weight = layer.weight
    close(functional_call(layer, WHOLE, (X,)), two)
    close(functional_call(layer, WHOLE, X), two)
    close(functional_call(layer, WHOLE, kwargs={"input": X}), two)
    close(functional_call(layer, ({"weight": ONE}, {"bias": ZERO}), (X,)), two)
    close(functional_call(layer, {"weight": ONE}, (X,)), 2 + layer.bias.expand(1, 2))
    assert layer.weight is weight


def test_functional_call_restores_after_an_error(layer):
    weight = layer.weight
    with pytest.raises(RuntimeError):
        functional_call(layer, WHOLE, (fanal.ones(1, 3),))
    assert layer.weight is weight


def test_functional_call_writes_to_the_buffers_given():
    norm = nn.BatchNorm1d(2)
    given = {k: b.clone() for k, b in norm.named_buffers()}
    functional_call(norm, given, (fanal.tensor([[1.0, 2.0], [3.0, 5.0]]),))
    close(given["running_mean"], fanal.tensor([0.2, 0.35]))
    assert given["num_batches_tracked"].item() == 1
    close(norm.running_mean, fanal.zeros(2))
    # Also while a gradient is taken, and mapped.
    grad(lambda b: functional_call(norm, given, (b,)).sum())(fanal.randn(4, 2))
    assert given["num_batches_tracked"].item() == 2


def test_tied_weights():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    tied = Tied()
    close(functional_call(tied, {"a.weight": ONE * 2}, (X,)), fanal.full((1, 2), 16.0))
    close(functional_call(tied, {"a.weight": ONE, "b.weight": ONE}, (X,)), fanal.full((1, 2), 4.0))
    both = {"a.weight": ONE, "b.weight": ONE * 2}
    with pytest.raises(ValueError, match="multiple values for keys"):
        functional_call(tied, both, (X,))
    close(functional_call(tied, both, (X,), tie_weights=False), fanal.full((1, 2), 8.0))
    g = grad(lambda p: functional_call(tied, p, (X,)).sum())({"a.weight": ONE})
    close(g["a.weight"], fanal.full((2, 2), 4.0))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m: functional_call(m, 3, (X,)), ValueError, "to be a dict, or a list/tuple of dicts"),
        (lambda m: functional_call(m, (3,), (X,)), ValueError, "Expected all elements of parameter"),
        (lambda m: functional_call(m, (WHOLE, WHOLE), (X,)), ValueError, "appeared in multiple dictionaries"),
        (lambda m: functional_call(m, {"wieght": ONE}, (X,)), AttributeError, "Try: weight"),
        (lambda m: functional_call(m, {"weight": ONE}, (X,), strict=True), RuntimeError, "Missing key.*bias"),
        (lambda m: functional_call(m, {**WHOLE, "c": ONE}, (X,), strict=True), RuntimeError, "Unexpected key"),
        (lambda m: stack_module_state([]), RuntimeError, "Expected at least one model, got 0"),
        (lambda m: stack_module_state([m, nn.Linear(2, 2).eval()]), RuntimeError, "same training/eval mode"),
        (lambda m: stack_module_state([m, nn.Bilinear(1, 1, 1)]), RuntimeError, "of the same class"),
        (lambda m: stack_module_state([m, nn.Linear(2, 2).requires_grad_(False)]), RuntimeError,
         "Expected weight from each model to have the same .requires_grad"),
    ],
)  # fmt: skip
def test_errors(layer, call, error, text):
    with pytest.raises(error, match=text):
        call(layer)
