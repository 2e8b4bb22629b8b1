"""Parametrisations: orthogonal matrices, weight and spectral normalisation."""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Any

import numpy as np

from fanal.autograd.mode import no_grad
from fanal.core.dispatch import fused
from fanal.nn.functional import matrix_maps
from fanal.nn.functional.composite import composite
from fanal.nn.functional.distance import norm
from fanal.nn.functional.distance import normalize as unit
from fanal.nn.module import Module
from fanal.nn.utils.parametrize import register_parametrization
from fanal.ops.linear import mv
from fanal.ops.pointwise import mul
from fanal.ops.reductions import sum as sum_op
from fanal.ops.shape import transpose
from fanal.random.sampling import randn
from fanal.tensor.creation import from_numpy
from fanal.tensor.tensor import Tensor

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


class _OrthMaps(Enum):
    matrix_exp = auto()
    cayley = auto()
    householder = auto()


def _is_orthogonal(q: np.ndarray) -> bool:  # type: ignore[type-arg]
    n, k = q.shape[-2:]
    eps = 10.0 * n * np.finfo(q.dtype).eps
    return bool(np.allclose(np.swapaxes(q, -1, -2) @ q, np.eye(k), atol=eps))


def _make_orthogonal(a: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    q, r = np.linalg.qr(a)
    return q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]


def _geqrf(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """LAPACK's QR factors: R on and above the diagonal, reflections below it, and their factors."""
    h, tau = np.linalg.qr(q, mode="raw")
    return np.swapaxes(h, -1, -2).copy(), tau


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
            q = (matrix_maps.matrix_exp if by_exp else matrix_maps.cayley)(a)
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
        q = (Q.mT if wide else Q).detach().numpy()
        if not hasattr(self, "base"):
            if self.orthogonal_map is not _OrthMaps.householder:
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley "
                    "parametrizations when use_trivialization=False."
                )
            a, tau = _geqrf(q)
            i = np.arange(a.shape[-1])
            signs = np.sign(a[..., i, i])
            a[..., i, i] = np.where(tau == 0.0, -signs, signs)
            return _tensor(np.swapaxes(a, -1, -2) if wide else a)
        n, k = q.shape[-2:]
        if n != k:
            rest = randn(*q.shape[:-2], n, n - k, dtype=Q.dtype).numpy()
            q = _make_orthogonal(np.concatenate([q, rest], -1))
        elif not _is_orthogonal(q):
            q = _make_orthogonal(q)
        self.base = _tensor(q)
        return _tensor(np.broadcast_to(-np.eye(*self.shape[-2:], dtype=q.dtype), self.shape))


def _tensor(array: Any) -> Tensor:
    return from_numpy(np.array(array, order="C"))


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
