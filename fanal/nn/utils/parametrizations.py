"""Parametrisations: orthogonal matrices, weight and spectral normalisation."""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Any

from fanal.autograd.mode import no_grad
from fanal.core.dispatch import fused
from fanal.core.limits import finfo
from fanal.core.memory_format import contiguous_format
from fanal.linalg import diagonal, matrix_exp, qr
from fanal.linalg.factors import geqrf
from fanal.nn.functional import matrix_maps
from fanal.nn.functional.composite import composite
from fanal.nn.functional.distance import norm
from fanal.nn.functional.distance import normalize as unit
from fanal.nn.module import Module
from fanal.nn.utils.parametrize import register_parametrization
from fanal.ops.diagonals import diagonal_scatter
from fanal.ops.linear import mv
from fanal.ops.pointwise import mul, sign, where
from fanal.ops.reductions import sum as sum_op
from fanal.ops.shape import cat, transpose
from fanal.random.sampling import randn
from fanal.tensor.creation import eye
from fanal.tensor.tensor import Tensor
from fanal.tensor.toplevel import allclose

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


class _OrthMaps(Enum):
    matrix_exp = auto()
    cayley = auto()
    householder = auto()


def _is_orthogonal(q: Any) -> bool:
    n, k = q.shape[-2:]
    return allclose(q.mT @ q, eye(k, dtype=q.dtype), atol=10.0 * n * finfo(q.dtype).eps)


def _make_orthogonal(a: Any) -> Any:
    q, r = qr(a)
    return q * sign(diagonal(r)).unsqueeze(-2)


class _Orthogonal(Module):
    base: Any

    def __init__(
        self, weight: Any, orthogonal_map: _OrthMaps, *, use_trivialization: bool = True
    ) -> None:
        super().__init__()
        self.shape = tuple(weight.shape)
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Any) -> Any:
        wide = X.shape[-2] < X.shape[-1]
        x = X.mT if wide else X
        if self.orthogonal_map is _OrthMaps.householder:
            q = matrix_maps.from_householder(x)
        else:
            a = matrix_maps.skew(x)
            by_exp = self.orthogonal_map is _OrthMaps.matrix_exp
            q = (matrix_exp if by_exp else matrix_maps.cayley)(a)
            q = q[..., : x.shape[-1]]
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    @no_grad()
    def right_inverse(self, Q: Any) -> Any:
        """The free matrix (and the base) of an orthogonal one."""
        if tuple(Q.shape) != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of "
                f"shape {Q.shape}."
            )
        wide = Q.shape[-2] < Q.shape[-1]
        q = (Q.mT if wide else Q).detach()
        if not hasattr(self, "base"):
            if self.orthogonal_map is not _OrthMaps.householder:
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley "
                    "parametrizations when use_trivialization=False."
                )
            a, tau = geqrf(q)
            signs = sign(diagonal(a))
            a = diagonal_scatter(a, where(tau == 0.0, -signs, signs), 0, -2, -1)
            return a.mT.contiguous() if wide else a
        n, k = q.shape[-2:]
        if n != k:
            rest = randn(*q.shape[:-2], n, n - k, dtype=Q.dtype)
            q = _make_orthogonal(cat([q, rest], -1))
        elif not _is_orthogonal(q):
            q = _make_orthogonal(q)
        self.base = q.clone(memory_format=contiguous_format)
        negative = -eye(*self.shape[-2:], dtype=q.dtype)
        return negative.repeat(*self.shape[:-2], 1, 1)


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *,
    use_trivialization: bool = True,
) -> Module:  # fmt: skip
    """Keep a parameter's matrix (or batch of matrices) orthogonal.

    By "matrix_exp" or "cayley" of a skew-symmetric matrix, or a product of "householder"
    reflections, relative to a base with `use_trivialization` (Lezcano-Casado, 2019).
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square else "householder"
    chosen = getattr(_OrthMaps, orthogonal_map, None)
    if chosen is None:
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
            f"Got: {orthogonal_map}"
        )
    made = _Orthogonal(weight, chosen, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)


# -- weight normalisation -------------------------------------------------------------------------------


def _norm_dims(ndim: int, dim: int) -> tuple[int, ...]:
    return tuple(d for d in range(ndim) if dim == -1 or d != dim)


@composite
def norm_except_dim(v: Any, dim: int) -> Any:
    """The 2-norm over all dimensions but one (kept with extent 1), or all (-1)."""
    return norm(v, 2, _norm_dims(v.ndim, dim), dim != -1)


@composite
def scaled_to_norm(v: Any, g: Any, dim: int) -> Any:
    """g · v / ‖v‖. Salimans and Kingma, 2016."""
    return v * (g / norm(v, 2, _norm_dims(v.ndim, dim), dim != -1))


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Any, weight_v: Any) -> Any:
        return scaled_to_norm(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Any) -> Any:
        """Length and direction of a weight."""
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn a weight's length (`original0`, one a slice of `dim`) and direction (`original1`)."""
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def from_old_names(state_dict: Any, prefix: str, *rest: Any) -> None:
        for number, letter in enumerate("gv"):
            old = f"{prefix}{name}_{letter}"
            if old in state_dict:
                new = f"{prefix}parametrizations.{name}.original{number}"
                state_dict[new] = state_dict.pop(old)

    module._register_load_state_dict_pre_hook(from_old_names)
    return module


# -- spectral normalisation -------------------------------------------------------------------------------


@fused
def _next_vectors(matrix: Any, v: Any, eps: float) -> Any:
    """One power iteration: u = W v, v = Wᵀ u, both of unit length."""
    u = unit(mv(matrix, v), 2.0, 0, eps)
    return u, unit(mv(transpose(matrix, 0, 1), u), 2.0, 0, eps)


@composite
def over_sigma(weight: Any, matrix: Any, u: Any, v: Any) -> Any:
    """weight / (uᵀ W v)."""
    return weight / sum_op(mul(u, mv(matrix, v)))


class _SpectralNorm(Module):
    _u: Any
    _v: Any

    def __init__(
        self, weight: Any, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                "Dimension out of range (expected to be in range of "
                f"[-{weight.ndim}, {weight.ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % weight.ndim
        self.eps = eps
        if weight.ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._matrix(weight)
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                start = randn(size, dtype=weight.dtype)
                self.register_buffer(name, unit(start, 2.0, 0, eps))
            self._power_method(matrix, 15)

    def _matrix(self, weight: Any) -> Any:
        if self.dim != 0:
            weight = weight.permute(self.dim, *(d for d in range(weight.ndim) if d != self.dim))
        return weight.reshape(weight.shape[0], math.prod(weight.shape[1:]))

    @no_grad()
    def _power_method(self, matrix: Any, n_power_iterations: int) -> None:
        for _ in range(n_power_iterations):
            u, v = _next_vectors(matrix.detach(), self._v, self.eps)
            self._u.copy_(u)
            self._v.copy_(v)

    def forward(self, weight: Any) -> Any:
        if weight.ndim == 1:
            return unit(weight, 2.0, 0, self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        return over_sigma(weight, matrix, self._u.clone(), self._v.clone())

    def right_inverse(self, value: Any) -> Any:
        """The value itself."""
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
    dim: int | None = None,
) -> Module:  # fmt: skip
    """Divide a weight by its largest singular value, found by power iteration. Miyato et al., 2018."""
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if "ConvTranspose" in type(module).__name__ else 0
    made = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return register_parametrization(module, name, made)
