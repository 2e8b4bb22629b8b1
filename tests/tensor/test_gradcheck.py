"""gradcheck: what it finds, what it says, and that it leaves its inputs as they were."""

from __future__ import annotations

from typing import Any

import pytest

import fanal
from fanal.autograd import Function, gradcheck, gradgradcheck
from fanal.autograd.gradcheck import GradcheckError


def leaf(*shape: int) -> fanal.Tensor:
    return fanal.linspace(0.5, 2, 6, dtype=fanal.float64)[: fanal.Size(shape).numel()].reshape(
        shape
    ).clone().requires_grad_()  # fmt: skip


def with_backward(backward: Any) -> Any:
    class Made(Function):
        @staticmethod
        def forward(ctx: Any, x: fanal.Tensor) -> fanal.Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: fanal.Tensor) -> fanal.Tensor:
            return backward(ctx.saved_tensors[0], g)

    return Made.apply


def test_a_wrong_gradient_is_told_with_both_jacobians() -> None:
    wrong = with_backward(lambda x, g: 3 * x * g)
    with pytest.raises(GradcheckError, match=r"\[gradcheck\] Jacobian mismatch for output 0") as e:
        gradcheck(wrong, leaf(2))
    text = str(e.value)
    assert "with respect to input 0" in text and "numerical:tensor(" in text
    assert "analytical:tensor(" in text and "[1.5000, 0.0000]" in text and "difference 0.8" in text
    assert gradcheck(wrong, leaf(2), raise_exception=False) is False
    assert gradcheck(wrong, leaf(2), atol=10)


def test_nan_is_a_mismatch_as_in_torch() -> None:
    assert not gradcheck(lambda x: x * float("nan"), leaf(2), raise_exception=False)


def test_only_differentiable_outputs_count() -> None:
    assert gradcheck(lambda x: (x.detach() * 2, x * x, x.argmax()), leaf(3))
    with pytest.raises(GradcheckError, match="expected to be zero"):
        gradcheck(lambda x: x.detach() * 2, leaf(3))
    assert gradcheck(lambda x: x.detach() * 0, leaf(3))


def test_backward_that_is_not_repeatable_or_not_linear() -> None:
    calls = iter(range(1000))
    drifting = with_backward(lambda x, g: 2 * x * g + 1e-7 * next(calls))
    with pytest.raises(GradcheckError, match="Backward is not reentrant"):
        gradcheck(drifting, leaf(2))
    calls = iter(range(1000))
    with pytest.raises(GradcheckError, match="backward not multiplied by grad_output"):
        gradcheck(with_backward(lambda x, g: 2 * x * g + 1e-7), leaf(2))
    assert gradcheck(lambda x: x * 2, leaf(2), nondet_tol=1.0, check_grad_dtypes=True)


def test_inputs_are_checked_and_left_as_they_were() -> None:
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(lambda x: x, fanal.ones(2))
    with pytest.raises(RuntimeError, match="The 0th input has a dimension with stride 0"):
        gradcheck(lambda x: x * 2, leaf(1).detach().expand(3).requires_grad_())
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double"):
        gradcheck(lambda x: x * 2, leaf(2).float().detach().requires_grad_(), eps=1e-2, atol=1e-2)
    with pytest.raises(NotImplementedError, match="check_forward_ad=True"):
        gradcheck(lambda x: x, leaf(2), check_forward_ad=True)
    x = leaf(2, 3).detach().t().requires_grad_()  # not contiguous
    before, y = x.tolist(), x * x
    assert gradcheck(fanal.exp, x) and gradcheck(fanal.exp, leaf(0)) and gradcheck(fanal.exp, leaf())
    assert x.tolist() == before
    y.sum().backward()  # the tape does not take the perturbations for writes
    assert x.grad is not None and fanal.equal(x.grad, 2 * x)


def test_second_derivatives() -> None:
    assert gradgradcheck(lambda x, y: (x * y, x.exp().detach()), (leaf(2), leaf(2)))
    assert gradgradcheck(fanal.exp, leaf(2, 2), gen_non_contig_grad_outputs=True)
    assert gradgradcheck(fanal.exp, leaf(2), [leaf(2)])

    # Its backward is right, its backward's backward is not.
    once = with_backward(lambda x, g: 2 * x.detach() * g)
    assert gradcheck(once, leaf(2))
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradgradcheck(once, leaf(2))
