"""What parameters and values of a distribution have to satisfy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import fanal


@dataclass(frozen=True)
class Constraint:
    """A condition with a name; `event_dim` dimensions on the right are checked together."""

    name: str
    condition: Callable[[Any], Any]
    is_discrete: bool = False
    event_dim: int = 0

    def check(self, value: Any) -> Any:
        """Bools: whether each value satisfies the condition."""
        return self.condition(value)

    def __repr__(self) -> str:
        return self.name


def interval(low: Any, high: Any) -> Constraint:
    """Numbers from low to high, both included."""
    return Constraint(f"Interval({low}, {high})", lambda x: (x >= low) & (x <= high))


def integer_interval(low: int, high: int) -> Constraint:
    """Whole numbers from low to high, both included."""
    return Constraint(
        f"IntegerInterval({low}, {high})",
        lambda x: (x % 1 == 0) & (x >= low) & (x <= high), is_discrete=True,
    )  # fmt: skip


def _is_simplex(x: Any) -> Any:
    return (x >= 0).all(-1) & ((x.sum(-1) - 1).abs() < 1e-6)


def _is_lower_cholesky(x: Any) -> Any:
    return (x.tril() == x).flatten(-2).all(-1) & (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


def _is_positive_definite(x: Any) -> Any:
    return fanal.linalg.cholesky_ex(x).info == 0


# NaN is no real number.
real = Constraint("Real()", lambda x: x == x)
real_vector = Constraint("RealVector()", lambda x: (x == x).all(-1), event_dim=1)
positive = Constraint("GreaterThan(lower_bound=0.0)", lambda x: x > 0)
nonnegative = Constraint("GreaterThanEq(lower_bound=0.0)", lambda x: x >= 0)
unit_interval = interval(0.0, 1.0)
boolean = Constraint("Boolean()", lambda x: (x == 0) | (x == 1), is_discrete=True)
nonnegative_integer = Constraint(
    "IntegerGreaterThan(lower_bound=0)", lambda x: (x % 1 == 0) & (x >= 0), is_discrete=True
)
simplex = Constraint("Simplex()", _is_simplex, event_dim=1)
one_hot = Constraint(
    "OneHot()", lambda x: ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1),
    is_discrete=True, event_dim=1,
)  # fmt: skip
lower_cholesky = Constraint("LowerCholesky()", _is_lower_cholesky, event_dim=2)
positive_definite = Constraint("PositiveDefinite()", _is_positive_definite, event_dim=2)
