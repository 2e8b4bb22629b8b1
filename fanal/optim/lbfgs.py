"""L-BFGS (Liu and Nocedal, 1989), with or without a line search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanal.autograd.mode import no_grad
from fanal.core.errors import message
from fanal.ops.shape import cat
from fanal.optim.line_search import Point, strong_wolfe
from fanal.optim.optimizer import Optimizer, with_closure
from fanal.optim.options import check_lr, number
from fanal.tensor import creation
from fanal.tensor.tensor import Tensor


class LBFGS(Optimizer):
    """Limited-memory BFGS, as `torch.optim.LBFGS`: up to max_iter iterations a step.

    s = θₖ₊₁ - θₖ, y = gₖ₊₁ - gₖ of the last history_size iterations give an approximation H of the
    inverse Hessian; θ ← θ - t H g. `step(closure)` needs a closure that computes the loss anew:

    >>> def closure():
    ...     optimizer.zero_grad(); loss = f(); loss.backward(); return loss
    >>> optimizer.step(closure)

    line_search_fn: None (t = lr) or "strong_wolfe". One group of parameters only.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        check_lr("LBFGS", lr)
        defaults = {
            "lr": lr, "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
            "history_size": history_size, "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError(
                message(
                    "LBFGS", "LBFGS doesn't support per-parameter options (parameter groups)",
                    len(self.param_groups), "one group",
                )
            )

    @property
    def _params(self) -> list[Tensor]:
        found: list[Tensor] = self.param_groups[0]["params"]
        return found

    def _flat_gradient(self) -> Tensor:
        parts = [
            creation.zeros(p.numel(), dtype=p.dtype) if p.grad is None else p.grad.reshape(-1)
            for p in self._params
        ]
        return cat(parts)

    def _move(self, length: float, direction: Tensor) -> None:
        """θ ← θ + length · direction."""
        at = 0
        for p in self._params:
            part = direction[at : at + p.numel()].reshape(tuple(p.shape))
            p.add_(part, alpha=length)
            at += p.numel()

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to max_iter iterations; returns the loss that the closure gave first."""
        if closure is None:
            raise TypeError(
                message("LBFGS", "step needs a closure that computes the loss anew", "none")
            )
        group = self.param_groups[0]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(
                message(
                    "LBFGS", "only 'strong_wolfe' is supported", repr(group["line_search_fn"])
                )
            )
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = with_closure(closure)
        state["func_evals"] += 1
        gradient = self._flat_gradient()
        if float(gradient.abs().max()) > group["tolerance_grad"]:
            self._iterate(closure, group, state, float(first), gradient)
        return first

    def _iterate(
        self, closure: Any, group: dict[str, Any], state: dict[str, Any], loss: float, g: Tensor
    ) -> None:
        lr, change = number(group["lr"]), group["tolerance_change"]
        searching = group["line_search_fn"] is not None
        evaluations = 1
        for n in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = self._direction(state, g, group["history_size"])
            state["prev_flat_grad"], state["prev_loss"], before = g.clone(), loss, loss
            t = min(1.0, 1.0 / float(g.abs().sum())) * lr if state["n_iter"] == 1 else lr
            state["d"], state["t"] = d, t
            slope = float(g.dot(d))
            if slope > -change:
                break
            count = 0
            if searching:
                start = Point(0.0, loss, g, slope)
                point, count = self._search(closure, t, d, start, group["max_eval"] - evaluations)
                loss, g, t = point.f, point.g, point.t
                state["t"] = t
                self._move(t, d)
            else:
                self._move(t, d)
                if n != group["max_iter"]:
                    loss, g, count = float(with_closure(closure)), self._flat_gradient(), 1
            evaluations += count
            state["func_evals"] += count
            if (
                n == group["max_iter"]
                or evaluations >= group["max_eval"]
                or float(g.abs().max()) <= group["tolerance_grad"]
                or float((d * t).abs().max()) <= change
                or abs(loss - before) < change
            ):
                break

    def _search(
        self, closure: Any, t: float, d: Tensor, start: Point, most: int
    ) -> tuple[Point, int]:
        here = [p.detach().clone() for p in self._params]

        def evaluate(length: float) -> tuple[float, Tensor]:
            self._move(length, d)
            loss = float(with_closure(closure))
            gradient = self._flat_gradient()
            for p, old in zip(self._params, here, strict=True):
                p.copy_(old)
            return loss, gradient

        return strong_wolfe(evaluate, t, d, start, most)

    def _direction(self, state: dict[str, Any], g: Tensor, history: int) -> Tensor:
        """-H g by the two-loop recursion, after taking up the last step."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -g
        y, s = g - state["prev_flat_grad"], state["d"] * number(state["t"])
        curvature = y.dot(s)
        directions, steps, inverses = state["old_dirs"], state["old_stps"], state["ro"]
        if float(curvature) > 1e-10:
            if len(directions) == history:
                for some in (directions, steps, inverses):
                    some.pop(0)
            directions.append(y)
            steps.append(s)
            inverses.append(1.0 / curvature)
            state["H_diag"] = curvature / y.dot(y)
        weights = state.setdefault("al", [None] * history)
        q = -g
        for i in reversed(range(len(directions))):
            weights[i] = steps[i].dot(q) * inverses[i]
            q = q - weights[i] * directions[i]
        r = q * state["H_diag"]
        for i in range(len(directions)):
            r = r + steps[i] * (weights[i] - directions[i].dot(r) * inverses[i])
        return r
