"""Weight and spectral normalisation by forward pre-hooks: the older forms.

`parametrizations.weight_norm` and `parametrizations.spectral_norm` are the newer ones. The names in
the state dict differ: here `weight_g` and `weight_v`, or `weight_orig`, `weight_u` and `weight_v`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from fanal.autograd.mode import no_grad
from fanal.nn.functional.distance import normalize
from fanal.nn.module import Module
from fanal.nn.parameter import Parameter, is_lazy
from fanal.nn.utils.parametrizations import (
    _next_vectors,
    norm_except_dim,
    over_sigma,
    scaled_to_norm,
)
from fanal.random.sampling import randn


def _own_hook(module: Module, kind: type[_NormHook], name: str) -> tuple[int, Any] | None:
    for number, hook in module._forward_pre_hooks.items():
        if isinstance(hook, kind) and hook.name == name:
            return number, hook
    return None


class _NormHook:
    """What both hooks share: before each forward the weight is computed anew."""

    name: str

    def compute_weight(self, module: Module) -> Any:
        """The weight from the module's parameters."""
        raise NotImplementedError

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))

    def _install(self, module: Module, what: str) -> Any:
        if _own_hook(module, type(self), self.name):
            raise RuntimeError(
                f"Cannot register two {what} hooks on the same parameter {self.name}"
            )
        weight = module._parameters[self.name]
        if is_lazy(weight):
            raise ValueError(
                f"The module passed to `{type(self).__name__}` can't have uninitialized parameters."
            )
        return weight


class WeightNorm(_NormHook):
    """weight = weight_g · weight_v / ‖weight_v‖."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Any:
        g, v = (getattr(module, f"{self.name}_{letter}") for letter in "gv")
        return scaled_to_norm(v, g, self.dim)

    def remove(self, module: Module) -> None:
        """Make the weight a parameter again."""
        weight = self.compute_weight(module)
        for name in (self.name, f"{self.name}_g", f"{self.name}_v"):
            delattr(module, name)
        setattr(module, self.name, Parameter(weight.detach()))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn a weight's length (`weight_g`) and direction (`weight_v`). Salimans and Kingma, 2016."""
    warnings.warn(
        "`torch.nn.utils.weight_norm` is deprecated in favor of "
        "`torch.nn.utils.parametrizations.weight_norm`.",
        FutureWarning, stacklevel=2,
    )  # fmt: skip
    hook = WeightNorm(name, dim)
    weight = hook._install(module, "weight_norm")
    del module._parameters[name]
    length = norm_except_dim(weight, hook.dim).detach()
    module.register_parameter(f"{name}_g", Parameter(length))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    setattr(module, name, hook.compute_weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Take `weight_norm` back."""
    found = _own_hook(module, WeightNorm, name)
    if found is None:
        raise ValueError(f"weight_norm of '{name}' not found in {module}")
    found[1].remove(module)
    del module._forward_pre_hooks[found[0]]
    return module


class SpectralNorm(_NormHook):
    """weight = weight_orig / σ, σ its largest singular value by power iteration."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.name, self.dim, self.eps = name, dim, eps
        self.n_power_iterations = n_power_iterations

    def _matrix(self, weight: Any) -> Any:
        if self.dim != 0:
            weight = weight.permute(self.dim, *(d for d in range(weight.ndim) if d != self.dim))
        return weight.reshape(weight.shape[0], math.prod(weight.shape[1:]))

    def compute_weight(self, module: Module, iterate: bool | None = None) -> Any:
        weight, u, v = (getattr(module, f"{self.name}_{s}") for s in ("orig", "u", "v"))
        matrix = self._matrix(weight)
        if module.training if iterate is None else iterate:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    # v from u, then u from v: the same step for the transposed matrix.
                    next_v, next_u = _next_vectors(matrix.detach().mT, u, self.eps)
                    v.copy_(next_v)
                    u.copy_(next_u)
        return over_sigma(weight, matrix, u.clone(), v.clone())

    def remove(self, module: Module) -> None:
        """Make the weight a parameter again."""
        with no_grad():
            weight = self.compute_weight(module, False)
        for suffix in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + suffix)
        module.register_parameter(self.name, Parameter(weight.detach()))


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
    dim: int | None = None,
) -> Module:  # fmt: skip
    """Divide a weight by its largest singular value. Miyato et al., 2018."""
    if dim is None:
        dim = 1 if "ConvTranspose" in type(module).__name__ else 0
    hook = SpectralNorm(name, n_power_iterations, dim, eps)
    weight = hook._install(module, "spectral_norm")
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    height, width = hook._matrix(weight.detach()).shape
    u, v = (normalize(randn(n, dtype=weight.dtype), dim=0, eps=eps) for n in (height, width))
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.data)
    module.register_buffer(f"{name}_u", u)
    module.register_buffer(f"{name}_v", v)
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Take `spectral_norm` back."""
    found = _own_hook(module, SpectralNorm, name)
    if found is None:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    found[1].remove(module)
    del module._forward_pre_hooks[found[0]]
    return module
