"""What can't leave Python is refused at the user's line, with a way out."""

from __future__ import annotations

import re

import pytest

import fanal
import fanal.nn as nn
from fanal.export import Dim, ExportError, export

N = Dim("n", max=16)
X = fanal.randn(4, 3)
count = [0]


class Config:
    calls = 0


config = Config()


def counts(x):
    config.calls += 1
    return x


def appends(x):
    count.append(1)
    return x


def seeds(x):
    fanal.manual_seed(0)
    return x + fanal.rand(3)


def wants_four(x):
    return x.view(4, 3) + 1


REFUSALS = {
    "if": (lambda x: x * 2 if x.sum() > 0 else x, "asks for the value of a tensor at test_refusals.py:.*fanal.cond"),
    "item": (lambda x: x * x.sum().item(), "asks for the value of a tensor at test_refusals.py"),
    "mask": (lambda x: x[x > 0], "asks for the value of a tensor at test_refusals.py"),
    "int": (lambda x: fanal.zeros(int(x[0, 0])), "asks for the value of a tensor at test_refusals.py"),
    "branch on a size": (
        lambda x: x * 2 if x.shape[0] > 6 else x,
        r"something else at other sizes \(test_refusals.py:\d+: .*n.*\).*a range with n=",
    ),
    "loop over a size": (lambda x: sum(x[i] for i in range(x.shape[0])), "the size 'n' is used as a number at test_refusals.py"),
    "a size written down": (wants_four, "size 'n' is used as a number"),
    "an index that is not always there": (lambda x: x[3], "fails at sizes that its Dims allow .*n=1"),
    "writes": (lambda x: x.add_(1), r"writes to one of its arguments: got \(n, 3\)"),
    "counts": (counts, "does more than compute at test_refusals.py"),
    "appends": (appends, "does more than compute at test_refusals.py|more than compute"),
    "seeds": (seeds, "random generator is seeded|more than compute"),
    "object": (lambda x: (x, config), "returns something that is no tensor: got Config"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal(name: str) -> None:
    function, pattern = REFUSALS[name]
    with pytest.raises(ExportError, match=pattern) as caught:
        export(function, (X,), dynamic_shapes=({0: N},))
    text = str(caught.value)
    assert text.startswith("[export] ") and re.search(r"Try: |expected", text), text


def test_nothing_of_the_capture_is_left() -> None:
    """A refused function runs as ever."""
    model = nn.Linear(3, 2)

    def bad(x):
        y = model(x).sum()
        y.backward()
        return y.item()

    with pytest.raises(ExportError):
        export(bad, (X,))
    assert model.weight.grad is None
    bad(X)
    assert model.weight.grad is not None


def test_a_question_about_a_part_of_a_size_has_one_answer() -> None:
    with pytest.raises(ExportError, match=r"something else at other sizes \(test_refusals.py:\d+: .* == 2.0\).*n=5"):
        export(lambda x: x * 2 if x.shape[0] / 2 == 2.0 else x, (X,), dynamic_shapes=({0: Dim("n", min=4, max=16)},))


@pytest.mark.parametrize(
    ("dims", "pattern"),
    [
        ({"y": {0: N}}, "names arguments that there are not"),
        (({0: N}, {0: N}), "more entries than there are arguments"),
        ({"x": {5: N}}, r"a dimension that a tensor of shape \(4, 3\) has not"),
        ({"x": {0: "n"}}, "no dimension"),
        ({"x": {0: 7}}, "another size than the example's"),
        ({"x": {0: Dim("small", max=3)}}, "is none of"),
        ({"x": {0: N, 1: N}}, "several sizes in the example: got 4 and 3"),
        ({"x": 3}, "no dynamic shape of a tensor"),
        (3, "dynamic_shapes is of another type"),
        ({"x": {0: 2 * Dim("half"), 1: 2 * Dim("other")}}, "is none of"),
    ],
)
def test_dynamic_shapes(dims: object, pattern: str) -> None:
    with pytest.raises((ValueError, TypeError), match=pattern):
        export(lambda x: x, (X,), dynamic_shapes=dims)


@pytest.mark.parametrize(
    ("make", "pattern"),
    [
        (lambda: Dim("a b"), "no name of a dimension"),
        (lambda: Dim("n", min=-1), "no bound of 'n'"),
        (lambda: Dim("n", min=5, max=3), "the range of 'n' is empty"),
        (lambda: Dim("n", max=2.5), "no bound of 'n'"),
    ],
)
def test_dim(make: object, pattern: str) -> None:
    with pytest.raises(ValueError, match=pattern):
        make()  # type: ignore[operator]


def test_arguments() -> None:
    with pytest.raises(TypeError, match="args is no tuple"):
        export(lambda x: x, X)
    with pytest.raises(TypeError, match="the example does not fit the function"):
        export(lambda x: x, (X, X))
    with pytest.raises(ExportError, match="one tensor is given as two arguments"):
        export(lambda x, y: x + y, (X, X))
    with pytest.raises(ValueError, match="labels for an output"):
        export(lambda x: x, (X,), labels={"scores": ["a"]})
    with pytest.raises(ValueError, match="no name of a signature"):
        export(lambda x: x, (X,), signature="a b")


def test_calls_are_checked() -> None:
    program = export(
        lambda x, y: x + y, (fanal.randn(4, 3), fanal.randn(4, 3)), dynamic_shapes={"x": {0: N}, "y": {0: N}}
    )
    x = fanal.randn(2, 3)
    for given, error, pattern in [
        ((x, fanal.randn(3, 3)), ValueError, "'n' has several sizes"),
        ((fanal.randn(17, 3), fanal.randn(17, 3)), ValueError, "'n' is out of its range: got 17 in dimension 0 of '.*'; expected 1 to 16"),
        ((x, fanal.randn(2, 4)), ValueError, "dimension 1 of input 'y' has another size: got 4; expected 3"),
        ((x, x.double()), TypeError, "input 'y' has another dtype"),
        ((x, x[0]), ValueError, r"input 'y' has another number of dimensions: got \(3,\); expected \(n, 3\)"),
        ((x,), TypeError, "inputs are others than the signature's"),
        ((x, 3.0), TypeError, "arguments are others|is no tensor|inputs are others"),
    ]:  # fmt: skip
        with pytest.raises(error, match=pattern):
            program(*given)


def test_relations_are_checked() -> None:
    """What holds between two sizes, and whether one is a multiple."""
    program = export(
        lambda x, y: x + y, (fanal.randn(4), fanal.randn(4)),
        dynamic_shapes={"x": {0: Dim("a", max=9)}, "y": {0: Dim("b", max=9)}},
    )  # fmt: skip
    assert program(fanal.ones(5), fanal.ones(5)).shape == (5,)
    with pytest.raises(ValueError, match=r"sizes don't fit together \(test_refusals.py:\d+\): got a=5, b=6"):
        program(fanal.ones(5), fanal.ones(6))
    program = export(lambda x: x.view(-1, 4), (fanal.randn(8),), dynamic_shapes=({0: N},))
    assert program(fanal.ones(12)).shape == (3, 4)
    with pytest.raises(ValueError, match="sizes don't fit together"):
        program(fanal.ones(10))
