"""What cond, while_loop and scan say when something does not fit."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

import fanal

x = fanal.ones(2)
CASES = [
    (
        lambda: fanal.cond(x.sum(), lambda: x, lambda: x),
        TypeError, "[cond] the predicate is no boolean tensor: got float32[]; expected bool[]. Try: a comparison.",
    ),
    (
        lambda: fanal.cond(1, lambda: x, lambda: x),
        TypeError, "[cond] the predicate is no boolean tensor: got int; expected bool[]. Try: a comparison.",
    ),
    (
        lambda: fanal.cond(x > 0, lambda: x, lambda: x),
        ValueError,
        "[cond] the predicate has not one element: got bool[2]; expected bool[]. Try: .all() or .any(), or fanal.where.",
    ),
    (
        lambda: fanal.cond(x.sum() > 0, lambda x: x, lambda x: x, x),
        TypeError, "[cond] operands in no tuple: got Tensor; expected a tuple or a list. Try: (x,).",
    ),
    (
        lambda: fanal.cond(x.sum() > 0, lambda: x, lambda: x.double()),
        ValueError,
        "[cond] the branches' results differ: got float32[2]; expected float64[2]. Try: casting or reshaping in one of them.",
    ),
    (
        lambda: fanal.cond(x.sum() > 0, lambda: (x, x), lambda: [x]),
        ValueError,
        "[cond] the branches' results differ: got (float32[2], float32[2]); expected [float32[2]]. Try: casting or reshaping in one of them.",
    ),
    (
        lambda: fanal.cond(x.sum() > 0, lambda: 1.0, lambda: 2.0),
        TypeError,
        "[cond] true_fn returns something that is no tensor: got float (1.0); expected tensors. Try: fanal.tensor(…).",
    ),
    (
        lambda: fanal.while_loop(lambda x: x, lambda x: x, (x,)),
        TypeError,
        "[while_loop] what cond_fn returns is no boolean tensor: got float32[2]; expected bool[]. Try: a comparison.",
    ),
    (
        lambda: fanal.while_loop(lambda x: True, lambda x: x, (x,)),
        TypeError,
        "[while_loop] what cond_fn returns is no boolean tensor: got bool; expected bool[]. Try: a comparison.",
    ),
    (
        lambda: fanal.while_loop(lambda x: x > 0, lambda x: x, (x,)),
        ValueError,
        "[while_loop] what cond_fn returns has not one element: got bool[2]; expected bool[]. Try: .all() or .any(), or fanal.where.",
    ),
    (
        lambda: fanal.while_loop(lambda n: n < 3, lambda n: (n + 0.5,), (0,)),
        ValueError,
        "[while_loop] body_fn changes the carry's type: got (float32[],); expected (int64[],). Try: the same shapes and dtypes, .to(dtype) in it or at the beginning.",
    ),
    (
        lambda: fanal.while_loop(lambda n: n < 3, lambda n: (n, n), (0,)),
        ValueError,
        "[while_loop] body_fn changes the carry's type: got (int64[], int64[]); expected (int64[],). Try: the same shapes and dtypes, .to(dtype) in it or at the beginning.",
    ),
    (
        lambda: fanal.while_loop(lambda n: n < 3, lambda n: n, x),
        TypeError, "[while_loop] carried_inputs are no tuple of tensors: got Tensor. Try: (x,).",
    ),
    (
        lambda: fanal.while_loop(lambda n: n < 3, lambda n: n, (0,), max_steps=-1),
        ValueError, "[while_loop] max_steps is no number of steps: got -1; expected None or int ≥ 0.",
    ),
    (
        lambda: fanal.while_loop(lambda x: x.sum() < 9, lambda x: x + fanal.rand(2), (x,)),
        NotImplementedError,
        "[while_loop] body_fn draws random numbers, which would be the same at every step. Try: fanal.scan, or drawing them before the loop.",
    ),
    (
        lambda: fanal.while_loop(
            lambda x: x.sum() < 9, lambda x: x * 2, (fanal.ones(2, requires_grad=True),)
        )[0].sum().backward(),
        NotImplementedError,
        "[while_loop] has no reverse derivative without a bound on its steps. Try: max_steps=…, fanal.scan, or forward derivatives.",
    ),
    (
        lambda: fanal.scan(lambda c, x: (c, None), 0, [fanal.ones(3), fanal.ones(4)]),
        ValueError,
        "[scan] the number of steps is not known (xs along dimension 0, length): got 3, 4; None; expected one length.",
    ),
    (
        lambda: fanal.scan(lambda c, x: (c, None), 0),
        ValueError,
        "[scan] the number of steps is not known (xs along dimension 0, length): got no xs; None; expected one length. Try: length=….",
    ),
    (
        lambda: fanal.scan(lambda c, x: (c, None), 0, fanal.ones(3), dim=1),
        IndexError, "[scan] xs have no dimension 1: got (3,); expected a dimension of each.",
    ),
    (
        lambda: fanal.scan(lambda c, x: c, 0, fanal.ones(3)),
        TypeError, "[scan] combine_fn returns no pair: got Tensor; expected (carry, y). Try: (carry, None).",
    ),
    (
        lambda: fanal.scan(lambda c, x: (c + x, None), 0, fanal.ones(3)),
        ValueError,
        "[scan] combine_fn changes the carry's type: got float32[]; expected int64[]. Try: the same shapes and dtypes, .to(dtype) in it or at the beginning.",
    ),
    (
        lambda: fanal.scan(lambda c, x: (c, 1.5), 0, fanal.ones(3)),
        TypeError,
        "[scan] combine_fn returns something that is no tensor: got float (1.5); expected tensors. Try: fanal.tensor(…).",
    ),
    (
        lambda: fanal.scan(lambda c, x: (c, None), "a", fanal.ones(3)),
        TypeError, "[scan] something in init is no tensor: got str; expected tensors or numbers.",
    ),
    (
        lambda: fanal.scan(lambda c, x: (c, None), 0, [fanal.ones(3), 4]),
        TypeError, "[scan] something in xs is no tensor: got int; expected tensors. Try: closing over it.",
    ),
    (
        lambda: fanal.scan(lambda c, x: (c + 1 if x > 0 else c, None), 0, fanal.ones(3)),
        RuntimeError,
        "[scan] the function asks for the value of a tensor that is being traced. Try: fanal.where or fanal.cond in the place of `if`, while_loop or scan for loops.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), CASES, ids=range(len(CASES)))
def test_messages(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text


def test_errors_of_kernels_inside_of_a_loop():
    table = fanal.arange(3)

    def look(c, i):
        return c + table[i], None

    with pytest.raises(IndexError, match=r"\[scan\] index out of range: got 5"):
        fanal.scan(look, 0, fanal.tensor([0, 1, 5, 2]))
    assert fanal.scan(look, 0, fanal.tensor([0, 1, 2, 2]))[0].item() == 5
    with pytest.raises(RuntimeError, match=r"\[while_loop\] integer division by zero"):
        fanal.while_loop(lambda n: n > -5, lambda n: (n - 1 + 0 // n,), (3,))


def test_an_endless_loop_can_be_interrupted():
    def interrupt():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Thread(target=interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fanal.while_loop(lambda x: x.sum() > -1, lambda x: (x * 1.0,), (fanal.ones(4),))
    timer.join()
    assert fanal.while_loop(lambda x: x.sum() < 9, lambda x: (x * 2,), (fanal.ones(2),))[0].tolist() == [8, 8]
